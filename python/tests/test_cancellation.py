"""A task may be cancelled before the grant, in the instant of the grant, while it holds, and in the release."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from concurrent_locks import LockManager
from facts import is_free, until_true, waiters
from holders import held_by_task


async def enter(lock: Any) -> str:
    async with lock:
        return "entered"


async def cancelled(task: asyncio.Task[Any]) -> bool:
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


@pytest.mark.parametrize("mode", ["read", "write"])
async def test_while_it_waits(manager: LockManager, name: str, mode: str) -> None:
    async with held_by_task(manager.write_lock(name)):
        waiting = asyncio.create_task(enter(getattr(manager, f"{mode}_lock")(name)))
        await until_true(lambda: waiters(manager, name) == 1)
        assert await cancelled(waiting)
        assert waiters(manager, name) == 0
    assert is_free(manager, name)


async def test_before_its_first_step(manager: LockManager, name: str) -> None:
    task = asyncio.create_task(enter(manager.write_lock(name)))
    assert await cancelled(task)
    assert is_free(manager, name)


@pytest.mark.parametrize("mode", ["read", "write"])
async def test_with_the_grant_in_hand(manager: LockManager, name: str, mode: str) -> None:
    """The lock is granted to a task that has not run since: the grant is handed on."""
    holder = manager.write_lock(name)
    await holder.acquire_async()
    lock = getattr(manager, f"{mode}_lock")
    first = asyncio.create_task(enter(lock(name)))
    await until_true(lambda: waiters(manager, name) == 1)
    second = asyncio.create_task(enter(manager.write_lock(name)))
    await until_true(lambda: waiters(manager, name) == 2)
    holder.release()  # makes `first` the holder, which has had no turn yet
    assert waiters(manager, name) == 1
    assert await cancelled(first)
    assert await second == "entered"
    assert is_free(manager, name)


async def test_a_cancelled_writer_lets_the_readers_behind_it_in(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.read_lock(name)):
        writing = asyncio.create_task(enter(manager.write_lock(name)))
        await until_true(lambda: waiters(manager, name) == 1)
        reading = [asyncio.create_task(enter(manager.read_lock(name))) for _ in range(5)]
        await until_true(lambda: waiters(manager, name) == 6)
        assert await cancelled(writing)
        assert await asyncio.gather(*reading) == ["entered"] * 5  # while the first reader still holds
    assert is_free(manager, name)


async def test_while_it_holds(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)) as inside:
        assert not is_free(manager, name)
        assert await cancelled(inside)
        assert is_free(manager, name)


async def test_in_the_release(manager: LockManager, name: str) -> None:
    """The release has no point at which it could be cancelled: it is done by the first step."""

    async def cancel_itself() -> None:
        async with manager.write_lock(name):
            task = asyncio.current_task()
            assert task is not None
            task.cancel()  # comes at the next suspension: there is none in the release
        assert is_free(manager, name)
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await cancel_itself()
    task = asyncio.current_task()
    assert task is not None
    while task.cancelling():
        task.uncancel()


async def test_by_asyncio_timeout(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.create_task(enter(manager.write_lock(name, timeout=None)))
        assert waiters(manager, name) == 0


async def test_by_wait_for(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(enter(manager.write_lock(name, timeout=None)), 0.05)
        assert waiters(manager, name) == 0


async def test_by_a_task_group(manager: LockManager, name: str) -> None:
    async def fail() -> None:
        await until_true(lambda: waiters(manager, name) == 3)
        raise ValueError("mine")

    async with held_by_task(manager.write_lock(name)):
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(enter(manager.write_lock(name)))
                group.create_task(fail())
        assert [str(each) for each in caught.value.exceptions] == ["mine"]
        assert waiters(manager, name) == 0


async def test_thrown_into_by_hand(manager: LockManager, name: str) -> None:
    """What an event loop does to a coroutine, step by step: `throw`, and `close`."""
    async with held_by_task(manager.write_lock(name)):
        for end in ("throw", "close"):
            coroutine = enter(manager.write_lock(name, timeout=None))
            coroutine.send(None)
            assert waiters(manager, name) == 1
            if end == "throw":
                with pytest.raises(asyncio.CancelledError):
                    coroutine.throw(asyncio.CancelledError())
            else:
                coroutine.close()
            assert waiters(manager, name) == 0
    assert is_free(manager, name)


async def test_an_awaitable_that_nobody_awaits_takes_nothing(manager: LockManager, name: str) -> None:
    manager.write_lock(name).__aenter__()
    assert is_free(manager, name)


async def test_a_storm(manager: LockManager, name: str) -> None:
    """Tasks are cancelled in every state they can be in; nobody ever enters beside another."""
    inside = 0

    async def work(number: int) -> None:
        nonlocal inside
        while True:
            async with manager.write_lock(name, timeout=None):
                inside += 1
                assert inside == 1
                try:
                    await asyncio.sleep(0)
                finally:
                    inside -= 1
            if number % 3 == 0:
                await asyncio.sleep(0)

    for round_ in range(20):
        tasks = [asyncio.create_task(work(number)) for number in range(20)]
        for _ in range(round_ * 3):
            await asyncio.sleep(0)
        for task in tasks[:: 1 if round_ % 2 else -1]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in results), results
        assert is_free(manager, name)
    statistics = manager.get_statistics(name)["locks"]["write"]
    assert statistics["total_acquisitions"] == statistics["total_releases"]


@pytest.mark.parametrize("end", ["cancelled", "timed out"])
async def test_a_guard_may_be_used_again_after_its_wait_has_ended(manager: LockManager, name: str, end: str) -> None:
    guard = manager.write_lock(name, timeout=None if end == "cancelled" else 0.05)
    async with held_by_task(manager.write_lock(name)):
        waiting = asyncio.create_task(enter(guard))
        if end == "cancelled":
            await until_true(lambda: waiters(manager, name) == 1)
            waiting.cancel()
        await asyncio.wait({waiting})
    assert await enter(guard) == "entered"
