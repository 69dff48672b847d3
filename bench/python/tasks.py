"""Two tasks of one loop hand a lock to each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import thread_time
from typing import Any

import aiorwlock
import anyio
import old_shape
from concurrent_locks import get_lock_manager
from rounds import Contender, Group

NAME = "hand-off"


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def with_timeout(lock: asyncio.Lock) -> AsyncIterator[None]:
    async with asyncio.timeout(30):
        await lock.acquire()
    try:
        yield
    finally:
        lock.release()


def ping_pong(make: Callable[[], Callable[[], Any]]) -> Contender:
    """Both tasks want the lock all the time; who holds it lets the other one come to wait."""

    async def case(times: int) -> float:
        lock = make()

        async def player() -> None:
            for _ in range(times // 2):
                async with lock():
                    await asyncio.sleep(0)

        start = thread_time()
        await asyncio.gather(player(), player())
        return thread_time() - start

    return lambda times: asyncio.run(case(times))


def same(lock: Any) -> Callable[[], Any]:
    return lambda: lock


def timed(lock: asyncio.Lock) -> Callable[[], Any]:
    return lambda: with_timeout(lock)


def between_tasks() -> Group:
    ours, old = get_lock_manager(), old_shape.get_lock_manager()

    def old_write() -> Callable[[], Any]:
        old._rw_locks.pop(NAME, None)  # it is bound to the loop of the round before
        return lambda: old.write_lock(NAME, timeout=30)

    return Group(
        "hand-off between two tasks, per acquisition (the holder yields once)",
        "us",
        1e6,
        "asyncio.Lock, no time-out",
        {
            "no lock": ping_pong(lambda: nothing),
            "asyncio.Lock, no time-out": ping_pong(lambda: same(asyncio.Lock())),
            "asyncio.Lock + asyncio.timeout(30)": ping_pong(lambda: timed(asyncio.Lock())),
            "anyio.Lock, fast_acquire": ping_pong(lambda: same(anyio.Lock(fast_acquire=True))),
            "aiorwlock writer, fast": ping_pong(lambda: same(aiorwlock.RWLock(fast=True).writer_lock)),
            "old shape, write_lock(name, timeout=30)": ping_pong(old_write),
            "ours, write_lock(name, timeout=30)": ping_pong(lambda: lambda: ours.write_lock(NAME, timeout=30)),
        },
        times=2_000,
    )
