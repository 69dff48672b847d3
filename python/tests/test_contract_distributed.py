"""Distributed locks: the calls, exclusion in one process, and the marker file."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from concurrent_locks import LOCK_DIR, DistributedLock, distributed_lock, get_lock_manager
from facts import SHORT, until
from holders import Caller, held_by_thread


def enters(lock: DistributedLock, timeout: float = SHORT) -> bool:
    try:
        with lock.lock(timeout):
            return True
    except TimeoutError:
        return False


def test_of_the_manager(name: str) -> None:
    manager = get_lock_manager()
    with held_by_thread(manager.distributed_lock(name)), pytest.raises(TimeoutError):
        with manager.distributed_lock(name, timeout=SHORT):
            pytest.fail("entered beside another")
    with manager.distributed_lock(name, timeout=SHORT):
        pass


def test_two_objects_of_one_name_exclude_each_other(name: str) -> None:
    first, second = DistributedLock(name), DistributedLock(name)
    with held_by_thread(first.lock()):
        assert not enters(second)
    assert enters(second)


def test_also_in_one_thread(name: str) -> None:
    with DistributedLock(name).lock():
        assert not enters(DistributedLock(name))
    assert enters(DistributedLock(name))


def test_object_and_manager_are_one_lock(name: str) -> None:
    with held_by_thread(get_lock_manager().distributed_lock(name)):
        assert not enters(DistributedLock(name))


def test_one_object_may_be_shared_by_threads(name: str) -> None:
    lock = DistributedLock(name)
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with lock.lock():
                inside += 1
                most = max(most, inside)
                inside -= 1

    callers = [Caller(work) for _ in range(8)]
    for caller in callers:
        caller.result()
    assert most == 1


def test_an_exception_goes_through_and_releases(name: str) -> None:
    with pytest.raises(ZeroDivisionError), get_lock_manager().distributed_lock(name):
        _ = 1 / 0
    assert enters(DistributedLock(name))


def test_the_decorator(name: str) -> None:
    @distributed_lock(name, timeout=5.0)
    def section(number: int) -> int:
        assert not enters(DistributedLock(name))
        return number + 1

    assert section(4) == 5
    assert enters(DistributedLock(name))


async def test_the_decorator_on_an_async_function(name: str) -> None:
    @distributed_lock(name)
    async def section() -> bool:
        return enters(DistributedLock(name), timeout=0)

    assert not await section()
    assert enters(DistributedLock(name))


async def test_in_an_async_with(name: str) -> None:
    async with get_lock_manager().distributed_lock(name):
        assert not enters(DistributedLock(name), timeout=0)
    assert enters(DistributedLock(name))


def test_the_lock_file_is_there_while_held_and_gone_after(name: str) -> None:
    lock = DistributedLock(name)
    assert isinstance(lock.lock_file_path, Path)
    assert lock.lock_file_path.parent == LOCK_DIR
    assert not lock.lock_file_path.exists()
    with lock.lock():
        assert lock.lock_file_path.exists()
    until(lambda: not lock.lock_file_path.exists())


def test_the_lock_file_says_who_holds(name: str) -> None:
    lock = DistributedLock(name)
    with lock.lock():
        assert json.loads(lock.lock_file_path.read_text())["pid"] == os.getpid()


def test_the_lock_file_belongs_to_the_next_holder(name: str) -> None:
    """Hand-offs: whoever holds finds the file, although the one before has just removed its own."""
    missing: list[int] = []

    def work() -> None:
        lock = DistributedLock(name)
        for turn in range(50):
            with lock.lock():
                if not lock.lock_file_path.exists():
                    missing.append(turn)

    callers = [Caller(work) for _ in range(4)]
    for caller in callers:
        caller.result()
    assert missing == []
    assert not DistributedLock(name).lock_file_path.exists()


def test_the_lock_file_goes_while_the_lock_is_still_held(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[bool] = []
    unlink = os.unlink

    def look_and_unlink(path: Any, *rest: Any, **more: Any) -> None:
        if str(path).endswith(".lock"):
            entered.append(Caller(enters, DistributedLock(name), 0).result())
        unlink(path, *rest, **more)

    monkeypatch.setattr(os, "unlink", look_and_unlink)
    with DistributedLock(name).lock():
        pass
    assert entered == [False]


def test_exclusion_does_not_rest_on_the_lock_file(name: str) -> None:
    lock = DistributedLock(name)
    with held_by_thread(lock.lock()):
        lock.lock_file_path.unlink()
        assert not enters(DistributedLock(name))


def test_a_lock_file_left_behind_blocks_nobody(name: str) -> None:
    lock = DistributedLock(name)
    lock.lock_file_path.parent.mkdir(parents=True)
    lock.lock_file_path.write_text("what an old version left")
    assert enters(lock)


@pytest.mark.parametrize("odd", ["episodic_db:a/b.db", "../../outside", "Ünïcode Nämé", "a" * 255, ".", "x\\y:z"])
def test_any_name_makes_a_safe_file_name(odd: str) -> None:
    lock = DistributedLock(odd)
    assert lock.lock_file_path.parent == LOCK_DIR
    with lock.lock():
        assert [file.name for file in LOCK_DIR.iterdir()] == [lock.lock_file_path.name]


def test_names_that_differ_have_files_that_differ() -> None:
    names = ["a:b", "a_b", "a/b", "a b", "A_b"]
    assert len({DistributedLock(each).lock_file_path for each in names}) == len(names)


def test_threads_that_wait_all_get_their_turn(name: str) -> None:
    entered = []
    start = threading.Event()

    def work(number: int) -> None:
        start.wait()
        with get_lock_manager().distributed_lock(name):
            entered.append(number)

    callers = [Caller(work, number) for number in range(20)]
    start.set()
    for caller in callers:
        caller.result()
    assert sorted(entered) == list(range(20))
