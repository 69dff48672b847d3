"""A `with` on a thread whose event loop runs: it takes a free lock, and never blocks the loop silently."""

from __future__ import annotations

import asyncio

import pytest
from concurrent_locks import LockManager, get_lock_manager, write_lock
from facts import is_free
from holders import held_by_task, held_by_thread


async def test_a_free_lock_is_taken(manager: LockManager, name: str) -> None:
    with manager.write_lock(name):
        assert not is_free(manager, name)
    assert is_free(manager, name)


async def test_a_busy_lock_raises_instead_of_blocking(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)):
        with pytest.raises(RuntimeError, match="async with"), manager.read_lock(name):
            pytest.fail("entered beside a writer")
        with pytest.raises(RuntimeError, match="event loop"):
            manager.read_lock(name).acquire()
    assert is_free(manager, name)


async def test_also_when_another_thread_holds_it(manager: LockManager, name: str) -> None:
    with held_by_thread(manager.write_lock(name)):
        with pytest.raises(RuntimeError, match="async with"), manager.write_lock(name):
            pytest.fail("entered beside a writer")


async def test_one_try_is_no_blocking(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)):
        assert manager.write_lock(name).acquire(blocking=False) is False
        with pytest.raises(TimeoutError), manager.write_lock(name, timeout=0):
            pytest.fail("entered beside a writer")


async def test_a_decorated_plain_function(name: str) -> None:
    @write_lock(name)
    def section() -> str:
        return "entered"

    assert section() == "entered"
    async with held_by_task(get_lock_manager().write_lock(name)):
        with pytest.raises(RuntimeError, match="async with"):
            section()


async def test_a_distributed_lock_held_by_this_process(name: str) -> None:
    manager = get_lock_manager()
    async with held_by_task(manager.distributed_lock(name)):
        with pytest.raises(RuntimeError, match="async with"), manager.distributed_lock(name):
            pytest.fail("entered beside another")


async def test_in_a_worker_thread_of_the_loop(manager: LockManager, name: str) -> None:
    """`asyncio.to_thread` has no running loop in its thread: there it may block."""

    def section() -> str:
        with manager.write_lock(name):
            return "entered"

    async with held_by_task(manager.write_lock(name)):
        waiting = asyncio.create_task(asyncio.to_thread(section))
        while manager.get_lock_status(name)["pending_requests"] == 0:
            await asyncio.sleep(0.001)
    assert await waiting == "entered"
