"""What is remembered for the fast path must not outlive what it was true for."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from contextlib import ExitStack

import pytest
from concurrent_locks import LockManager, get_lock_manager
from facts import SHORT
from holders import Caller, gets

MANY = 20
"""More often than it takes to be remembered."""


def used(manager: LockManager, name: str) -> None:
    for _ in range(MANY):
        with manager.write_lock(name):
            pass


async def test_each_task_of_a_loop_is_an_owner_of_its_own(name: str) -> None:
    manager = get_lock_manager()

    async def refused() -> bool:
        return not await manager.write_lock(name).acquire_async(timeout=0)

    for _ in range(MANY):
        async with manager.write_lock(name):
            assert await asyncio.create_task(refused())
            async with manager.write_lock(name, timeout=0):
                pass


def test_each_thread_is_an_owner_of_its_own(name: str) -> None:
    manager = get_lock_manager()
    used(manager, name)
    with manager.write_lock(name):
        for _ in range(3):
            assert not Caller(gets, manager.write_lock(name), False).result()
        with manager.write_lock(name, timeout=0):
            pass


def test_a_thread_is_not_the_task_that_runs_on_it(name: str) -> None:
    manager = get_lock_manager()
    used(manager, name)

    async def refused() -> bool:
        return not await manager.write_lock(name).acquire_async(timeout=0)

    with manager.write_lock(name):
        assert asyncio.run(refused())

    async def held() -> None:
        for _ in range(MANY):
            async with manager.write_lock(name):
                pass
        await manager.write_lock(name).acquire_async()

    with pytest.warns(ResourceWarning):
        asyncio.run(held())
    used(manager, name)


LATE_GREENLETS = """
from concurrent_locks import get_lock_manager
manager = get_lock_manager()
for _ in range(20):
    with manager.write_lock("late"):
        pass
import greenlet
guard = manager.write_lock("late")
def inside():
    return manager.write_lock("late").acquire(blocking=False)
with guard:
    assert not greenlet.greenlet(inside).switch()
"""


def test_greenlets_that_are_imported_late_are_owners_of_their_own() -> None:
    pytest.importorskip("greenlet")
    done = subprocess.run([sys.executable, "-c", LATE_GREENLETS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_name_means_the_lock_of_its_own_manager(name: str) -> None:
    here, there = LockManager(f"local:{name}-1"), LockManager(f"local:{name}-2")
    for manager in (here, there) * MANY:
        with manager.write_lock(name):
            assert Caller(gets, (there if manager is here else here).write_lock(name), False).result()
            assert not Caller(gets, manager.write_lock(name), False).result()


def test_names_that_are_made_for_one_request(name: str) -> None:
    manager = get_lock_manager()
    for number in range(10 * MANY):
        with manager.write_lock(f"{name}-{number}"):
            assert f"{name}-{number}" in manager.get_lock_status(f"{name}-{number}")


def test_all_of_a_guard_can_be_asked_after_the_fast_path(name: str) -> None:
    manager = get_lock_manager()
    used(manager, name)
    with manager.read_lock(name) as guard:
        first = guard.token
        assert guard.locked()
        assert guard.held_for() >= guard.waited >= 0
        guard.upgrade()
        assert guard.token > first
        guard.downgrade()
        assert not Caller(gets, manager.write_lock(name), False).result()
    assert not guard.locked()
    with pytest.raises(RuntimeError):
        guard.release()


def test_its_methods_keep_a_guard(name: str) -> None:
    manager = get_lock_manager()
    guard = manager.write_lock(name)
    enter, leave, watch = guard.__enter__, guard.__exit__, weakref.ref(guard)
    del guard
    gc.collect()
    assert enter() is watch()
    assert not Caller(gets, manager.write_lock(name), False).result()
    assert leave(None, None, None) is None
    assert Caller(gets, manager.write_lock(name), False).result()
    del enter, leave
    assert watch() is None


def test_its_methods_in_other_hands(name: str) -> None:
    guard = get_lock_manager().write_lock(name)
    with ExitStack() as stack:
        assert stack.enter_context(guard) is guard
        assert guard.locked()
    assert not guard.locked()
    assert type(guard).__enter__(guard) is guard
    type(guard).__exit__(guard, None, None, None)
    with pytest.raises(TypeError):
        guard.__enter__(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        type(guard).__dict__["__enter__"].__get__(object())
    assert not guard.locked()


def test_threads_that_come_and_go(name: str) -> None:
    manager = get_lock_manager()
    number = 0

    def add() -> None:
        nonlocal number
        for _ in range(MANY):
            with manager.write_lock(name, timeout=100 * SHORT):
                number += 1

    for _ in range(5):
        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert number == 5 * 8 * MANY
