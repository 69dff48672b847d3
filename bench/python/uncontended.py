"""Nobody else wants the lock: the cost of acquiring and releasing it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

import aiorwlock
import anyio
import concurrent_locks
import fasteners
import filelock
import old_shape
import portalocker
from concurrent_locks import LockManager, get_lock_manager
from readerwriterlock import rwlock
from rounds import Contender, Group

NAME = "episodic_db:episodic_memory.db"


def in_a_loop(case: Callable[[int], Any]) -> Contender:
    """An async case, measured inside an event loop of its own."""

    def run(times: int) -> float:
        seconds: float = asyncio.run(case(times))
        return seconds

    return run


def entering(make: Callable[[], Any]) -> Contender:
    """`async with` one lock object, again and again."""

    async def case(times: int) -> float:
        lock = make()
        start = thread_time()
        for _ in range(times):
            async with lock:
                pass
        return thread_time() - start

    return in_a_loop(case)


def asking(method: Callable[[str], Any]) -> Contender:
    """`async with` what a manager gives for a name, again and again."""

    async def case(times: int) -> float:
        start = thread_time()
        for _ in range(times):
            async with method(NAME):
                pass
        return thread_time() - start

    return in_a_loop(case)


async def bare_loop(times: int) -> float:
    start = thread_time()
    for _ in range(times):
        pass
    return thread_time() - start


def with_asyncio() -> Group:
    ours, old, host = get_lock_manager(), old_shape.get_lock_manager(), LockManager("host:")
    return Group(
        "async with, uncontended",
        "ns",
        1e9,
        "asyncio.Lock",
        {
            "the loop alone": in_a_loop(bare_loop),
            "asyncio.Lock": entering(asyncio.Lock),
            "anyio.Lock, fast_acquire": entering(lambda: anyio.Lock(fast_acquire=True)),
            "aiorwlock reader, fast": entering(lambda: aiorwlock.RWLock(fast=True).reader_lock),
            "old shape, manager.read_lock(name)": asking(old.read_lock),
            "ours, manager.read_lock(name)": asking(ours.read_lock),
            "ours, manager.write_lock(name)": asking(ours.write_lock),
            "ours, one guard used again": entering(lambda: ours.read_lock(NAME)),
            "ours, host:, manager.read_lock(name)": asking(host.read_lock),
        },
        times=20_000,  # in short rounds it counts what the contender before left in the caches
    )


def sync_entering(lock: Any) -> Contender:
    def run(times: int) -> float:
        start = thread_time()
        for _ in range(times):
            with lock:
                pass
        return thread_time() - start

    return run


def sync_asking(method: Callable[..., Any], *arguments: Any) -> Contender:
    def run(times: int) -> float:
        start = thread_time()
        for _ in range(times):
            with method(*arguments):
                pass
        return thread_time() - start

    return run


def with_threads() -> Group:
    ours = get_lock_manager()
    return Group(
        "with, uncontended",
        "ns",
        1e9,
        "threading.Lock",
        {
            "threading.Lock": sync_entering(threading.Lock()),
            "threading.RLock": sync_entering(threading.RLock()),
            "readerwriterlock RWLockFair, read": sync_asking(rwlock.RWLockFair().gen_rlock),
            "fasteners.ReaderWriterLock, read": sync_asking(fasteners.ReaderWriterLock().read_lock),
            "ours, manager.read_lock(name)": sync_asking(ours.read_lock, NAME),
            "ours, manager.write_lock(name)": sync_asking(ours.write_lock, NAME),
        },
        times=5_000,
    )


def across_processes(folder: Path) -> Group:
    host = LockManager("host:")
    return Group(
        "with, uncontended, exclusive across processes",
        "ns",
        1e9,
        "filelock.FileLock",
        {
            "filelock.FileLock": sync_entering(filelock.FileLock(folder / "filelock")),
            "fasteners.InterProcessLock": sync_entering(fasteners.InterProcessLock(folder / "fasteners")),
            "portalocker.Lock": sync_asking(portalocker.Lock, folder / "portalocker"),
            "old shape, distributed_lock": sync_asking(old_shape.get_lock_manager().distributed_lock, NAME),
            "ours, distributed_lock": sync_asking(get_lock_manager().distributed_lock, NAME),
            "ours, host:, manager.write_lock(name)": sync_asking(host.write_lock, NAME),
        },
        times=200,
    )


def decorated() -> Group:
    async def bare() -> None:
        pass

    lock = asyncio.Lock()

    async def locked() -> None:
        async with lock:
            pass

    @old_shape.read_lock(NAME)
    async def old() -> None:
        pass

    @concurrent_locks.read_lock(NAME)
    async def ours() -> None:
        pass

    class Store:
        path = Path("memory/episodic_memory.db")

        @concurrent_locks.read_lock("episodic_db:{self.path}")
        async def query(self) -> None:
            pass

    def calling(function: Callable[[], Any]) -> Contender:
        async def case(times: int) -> float:
            start = thread_time()
            for _ in range(times):
                await function()
            return thread_time() - start

        return in_a_loop(case)

    return Group(
        "a decorated async function, called",
        "ns",
        1e9,
        "async with asyncio.Lock inside",
        {
            "not decorated": calling(bare),
            "async with asyncio.Lock inside": calling(locked),
            "old shape": calling(old),
            "ours, a constant name": calling(ours),
            "ours, a template": calling(Store().query),
        },
        times=5_000,
    )
