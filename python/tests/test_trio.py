"""The same locks under trio and anyio; another library gets an error, and does not hang."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing
from concurrent_locks import LockManager, LockTimeoutError, UnsupportedError
from facts import SHORT, is_free, until, waiters
from holders import Caller, held_by_thread


def test_a_free_lock(manager: LockManager, name: str) -> None:
    async def enter() -> None:
        async with manager.write_lock(name) as guard:
            assert guard.locked()
        async with manager.read_lock(name):
            pass

    trio.run(enter)
    assert is_free(manager, name)


def test_tasks_wait_for_each_other(manager: LockManager, name: str) -> None:
    number = 0

    async def add() -> None:
        nonlocal number
        for _ in range(10):
            async with manager.write_lock(name):
                seen = number
                await trio.lowlevel.checkpoint()
                number = seen + 1

    async def several() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(add)

    trio.run(several)
    assert number == 50
    assert is_free(manager, name)


def test_a_thread_hands_over_to_a_task(manager: LockManager, name: str) -> None:
    async def enter() -> str:
        async with manager.write_lock(name):
            return "entered"

    with held_by_thread(manager.write_lock(name)):
        waiting = Caller(trio.run, enter)
        until(lambda: waiters(manager, name) == 1)
    assert waiting.result() == "entered"


def test_a_timeout(manager: LockManager, name: str) -> None:
    async def enter() -> None:
        async with manager.write_lock(name, timeout=SHORT):
            pytest.fail("entered beside another")

    with held_by_thread(manager.write_lock(name)), pytest.raises(LockTimeoutError):
        trio.run(enter)
    assert is_free(manager, name)


def test_a_cancelled_waiter_leaves_no_trace(manager: LockManager, name: str) -> None:
    async def give_up() -> None:
        with trio.move_on_after(SHORT) as scope:
            async with manager.write_lock(name, timeout=None):
                pytest.fail("entered beside another")
        assert scope.cancelled_caught
        assert waiters(manager, name) == 0

    with held_by_thread(manager.write_lock(name)):
        trio.run(give_up)
    assert is_free(manager, name)


def test_a_task_re_enters_and_others_do_not(manager: LockManager, name: str) -> None:
    async def other(outcome: list[str]) -> None:
        with pytest.raises(TimeoutError):
            async with manager.read_lock(name, timeout=0):
                pass
        outcome.append("kept out")

    async def main() -> list[str]:
        outcome: list[str] = []
        async with manager.write_lock(name), manager.read_lock(name), trio.open_nursery() as nursery:
            nursery.start_soon(other, outcome)
        return outcome

    assert trio.run(main) == ["kept out"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_under_anyio(manager: LockManager, name: str, backend: str) -> None:
    order: list[str] = []

    async def second(inside: anyio.Event) -> None:
        await inside.wait()
        async with manager.write_lock(name):
            order.append("second")

    async def main() -> None:
        inside = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(second, inside)
            async with manager.write_lock(name):
                inside.set()
                while waiters(manager, name) == 0:
                    await anyio.sleep(0.001)
                order.append("first")

    anyio.run(main, backend=backend)
    assert order == ["first", "second"]
    assert is_free(manager, name)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_anyio_cancel_scope(manager: LockManager, name: str, backend: str) -> None:
    async def main() -> None:
        with anyio.move_on_after(SHORT) as scope:
            async with manager.write_lock(name, timeout=None):
                pytest.fail("entered beside another")
        assert scope.cancelled_caught
        assert waiters(manager, name) == 0

    with held_by_thread(manager.write_lock(name)):
        anyio.run(main, backend=backend)


def test_trio_and_asyncio_and_threads_on_one_lock(manager: LockManager, name: str) -> None:
    number = 0
    start = threading.Barrier(3)

    def add_in(backend: str | None) -> None:
        async def add() -> None:
            nonlocal number
            for _ in range(30):
                async with manager.write_lock(name):
                    seen = number
                    await anyio.lowlevel.checkpoint()
                    number = seen + 1

        start.wait()
        if backend is not None:
            anyio.run(add, backend=backend)
            return
        for _ in range(30):
            with manager.write_lock(name):
                nonlocal_add()

    def nonlocal_add() -> None:
        nonlocal number
        number += 1

    callers = [Caller(add_in, backend) for backend in ("asyncio", "trio", None)]
    for caller in callers:
        caller.result()
    assert number == 90


def test_an_unknown_library_gets_an_error(table_manager: LockManager, name: str) -> None:
    """A coroutine driven by hand, without any event loop: a free lock is taken, a wait is refused."""

    async def enter() -> str:
        async with table_manager.write_lock(name, timeout=None):
            return "entered"

    def drive(coroutine: Any) -> str:
        with pytest.raises(StopIteration) as stop:
            coroutine.send(None)
        return str(stop.value.value)

    assert drive(enter()) == "entered"
    with held_by_thread(table_manager.write_lock(name)):
        with pytest.raises(UnsupportedError, match=r"asyncio|trio"):
            enter().send(None)
        assert waiters(table_manager, name) == 0


def test_taking_a_lock_is_a_checkpoint(manager: LockManager, name: str) -> None:
    """Free or not, as for trio's own locks: acquiring and releasing can be cancelled, and others run."""

    async def main() -> None:
        guard = manager.write_lock(name)
        with trio.testing.assert_checkpoints():
            async with guard:
                pass
        with trio.testing.assert_checkpoints():
            assert await guard.acquire_async()
        guard.release()
        with trio.testing.assert_checkpoints():
            async with manager.lock_all({name: "write"}):
                pass
        with trio.CancelScope() as scope:
            scope.cancel()
            async with guard:
                pytest.fail("entered although it was cancelled")
        assert scope.cancelled_caught
        assert not guard.locked()

    trio.run(main)
    assert is_free(manager, name)
