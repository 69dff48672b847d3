"""Guards where other code enters them: exit stacks, `wait_for`, `gather`, eager tasks, debug mode."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, ExitStack

import pytest
from concurrent_locks import LockManager
from contention import contend
from facts import is_free, until_true, waiters
from holders import held_by_task


def test_an_exit_stack(manager: LockManager, name: str) -> None:
    with ExitStack() as stack:
        guards = [stack.enter_context(manager.write_lock(f"{name}-{number}")) for number in range(5)]
        assert all(guard.locked() for guard in guards)
    assert not any(guard.locked() for guard in guards)


async def test_an_async_exit_stack(manager: LockManager, name: str) -> None:
    async with AsyncExitStack() as stack:
        guard = await stack.enter_async_context(manager.write_lock(name))
        assert guard.locked()
    assert is_free(manager, name)


async def test_entered_by_wait_for_and_gather(manager: LockManager, name: str) -> None:
    """Each enters in a task of its own: the guard owns the lock, whoever leaves it."""
    guard = manager.write_lock(name)
    assert await asyncio.wait_for(guard.__aenter__(), 30) is guard
    await guard.__aexit__(None, None, None)
    guards = [manager.read_lock(name) for _ in range(3)]
    await asyncio.gather(*(guard.__aenter__() for guard in guards))
    assert all(guard.locked() for guard in guards)
    for guard in guards:
        await guard.__aexit__(None, None, None)
    assert is_free(manager, name)


async def test_an_exception_is_never_swallowed(manager: LockManager, name: str) -> None:
    for error in (ValueError("mine"), asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(3), GeneratorExit()):
        with pytest.raises(type(error)) as caught:
            async with manager.write_lock(name):
                raise error
        assert caught.value is error
        with pytest.raises(type(error)) as caught, manager.write_lock(name):
            raise error
        assert caught.value is error
    assert is_free(manager, name)


async def test_a_guard_entered_by_two_tasks_at_once_is_refused(manager: LockManager, name: str) -> None:
    guard = manager.write_lock(name)
    async with held_by_task(manager.write_lock(name)):
        waiting = asyncio.create_task(guard.acquire_async())
        await until_true(lambda: waiters(manager, name) == 1)
        with pytest.raises(RuntimeError):
            async with guard:
                pytest.fail("entered a guard that another task waits for")
        assert waiters(manager, name) == 1
    assert await waiting is True
    guard.release()


def test_in_debug_mode(manager: LockManager, name: str) -> None:
    assert asyncio.run(contend(manager, name, tasks=10, turns=10), debug=True) == 100
    assert is_free(manager, name)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks(manager: LockManager, name: str) -> None:
    async def main() -> int:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        return await contend(manager, name, tasks=10, turns=10)

    assert asyncio.run(main()) == 100
    assert is_free(manager, name)
