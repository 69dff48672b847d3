"""What modules of the old shape got wrong, one check each: `check(locks)` fails if `locks` has the defect.

The checks use nothing but the contract, so that they can be put to either module.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from holders import Caller, held_by_task, held_by_thread

SHORT = 0.3


def new_name() -> str:
    return f"defect-{uuid.uuid4().hex}"


async def enters(lock: Any) -> bool:
    """Whether another task gets into `lock`."""

    async def enter() -> bool:
        try:
            async with lock:
                return True
        except TimeoutError:
            return False

    return await asyncio.create_task(enter())


def enters_thread(lock: Any) -> bool:
    """Whether another thread gets into `lock`."""

    def enter() -> bool:
        try:
            with lock:
                return True
        except TimeoutError:
            return False

    return bool(Caller(enter).result())


async def a_reader_that_timed_out_is_no_reader(locks: Any) -> None:
    manager, name = locks.get_lock_manager(), new_name()
    async with held_by_task(manager.write_lock(name)):
        assert not await enters(manager.read_lock(name, timeout=SHORT))
        assert manager.get_lock_status(name)[name]["readers"] == 0
    assert manager.get_lock_status(name)[name]["readers"] == 0


async def a_writer_that_timed_out_frees_nobody(locks: Any) -> None:
    manager, name = locks.get_lock_manager(), new_name()
    async with held_by_task(manager.write_lock(name)):
        assert not await enters(manager.write_lock(name, timeout=SHORT))
        assert not await enters(manager.write_lock(name, timeout=SHORT)), "two writers at once"


def a_removed_lock_file_lets_nobody_in(locks: Any) -> None:
    """The first releases; before it removes the file, the second (which waited) gets in; now a third tries."""
    name = new_name()
    first, second, third = (locks.DistributedLock(name) for _ in range(3))
    second_is_in, second_may_go = threading.Event(), threading.Event()
    unlink = os.unlink

    def slow_unlink(path: Any, *rest: Any, **more: Any) -> None:
        if str(path).endswith(".lock") and not second_may_go.is_set():
            second_is_in.wait(3)
        unlink(path, *rest, **more)

    def wait_and_hold() -> None:
        with second.lock(30):
            second_is_in.set()
            second_may_go.wait(30)

    with patch.object(os, "unlink", slow_unlink), patch.object(os, "remove", slow_unlink):
        with first.lock():
            waiting = Caller(wait_and_hold)
        assert second_is_in.wait(30)
        try:
            assert not enters_thread(third.lock(SHORT)), "two holders at once"
        finally:
            second_may_go.set()
            waiting.result()


def threads_may_share_an_object(locks: Any) -> None:
    lock = locks.DistributedLock(new_name())
    with ExitStack() as stack:
        stack.enter_context(held_by_thread(lock.lock()))
        entered = enters_thread(lock.lock(SHORT))
        if entered:  # the old one has closed the holder's file: its release would fail too
            stack.pop_all()
            _abandoned.append(stack)
        assert not entered, "two holders at once"


_abandoned: list[ExitStack] = []


def a_waiter_does_not_poll(locks: Any) -> None:
    lock, other = (locks.DistributedLock(name) for name in [new_name()] * 2)
    pauses: list[float] = []
    sleep = time.sleep

    def noted_sleep(seconds: float) -> None:
        if threading.current_thread() is waiter:
            pauses.append(seconds)
        sleep(seconds)

    with patch.object(time, "sleep", noted_sleep), held_by_thread(lock.lock()):
        waiter: threading.Thread | None = None

        def wait() -> bool:
            nonlocal waiter
            waiter = threading.current_thread()
            try:
                with other.lock(SHORT):
                    return True
            except TimeoutError:
                return False

        assert not Caller(wait).result()
    assert pauses == [], f"polled {len(pauses)} times"


WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None
import {module} as locks
lock = locks.DistributedLock({name!r})
try:
    with lock.lock({timeout}):
        print("held", flush=True)
        sys.stdin.readline()
except TimeoutError:
    print("timeout", flush=True)
"""


def processes_exclude_each_other_without_fcntl(locks: Any) -> None:
    """On a system that has no fcntl module, as Windows."""
    name = new_name()

    def start(timeout: float) -> subprocess.Popen[str]:
        script = WITHOUT_FCNTL.format(module=locks.__name__, name=name, timeout=timeout)
        path = os.pathsep.join(sys.path)
        return subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    with start(30) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with start(SHORT) as second:
            assert second.stdout is not None
            answer = second.stdout.readline()
            second.communicate("\n")
        first.communicate("\n")
    assert answer == "timeout\n", "two holders at once"


async def a_plain_function_stays_one(locks: Any) -> None:
    @locks.read_lock(new_name())
    def answer() -> int:
        return 42

    result = answer()
    if asyncio.iscoroutine(result):
        result.close()
    assert result == 42


async def a_deadlock_costs_one_side_only(locks: Any) -> None:
    manager, a, b = locks.get_lock_manager(), new_name(), new_name()
    both_hold = asyncio.Barrier(2)

    async def take(first: str, second: str) -> str:
        async with manager.write_lock(first):
            await both_hold.wait()
            try:
                async with manager.write_lock(second, timeout=5.0):
                    return "done"
            except Exception as error:
                return type(error).__name__

    outcomes = await asyncio.gather(take(a, b), take(b, a))
    assert sorted(outcomes) == ["DeadlockError", "done"], outcomes


async def nested_sections_are_counted_right(locks: Any) -> None:
    manager, outer, inner = locks.get_lock_manager(), new_name(), new_name()
    async with manager.read_lock(outer):
        for _ in range(3):
            async with manager.write_lock(inner):
                pass
    read = manager.get_statistics(outer)["locks"]["read"]
    write = manager.get_statistics(inner)["locks"]["write"]
    assert (read["total_acquisitions"], read["total_releases"], read["current_holders"]) == (1, 1, 0)
    assert (write["total_acquisitions"], write["total_releases"], write["current_holders"]) == (3, 3, 0)
    assert (read["current_waiters"], write["current_waiters"]) == (0, 0)


async def a_forked_child_holds_nothing(locks: Any) -> None:
    manager, name = locks.get_lock_manager(), new_name()

    def in_the_child() -> bool:
        return asyncio.run(enters(manager.write_lock(name, timeout=SHORT)))

    async with held_by_task(manager.write_lock(name)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside other threads
            child = os.fork()
        if child == 0:
            os._exit(0 if in_the_child() else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the child believes in its parent's writer"


Check = Callable[[Any], Awaitable[None] | None]

CHECKS: list[Check] = [
    a_reader_that_timed_out_is_no_reader,
    a_writer_that_timed_out_frees_nobody,
    a_removed_lock_file_lets_nobody_in,
    threads_may_share_an_object,
    a_waiter_does_not_poll,
    processes_exclude_each_other_without_fcntl,
    a_plain_function_stays_one,
    a_deadlock_costs_one_side_only,
    nested_sections_are_counted_right,
    a_forked_child_holds_nothing,
]
