"""A task that holds a lock and awaits a thread that wants it: told at once where it can be seen, and never wrongly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from concurrent_locks import DeadlockError, LockManager, LockTimeoutError
from facts import SHORT, is_free, until_true, waiters
from holders import gets

Way = Callable[[Callable[[], Any]], Coroutine[Any, Any, Any]]


async def directly(call: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(call)


async def by_executor(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, call)


async def by_a_task(call: Callable[[], Any]) -> Any:
    return await asyncio.create_task(asyncio.to_thread(call))


async def by_gather(call: Callable[[], Any]) -> Any:
    return (await asyncio.gather(asyncio.sleep(0), asyncio.to_thread(call)))[1]


@pytest.mark.parametrize("way", [directly, by_executor, by_a_task, by_gather])
async def test_a_task_that_waits_for_itself(manager: LockManager, name: str, way: Way) -> None:
    async with manager.write_lock(name):
        with pytest.raises(DeadlockError, match="with oneself") as error:
            await way(manager.write_lock(name, timeout=None).acquire)
        assert error.value.resource_name == name
        with pytest.raises(DeadlockError, match="with oneself"):
            await way(manager.lock_all({f"{name}-2": "read", name: "write"}, timeout=None).acquire)
    assert is_free(manager, name)
    assert is_free(manager, f"{name}-2")


async def test_a_distributed_lock(name: str) -> None:
    manager = LockManager("host:")
    async with manager.distributed_lock(name):
        with pytest.raises(DeadlockError, match="with oneself"):
            await asyncio.to_thread(manager.distributed_lock(name, timeout=None).acquire)


async def test_one_who_begins_to_await_later(manager: LockManager, name: str) -> None:
    async with manager.write_lock(name):
        call = asyncio.create_task(asyncio.to_thread(manager.read_lock(name, timeout=None).acquire))
        await until_true(lambda: waiters(manager, name) == 1)
        with pytest.raises(DeadlockError, match="with oneself"):
            await call


async def test_one_who_does_not_await_is_waited_for(manager: LockManager, name: str) -> None:
    """A task may start a thread under its lock, and release the lock before it awaits the thread."""

    def call() -> str:
        with manager.write_lock(name):
            return "entered"

    async with manager.write_lock(name):
        thread = asyncio.create_task(asyncio.to_thread(call))
        await until_true(lambda: waiters(manager, name) == 1)
        await asyncio.sleep(3 * SHORT)  # long enough for several looks; what is right does not depend on it
    assert await thread == "entered"


async def test_another_task_that_holds_is_waited_for(manager: LockManager, name: str) -> None:
    """It awaits a thread, too, but another one."""
    inside, leave = asyncio.Event(), asyncio.Event()

    async def holder() -> None:
        async with manager.write_lock(name):
            inside.set()
            await asyncio.to_thread(lambda: None)
            await leave.wait()

    task = asyncio.create_task(holder())
    await inside.wait()
    call = asyncio.create_task(asyncio.to_thread(gets, manager.write_lock(name)))
    await until_true(lambda: waiters(manager, name) == 1)
    leave.set()
    assert await call is True
    await task


async def test_what_cannot_be_seen_ends_by_its_time_out_and_says_who(manager: LockManager, name: str) -> None:
    async def call() -> None:
        async with manager.write_lock(name, timeout=SHORT):
            pytest.fail("entered beside its parent")

    async with manager.write_lock(name):
        with pytest.raises(LockTimeoutError, match="is a task of this process"):
            await asyncio.gather(call())
