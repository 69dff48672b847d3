"""Distributed locks as guards: by hand, in tasks, cancelled, dropped, counted."""

from __future__ import annotations

import asyncio
import gc
import pickle
from typing import Any

import pytest
from concurrent_locks import DistributedLock, LockManager, LockTimeoutError, LockType, get_lock_manager
from facts import SHORT, until, until_true
from holders import Caller, gets, held_by_task, held_by_thread


def counted(name: str, key: str) -> int:
    locks = get_lock_manager().get_statistics(name).get("locks", {})
    return int(locks.get("distributed", {}).get(key, 0))


def test_by_hand(name: str) -> None:
    guard = get_lock_manager().distributed_lock(name, note="why")
    assert not guard.locked()
    assert guard.acquire() is True
    assert guard.locked()
    assert (guard.mode, guard.resource_name) == (LockType.DISTRIBUTED, name)
    assert guard.waited >= 0
    assert not Caller(gets, get_lock_manager().distributed_lock(name), False).result()
    first = guard.token
    guard.release()
    with pytest.raises(RuntimeError):
        guard.release()
    with guard:
        assert guard.token > first
        with pytest.raises(RuntimeError):
            guard.acquire()


def test_the_time_out_names_the_holder(name: str) -> None:
    with held_by_thread(get_lock_manager().distributed_lock(name, owner="agent-7", note="saving")):
        with pytest.raises(LockTimeoutError) as caught, DistributedLock(name).lock(SHORT):
            pytest.fail("entered beside another")
    assert caught.value.holders[0]["label"] == "agent-7"
    assert "saving" in str(caught.value)
    assert counted(name, "total_timeouts") == 1


async def test_tasks_take_turns(name: str) -> None:
    number = 0

    async def add() -> None:
        nonlocal number
        for _ in range(10):
            async with get_lock_manager().distributed_lock(name):
                seen = number
                await asyncio.sleep(0)
                number = seen + 1

    await asyncio.gather(*(add() for _ in range(8)))
    assert number == 80
    assert counted(name, "total_acquisitions") == counted(name, "total_releases") == 80


async def test_a_cancelled_waiter_leaves_no_trace(name: str) -> None:
    async with held_by_task(get_lock_manager().distributed_lock(name)):
        waiting = asyncio.create_task(DistributedLock(name).lock(None).acquire_async())
        await until_true(lambda: counted(name, "current_waiters") == 1)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert counted(name, "current_waiters") == 0
    assert counted(name, "current_holders") == 0
    assert not DistributedLock(name).lock_file_path.exists()


def test_a_waiting_thread_is_counted(name: str) -> None:
    with held_by_thread(DistributedLock(name).lock()):
        waiting = Caller(gets, DistributedLock(name).lock())
        until(lambda: counted(name, "current_waiters") == 1)
    assert waiting.result()
    assert (counted(name, "current_waiters"), counted(name, "current_holders")) == (0, 0)


def test_dropped_while_held(name: str) -> None:
    guard = DistributedLock(name).lock()
    guard.acquire()
    with pytest.warns(ResourceWarning, match=name):
        del guard
        gc.collect()
    assert not DistributedLock(name).lock_file_path.exists()
    with DistributedLock(name).lock(0):
        pass


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [("timeout", "soon"), ("priority", 1000), ("owner", 7), ("owner", "x" * 256), ("note", 7)],
    ids=["timeout", "priority", "owner-type", "owner-length", "note"],
)
def test_wrong_arguments_are_refused_when_it_is_made(name: str, argument: str, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        get_lock_manager().distributed_lock(name, **{argument: wrong})


def test_a_timeout_of_ones_own(name: str) -> None:
    """It is that of the one call, not the guard's: neither before nor after."""
    guard = get_lock_manager().distributed_lock(name, timeout=None)
    with held_by_thread(DistributedLock(name).lock()):
        assert guard.acquire(timeout=SHORT) is False
        assert asyncio.run(guard.acquire_async(timeout=SHORT)) is False
        waiting = Caller(gets, guard)
        until(lambda: counted(name, "current_waiters") == 1)
    assert waiting.result()


def test_it_is_not_pickled(name: str) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(DistributedLock(name).lock())


def test_in_the_section_of_ones_own_write_lock(host_url: str, name: str) -> None:
    """On one engine they are one lock, and the owner re-enters it; others are kept out by either."""
    manager = LockManager(host_url)
    with manager.write_lock(name), manager.distributed_lock(name, timeout=0):
        assert not Caller(gets, manager.write_lock(name), False).result()
    with manager.distributed_lock(name), manager.write_lock(name, timeout=0):
        pass


def test_the_folder_is_that_of_the_working_directory(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A holder that changes the directory removes the file that it made."""
    lock = DistributedLock(name)
    made = lock.lock_file_path.absolute()
    with pytest.MonkeyPatch.context() as patch:
        with lock.lock():
            assert made.exists()
            patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        assert not made.exists()


def test_a_folder_that_cannot_be_made_does_not_stop_the_lock(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir("/proc")
    with DistributedLock(name).lock() as guard:
        assert guard.locked()
    assert "marker" in caplog.text
