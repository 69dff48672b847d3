"""What a time-out may be: None, negative and inf wait for ever, 0 is one try, nonsense is refused."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from concurrent_locks import DistributedLock, LockManager, LockTimeoutError
from facts import SHORT, until, until_true, waiters
from holders import Caller, gets, held_by_task, held_by_thread

FOR_EVER = [None, -1, -0.5, math.inf, 1e300]


@pytest.mark.parametrize("timeout", FOR_EVER)
async def test_for_ever_in_a_task(manager: LockManager, name: str, timeout: float | None) -> None:
    async def enter() -> str:
        async with manager.write_lock(name, timeout=timeout):
            return "entered"

    async with held_by_task(manager.write_lock(name)):
        waiting = asyncio.create_task(enter())
        await until_true(lambda: waiters(manager, name) == 1)
        assert not waiting.done()
    assert await waiting == "entered"


@pytest.mark.parametrize("timeout", FOR_EVER)
def test_for_ever_in_a_thread(manager: LockManager, name: str, timeout: float | None) -> None:
    with held_by_thread(manager.write_lock(name)):
        waiting = Caller(gets, manager.write_lock(name, timeout))
        until(lambda: waiters(manager, name) == 1)
    assert waiting.result() is True


@pytest.mark.parametrize("timeout", [0, 0.0, -0.0])
async def test_zero_is_one_try(manager: LockManager, name: str, timeout: float) -> None:
    async with manager.read_lock(name, timeout=timeout):
        pass
    async with held_by_task(manager.write_lock(name)):
        with pytest.raises(TimeoutError):
            async with manager.read_lock(name, timeout=timeout):
                pass


async def test_a_timeout_of_zero_is_counted_and_a_look_is_not(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)):
        with pytest.raises(TimeoutError):
            async with manager.write_lock(name, timeout=0):
                pass
        assert manager.write_lock(name).acquire(blocking=False) is False
    assert manager.get_statistics(name)["locks"]["write"]["total_timeouts"] == 1


@pytest.mark.parametrize("nonsense", [math.nan, -math.nan])
def test_nan_is_refused(manager: LockManager, name: str, nonsense: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        manager.read_lock(name, timeout=nonsense)
    with pytest.raises(ValueError, match="timeout"):
        manager.write_lock(name).acquire(timeout=nonsense)


@pytest.mark.parametrize("nonsense", ["10", [], object()])
def test_what_is_no_number_is_refused(manager: LockManager, name: str, nonsense: Any) -> None:
    with pytest.raises(TypeError):
        manager.read_lock(name, timeout=nonsense)
    with pytest.raises(TypeError):
        manager.write_lock(name).acquire(timeout=nonsense)


@pytest.mark.parametrize("timeout", [1, 1.5, True])
async def test_any_real_number_will_do(manager: LockManager, name: str, timeout: float) -> None:
    async with manager.read_lock(name, timeout=timeout):
        pass


def test_acquire_and_release(manager: LockManager, name: str) -> None:
    lock = manager.write_lock(name)
    assert not lock.locked()
    assert lock.acquire() is True
    assert lock.locked()
    assert Caller(manager.write_lock(name).acquire, False).result() is False
    lock.release()
    assert not lock.locked()


def test_acquire_says_false_where_a_with_raises(manager: LockManager, name: str) -> None:
    def both() -> None:
        assert manager.read_lock(name).acquire(timeout=SHORT) is False
        assert manager.read_lock(name).acquire(blocking=False) is False
        assert manager.read_lock(name).acquire(blocking=True, timeout=0) is False
        with pytest.raises(LockTimeoutError), manager.read_lock(name, timeout=SHORT):
            pytest.fail("entered beside a writer")

    with held_by_thread(manager.write_lock(name)):
        Caller(both).result()


def test_not_blocking_with_a_timeout_is_refused(manager: LockManager, name: str) -> None:
    with pytest.raises(ValueError, match="block"):
        manager.write_lock(name).acquire(blocking=False, timeout=1.0)


def test_acquire_falls_back_on_the_timeout_of_the_lock(manager: LockManager, name: str) -> None:
    with held_by_thread(manager.write_lock(name)):
        assert Caller(manager.write_lock(name, timeout=SHORT).acquire).result() is False


async def test_acquire_async(manager: LockManager, name: str) -> None:
    lock = manager.write_lock(name)
    assert asyncio.iscoroutinefunction(lock.acquire_async)
    assert await asyncio.create_task(lock.acquire_async()) is True
    assert await asyncio.create_task(manager.write_lock(name).acquire_async(timeout=SHORT)) is False
    lock.release()


async def test_wait_for_around_acquire(manager: LockManager, name: str) -> None:
    """Before Python 3.12 `wait_for` runs the coroutine in another task: the guard owns the lock, not the task."""
    lock = manager.write_lock(name)
    assert await asyncio.wait_for(lock.acquire_async(), timeout=30) is True
    lock.release()
    assert not lock.locked()


def test_to_release_what_is_not_held_is_an_error(manager: LockManager, name: str) -> None:
    lock = manager.write_lock(name)
    with pytest.raises(RuntimeError):
        lock.release()
    with lock:
        pass
    with pytest.raises(RuntimeError):
        lock.release()


def test_a_guard_may_be_used_again_but_not_twice_at_once(manager: LockManager, name: str) -> None:
    lock = manager.write_lock(name)
    for _ in range(3):
        with lock as entered:
            assert entered is lock
            with pytest.raises(RuntimeError):
                lock.acquire()
        assert not lock.locked()


def test_making_a_guard_takes_nothing(manager: LockManager, name: str) -> None:
    lock = manager.write_lock(name)
    with held_by_thread(manager.write_lock(name, timeout=0)):
        pass
    assert not lock.locked()


def test_the_error_of_a_distributed_lock_is_a_timeout_too(name: str) -> None:
    with held_by_thread(DistributedLock(name).lock()), pytest.raises(TimeoutError):
        with DistributedLock(name).lock(timeout=0):
            pytest.fail("entered beside another")
    with pytest.raises(ValueError, match="timeout"), DistributedLock(name).lock(timeout=math.nan):
        pass


async def test_waiters_make_no_timers(manager: LockManager, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limits of all waiters are kept in one place, not by a timer of the loop for each."""
    loop = asyncio.get_running_loop()
    calls: list[str] = []
    for timer in ("call_later", "call_at"):
        method = getattr(loop, timer)
        monkeypatch.setattr(loop, timer, lambda *args, method=method, timer=timer: calls.append(timer) or method(*args))

    async def refused() -> bool:
        return not await manager.write_lock(name).acquire_async(timeout=SHORT)

    guard = manager.write_lock(name)
    await guard.acquire_async()
    assert await asyncio.gather(*(refused() for _ in range(50))) == [True] * 50
    guard.release()
    assert len(calls) <= 1, calls
