"""What a guard knows of its own end: lease, verify, loss, and holds of limited length."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from pathlib import Path

import pytest
import trio
from concurrent_locks import LockLostError, LockManager, Lost, Standing, UnsupportedError
from facts import until
from holders import held_by_thread
from test_fencing import server


@pytest.fixture
def leased() -> LockManager:
    """Locks with a lease, on the server that the whole run shares."""
    return LockManager(f"{server('LOCKS_TEST_REDIS', 'concurrent_locks')}?space=pytest-{uuid.uuid4().hex}")


def test_a_lock_without_a_lease(table_manager: LockManager, name: str) -> None:
    guard = table_manager.write_lock(name)
    guard.acquire()
    lost = guard.lost()
    assert guard.lease is None
    assert guard.verify() is Standing.HELD
    table_manager.break_lock(name, guard.token)
    assert guard.verify() is Standing.LOST
    assert not lost.is_set()
    assert lost.error is None
    with pytest.raises(LockLostError):
        guard.release()


def test_a_guard_that_is_not_held_has_no_end(manager: LockManager, name: str) -> None:
    guard = manager.write_lock(name)
    for ask in (lambda: guard.lease, guard.verify, guard.lost):
        with pytest.raises(RuntimeError, match="not held"):
            ask()


def test_a_limited_hold_is_refused_without_a_lease(table_manager: LockManager, name: str) -> None:
    with pytest.raises(UnsupportedError, match="max_hold"), table_manager.write_lock(name, max_hold=1.0):
        pytest.fail("entered")
    with pytest.raises(UnsupportedError), table_manager.lock_all({name: "write"}, max_hold=1.0):
        pytest.fail("entered")
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="max_hold"):
            table_manager.read_lock(name, max_hold=wrong)


async def test_verify_in_a_task(table_manager: LockManager, name: str) -> None:
    async with table_manager.lock_all({name: "write", f"{name}-2": "read"}) as guard:
        assert await guard.verify_async() is Standing.HELD


def test_verify_in_trio(table_manager: LockManager, name: str) -> None:
    async def ask() -> Standing:
        async with table_manager.write_lock(name) as guard:
            return await guard.verify_async()

    assert trio.run(ask) is Standing.HELD


def test_a_lease_is_reported_and_renewed(leased: LockManager, name: str) -> None:
    with leased.write_lock(name) as guard:
        lease = guard.lease
        assert lease is not None
        assert 0 < lease.remaining <= lease.length
        assert not lease.in_danger
        assert guard.verify() is Standing.RENEWED


def test_the_end_of_a_limited_hold_is_reported_to_threads(leased: LockManager, name: str) -> None:
    told: list[LockLostError] = []
    guard = leased.write_lock(name, max_hold=0.3)
    guard.acquire()
    guard.on_lost(told.append)
    lost = guard.lost()
    assert lost.wait(60)
    until(lambda: told)
    assert isinstance(told[0], LockLostError)
    assert isinstance(lost.error, LockLostError)
    assert name in str(lost.error)
    assert guard.verify() is Standing.LOST
    later = guard.lost()
    assert later.wait(60)
    with pytest.raises(LockLostError):
        guard.release()


async def test_the_end_of_a_limited_hold_is_reported_to_a_task(leased: LockManager, name: str) -> None:
    guard = await leased.write_lock(name, max_hold=0.3)
    lost = guard.lost()
    async with asyncio.timeout(60):
        first, second = await asyncio.gather(lost, lost)
    assert first is second
    assert isinstance(first, LockLostError)
    # It stays lost.
    assert await lost is first
    with pytest.raises(LockLostError):
        guard.release()


def test_the_end_of_a_limited_hold_is_reported_in_trio(leased: LockManager, name: str) -> None:
    async def wait() -> LockLostError:
        guard = await leased.write_lock(name, max_hold=0.3)
        with trio.fail_after(60):
            error = await guard.lost()
        with pytest.raises(LockLostError):
            guard.release()
        return error

    assert isinstance(trio.run(wait), LockLostError)


async def test_a_wait_for_a_loss_that_is_cancelled_leaves_nothing_behind(leased: LockManager, name: str) -> None:
    async with leased.write_lock(name) as guard:
        lost = guard.lost()
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await lost
        assert not lost._tells


def test_the_news_of_a_guard_that_was_released_are_forgotten(leased: LockManager, name: str) -> None:
    from concurrent_locks import lost as module

    with leased.write_lock(name) as guard:
        lost = guard.lost()
        messenger = module._one
        assert messenger is not None
        assert lost in messenger._watches.values()
    until(lambda: lost not in messenger._watches.values())
    assert not lost.is_set()


def test_a_callback_that_fails_does_not_silence_the_others(leased: LockManager, name: str) -> None:
    told = threading.Event()
    guard = leased.write_lock(name)
    guard.acquire()
    guard.on_lost(lambda error: 1 / 0)
    guard.on_lost(lambda error: told.set())
    leased.break_lock(name, guard.token)
    assert told.wait(60)
    with pytest.raises(LockLostError):
        guard.release()


async def test_a_loop_goes_on_while_the_lock_is_asked_for(leased: LockManager, name: str) -> None:
    """Free and busy, one and several, upgrade included: all of it is waited for in the task."""
    async with leased.read_lock(name) as guard:
        await guard.upgrade_async()
        assert await leased.read_lock(name, owner="other").acquire_async(timeout=0.05) is False
    async with leased.lock_all({name: "write", f"{name}-2": "write"}):
        pass
    with held_by_thread(leased.write_lock(name)):
        assert leased.write_lock(name).acquire(blocking=False) is False
        assert await leased.write_lock(name).acquire_async(timeout=0) is False
    guard = leased.write_lock(name)
    assert guard.acquire(blocking=False) is True
    guard.release()


def test_an_event_of_the_public_type(manager: LockManager, name: str) -> None:
    with manager.write_lock(name) as guard:
        assert isinstance(guard.lost(), Lost)


def test_a_forked_child_learns_its_own_losses(leased: LockManager, name: str, tmp_path: Path) -> None:
    with leased.write_lock(name) as guard:
        guard.lost()
        script = tmp_path / "told"
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                own = leased.write_lock(f"{name}-child", max_hold=0.2)
                own.acquire()
                code = 0 if own.lost().wait(60) else 2
                script.write_text("told")
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert script.read_text() == "told"
        assert guard.verify() is Standing.RENEWED
