"""Many at once, in the sizes that the replaced module promised, and more."""

from __future__ import annotations

import asyncio
import random

import pytest
from concurrent_locks import LockManager, get_lock_manager
from facts import is_free
from holders import Caller


class Section:
    """Notices who is inside together."""

    def __init__(self) -> None:
        self.readers = self.writers = self.most_readers = self.entered = 0

    def enter(self, mode: str) -> None:
        if mode == "read":
            self.readers += 1
            self.most_readers = max(self.most_readers, self.readers)
        else:
            self.writers += 1
        self.entered += 1
        assert self.writers <= 1 and not (self.writers and self.readers), (self.readers, self.writers)

    def leave(self, mode: str) -> None:
        if mode == "read":
            self.readers -= 1
        else:
            self.writers -= 1


async def work(manager: LockManager, name: str, section: Section, mode: str, pauses: int = 1) -> None:
    async with getattr(manager, f"{mode}_lock")(name, timeout=None):
        section.enter(mode)
        for _ in range(pauses):
            await asyncio.sleep(0)
        section.leave(mode)


@pytest.mark.parametrize("readers", [50, 500])
async def test_readers(table_manager: LockManager, name: str, readers: int) -> None:
    section = Section()
    await asyncio.gather(*(work(table_manager, name, section, "read") for _ in range(readers)))
    assert section.entered == section.most_readers == readers
    assert is_free(table_manager, name)


@pytest.mark.parametrize("writers", [50, 500])
async def test_writers(manager: LockManager, name: str, writers: int) -> None:
    section = Section()
    await asyncio.gather(*(work(manager, name, section, "write") for _ in range(writers)))
    assert section.entered == writers
    assert is_free(manager, name)


@pytest.mark.parametrize("operations", [100, 2000])
async def test_mixed(manager: LockManager, name: str, operations: int) -> None:
    section, chance = Section(), random.Random(operations)
    modes = ["write" if chance.random() < 0.3 else "read" for _ in range(operations)]
    await asyncio.gather(*(work(manager, name, section, mode, chance.randrange(4)) for mode in modes))
    assert section.entered == operations
    statistics = manager.get_statistics(name)["locks"]
    for mode in ("read", "write"):
        assert statistics[mode]["total_acquisitions"] == statistics[mode]["total_releases"] == modes.count(mode)
    assert is_free(manager, name)


async def test_writers_do_not_starve_among_readers_that_keep_coming(manager: LockManager, name: str) -> None:
    section, done = Section(), asyncio.Event()

    async def read_on() -> None:
        while not done.is_set():
            await work(manager, name, section, "read")

    readers = [asyncio.create_task(read_on()) for _ in range(20)]
    for _ in range(20):
        await work(manager, name, section, "write")
    done.set()
    await asyncio.gather(*readers)
    assert is_free(manager, name)


async def test_readers_do_not_starve_among_writers_that_keep_coming(manager: LockManager, name: str) -> None:
    section, done = Section(), asyncio.Event()

    async def write_on() -> None:
        while not done.is_set():
            await work(manager, name, section, "write")

    writers = [asyncio.create_task(write_on()) for _ in range(20)]
    for _ in range(20):
        await work(manager, name, section, "read")
    done.set()
    await asyncio.gather(*writers)
    assert is_free(manager, name)


def test_threads_mixed(manager: LockManager, name: str) -> None:
    inside: list[str] = []

    def many(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(100):
            mode = "write" if chance.random() < 0.3 else "read"
            with getattr(manager, f"{mode}_lock")(name, timeout=None):
                inside.append(mode)
                seen = list(inside)
                assert seen.count("write") == 0 or len(seen) == 1, seen
                inside.remove(mode)

    callers = [Caller(many, seed) for seed in range(8)]
    for caller in callers:
        caller.result()
    assert is_free(manager, name)


async def test_many_names(manager: LockManager, name: str) -> None:
    async def one(number: int) -> None:
        async with manager.write_lock(f"{name}-{number}"):
            await asyncio.sleep(0)

    await asyncio.gather(*(one(number) for number in range(3000)))
    assert is_free(manager, f"{name}-0")


def test_a_row_of_event_loops(name: str) -> None:
    manager, section = get_lock_manager(), Section()

    async def several() -> None:
        await asyncio.gather(*(work(manager, name, section, "write") for _ in range(10)))

    for _ in range(30):
        asyncio.run(several())
    assert section.entered == 300
    assert is_free(manager, name)
