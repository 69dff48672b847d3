"""From read to write and back, and the fencing token."""

from __future__ import annotations

import asyncio
import threading

import pytest
from concurrent_locks import DeadlockError, LockLostError, LockManager
from facts import SHORT, is_free, until, until_true, waiters
from holders import Caller, held_by_task, held_by_thread


async def test_upgrade_and_downgrade(manager: LockManager, name: str) -> None:
    async with manager.read_lock(name) as guard:
        assert guard.mode.value == "read"
        await guard.upgrade_async(timeout=0)
        assert guard.mode.value == "write"
        assert manager.get_lock_status(name)["writer_active"]
        guard.downgrade()
        assert guard.mode.value == "read"
        async with held_by_task(manager.read_lock(name, timeout=0)):
            assert manager.get_lock_status(name)["readers"] == 2
    assert is_free(manager, name)


def test_in_a_thread(manager: LockManager, name: str) -> None:
    with manager.read_lock(name) as guard:
        guard.upgrade(timeout=0)
        assert Caller(manager.read_lock(name).acquire, False).result() is False
        guard.downgrade()
        assert manager.get_lock_status(name)["readers"] == 1
    assert is_free(manager, name)


async def test_an_upgrade_waits_for_the_other_readers(manager: LockManager, name: str) -> None:
    async with manager.read_lock(name) as guard:
        async with held_by_task(manager.read_lock(name)):
            with pytest.raises(TimeoutError):
                await guard.upgrade_async(timeout=SHORT)
            assert guard.mode.value == "read"
            assert guard.locked()
        await guard.upgrade_async(timeout=None)
        assert guard.mode.value == "write"
    assert is_free(manager, name)


async def test_an_upgrade_goes_ahead_of_waiting_writers(manager: LockManager, name: str) -> None:
    async with manager.read_lock(name) as guard:
        writing = asyncio.create_task(manager.write_lock(name).acquire_async())
        await until_true(lambda: waiters(manager, name) == 1)
        await guard.upgrade_async(timeout=0)
        writing.cancel()
        await asyncio.wait({writing})
    assert is_free(manager, name)


def test_two_upgrades_are_a_deadlock_told_at_once(manager: LockManager, name: str) -> None:
    with manager.read_lock(name) as mine:

        def upgrade_too() -> str:
            with manager.read_lock(name) as theirs:
                theirs.upgrade(timeout=None)
                return "upgraded"

        other = Caller(upgrade_too)
        until(lambda: waiters(manager, name) == 1)
        with pytest.raises(DeadlockError):
            mine.upgrade(timeout=None)
    assert other.result() == "upgraded"
    assert is_free(manager, name)


def test_an_upgrade_of_a_lost_read_is_lost(manager: LockManager, name: str) -> None:
    guard, other = manager.read_lock(name), manager.read_lock(name)
    reading, broken = threading.Event(), threading.Event()

    def read() -> None:
        with other:
            reading.set()
            until(lambda: waiters(manager, name) == 1)
            manager.break_lock(name, token)
            broken.set()

    guard.acquire()
    token = guard.token
    reader = Caller(read)
    reading.wait()
    with pytest.raises(LockLostError):
        guard.upgrade(timeout=None)
    assert broken.is_set()
    reader.result()
    assert is_free(manager, name)
    with pytest.raises(LockLostError):
        guard.release()
    assert is_free(manager, name)


async def test_a_cancelled_upgrade_still_reads(manager: LockManager, name: str) -> None:
    async with manager.read_lock(name) as guard, held_by_task(manager.read_lock(name)):

        async def upgrade() -> None:
            await guard.upgrade_async(timeout=None)

        waiting = asyncio.create_task(upgrade())
        await until_true(lambda: waiters(manager, name) == 1)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiters(manager, name) == 0
        assert guard.locked()
        assert guard.mode.value == "read"
    assert is_free(manager, name)


def test_only_what_is_held_can_be_changed(manager: LockManager, name: str) -> None:
    guard = manager.read_lock(name)
    with pytest.raises(RuntimeError):
        guard.upgrade()
    with pytest.raises(RuntimeError):
        guard.downgrade()


def test_tokens_only_rise(manager: LockManager, name: str) -> None:
    tokens = []
    for _ in range(20):
        with manager.write_lock(name) as guard:
            tokens.append(guard.token)
    assert tokens == sorted(set(tokens))
    assert all(isinstance(token, int) for token in tokens)


def test_what_a_guard_tells(manager: LockManager, name: str) -> None:
    guard = manager.write_lock(name, owner="agent-7")
    assert guard.resource_name == name
    assert guard.mode.value == "write"
    with held_by_thread(manager.write_lock(name)):
        waiting = Caller(guard.acquire)
        until(lambda: waiters(manager, name) == 1)
    assert waiting.result() is True
    assert guard.waited > 0
    until(lambda: guard.held_for() > 0)
    assert guard.owner == "agent-7"
    assert name in repr(guard)
    guard.release()


def test_an_operator_breaks_a_lock(manager: LockManager, name: str) -> None:
    from concurrent_locks import LockLostError

    guard = manager.write_lock(name)
    guard.acquire()
    manager.break_lock(name, guard.token)
    assert is_free(manager, name)
    with held_by_thread(manager.write_lock(name, timeout=0)):
        pass
    with pytest.raises(LockLostError):
        guard.release()
