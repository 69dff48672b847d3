"""One manager in many event loops: one after the other, side by side in threads, closed with waiters inside."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable

import pytest
import uvloop
from concurrent_locks import LockManager, get_lock_manager
from contention import contend
from facts import SHORT, is_free, until, waiters
from holders import Caller, gets, held_by_task, held_by_thread

MAKERS = [asyncio.new_event_loop, uvloop.new_event_loop]
Maker = Callable[[], asyncio.AbstractEventLoop]
pytestmark = pytest.mark.parametrize("make_loop", MAKERS, ids=["asyncio", "uvloop"])


def run(make_loop: Maker, coroutine: object) -> object:
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(coroutine)  # type: ignore[arg-type]


def test_several_runs_in_a_row_on_the_singleton(make_loop: Maker, name: str) -> None:
    for _ in range(5):
        assert run(make_loop, contend(get_lock_manager(), name, tasks=5, turns=5)) == 25
    assert is_free(get_lock_manager(), name)


def test_loops_in_threads_on_one_lock(make_loop: Maker, manager: LockManager, name: str) -> None:
    number = 0

    async def add() -> None:
        nonlocal number
        for _ in range(20):
            async with manager.write_lock(name):
                seen = number
                await asyncio.sleep(0)
                number = seen + 1

    async def several() -> None:
        await asyncio.gather(*(add() for _ in range(5)))

    callers = [Caller(lambda: run(make_loop, several())) for _ in range(4)]
    for caller in callers:
        caller.result()
    assert number == 4 * 5 * 20
    assert is_free(manager, name)


def test_a_waiter_is_woken_by_another_thread(make_loop: Maker, manager: LockManager, name: str) -> None:
    async def enter() -> str:
        async with manager.write_lock(name):
            return "entered"

    with held_by_thread(manager.write_lock(name)):
        waiting = Caller(lambda: run(make_loop, enter()))
        until(lambda: waiters(manager, name) == 1)
    assert waiting.result() == "entered"


def test_a_timeout_in_an_otherwise_idle_loop(make_loop: Maker, manager: LockManager, name: str) -> None:
    async def enter() -> None:
        async with manager.write_lock(name, timeout=SHORT):
            pytest.fail("entered beside another")

    with held_by_thread(manager.write_lock(name)):
        with pytest.raises(TimeoutError):
            Caller(lambda: run(make_loop, enter())).result()
        assert waiters(manager, name) == 0


def test_many_timeouts_in_one_loop(make_loop: Maker, manager: LockManager, name: str) -> None:
    async def refused(timeout: float) -> bool:
        try:
            async with manager.write_lock(name, timeout=timeout):
                return False
        except TimeoutError:
            return True

    async def all_refused() -> list[bool]:
        async with held_by_task(manager.write_lock(name)):
            return await asyncio.gather(*(refused(SHORT + each / 1000) for each in range(50)))

    assert run(make_loop, all_refused()) == [True] * 50
    assert is_free(manager, name)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_closed_with_waiters_blocks_nobody(make_loop: Maker, manager: LockManager, name: str) -> None:
    """The waiters of a closed loop can never run again: as soon as they are gone, the queue is too."""
    with held_by_thread(manager.write_lock(name)):
        loop = make_loop()

        async def enter() -> None:
            async with manager.write_lock(name, timeout=None):
                pytest.fail("entered in a closed loop")

        tasks = [loop.create_task(enter()) for _ in range(3)]
        loop.run_until_complete(asyncio.sleep(0))
        assert waiters(manager, name) == 3
        loop.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "Task was destroyed but it is pending": that is what is tried here
            loop.set_exception_handler(lambda *_: None)
            del tasks, loop
            gc.collect()
        until(lambda: waiters(manager, name) == 0)
    assert is_free(manager, name)


@pytest.mark.parametrize("released_by", ["another thread", "the thread of the loop"])
def test_a_grant_to_a_closed_loop_is_handed_on(
    make_loop: Maker, manager: LockManager, name: str, released_by: str
) -> None:
    """The loop is closed, its waiter is granted, nobody can be notified: when the waiter goes, the next one comes."""
    loop = make_loop()
    holder = manager.write_lock(name)
    holder.acquire()

    async def enter() -> None:
        async with manager.write_lock(name, timeout=None):
            pytest.fail("entered in a closed loop")

    task = loop.create_task(enter())
    loop.run_until_complete(asyncio.sleep(0))
    assert waiters(manager, name) == 1
    loop.close()
    if released_by == "another thread":
        Caller(holder.release).result()
    else:
        holder.release()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loop.set_exception_handler(lambda *_: None)
        del task, loop
        gc.collect()
    assert Caller(gets, manager.write_lock(name)).result() is True


def test_a_loop_in_a_thread_and_threads_without(make_loop: Maker, manager: LockManager, name: str) -> None:
    number = 0

    def add_in_thread() -> None:
        nonlocal number
        for _ in range(50):
            with manager.write_lock(name):
                number += 1

    async def add_in_task() -> None:
        nonlocal number
        for _ in range(50):
            async with manager.write_lock(name):
                seen = number
                await asyncio.sleep(0)
                number = seen + 1

    async def several() -> None:
        await asyncio.gather(*(add_in_task() for _ in range(4)))

    callers = [Caller(add_in_thread) for _ in range(4)] + [Caller(lambda: run(make_loop, several()))]
    for caller in callers:
        caller.result()
    assert number == 400


def test_without_suspension_when_free(make_loop: Maker, table_manager: LockManager, name: str) -> None:
    """A free lock is acquired and released in one step: another task has no turn in between."""

    async def steps() -> list[str]:
        order: list[str] = []

        async def other() -> None:
            order.append("other")

        task = asyncio.ensure_future(other())
        async with table_manager.write_lock(name):
            order.append("inside")
        order.append("after")
        await task
        return order

    assert run(make_loop, steps()) == ["inside", "after", "other"]


def test_no_thread_before_somebody_waits(make_loop: Maker, name: str) -> None:
    before = threading.active_count()

    async def enter() -> None:
        async with get_lock_manager().write_lock(name):
            assert threading.active_count() == before

    run(make_loop, enter())
