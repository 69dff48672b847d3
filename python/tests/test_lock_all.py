"""Several locks in one request: all or nothing, in one order, without deadlock."""

from __future__ import annotations

import asyncio
import random

import pytest
from concurrent_locks import LockManager, LockType
from facts import SHORT, is_free, until_true, waiters
from holders import Caller, held_by_task


def both(name: str) -> tuple[str, str]:
    return name + "-a", name + "-b"


async def test_all_are_held_and_all_are_released(manager: LockManager, name: str) -> None:
    a, b = both(name)
    async with manager.lock_all({a: "write", b: "read"}):
        shown = manager.get_lock_status()
        assert shown[a]["writer_active"]
        assert shown[b]["readers"] == 1
    assert is_free(manager, a)
    assert is_free(manager, b)


@pytest.mark.parametrize("form", ["dict", "pairs", "types"])
def test_forms(manager: LockManager, name: str, form: str) -> None:
    a, b = both(name)
    wanted: object = {
        "dict": {a: "write", b: "read"},
        "pairs": [(a, "write"), (b, "read")],
        "types": {a: LockType.WRITE, b: LockType.READ},
    }[form]
    with manager.lock_all(wanted, timeout=0):
        assert manager.get_lock_status(a)["writer_active"]
        assert manager.get_lock_status(b)["readers"] == 1
    assert is_free(manager, a)
    assert is_free(manager, b)


async def test_all_or_nothing(manager: LockManager, name: str) -> None:
    a, b = both(name)
    async with held_by_task(manager.write_lock(b)):
        with pytest.raises(TimeoutError):
            async with manager.lock_all({a: "write", b: "write"}, timeout=SHORT):
                pytest.fail("entered without b")
        assert is_free(manager, a)
        assert waiters(manager, b) == 0


async def test_cancelled_while_it_waits(manager: LockManager, name: str) -> None:
    a, b = both(name)
    async with held_by_task(manager.write_lock(b)):

        async def enter() -> None:
            async with manager.lock_all({a: "write", b: "write"}, timeout=None):
                pytest.fail("entered without b")

        waiting = asyncio.create_task(enter())
        await until_true(lambda: waiters(manager, b) == 1)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert is_free(manager, a)
        assert waiters(manager, b) == 0


async def test_orders_that_contradict_each_other_do_not_deadlock(manager: LockManager, name: str) -> None:
    names = [f"{name}-{number}" for number in range(5)]
    sections = 0

    async def work(seed: int) -> None:
        nonlocal sections
        chance = random.Random(seed)
        for _ in range(20):
            chosen = chance.sample(names, 3)
            async with manager.lock_all([(each, "write") for each in chosen], timeout=None):
                await asyncio.sleep(0)
                sections += 1

    await asyncio.gather(*(work(seed) for seed in range(10)))
    assert sections == 200
    assert all(is_free(manager, each) for each in names)


def test_in_threads(manager: LockManager, name: str) -> None:
    a, b = both(name)
    number = 0

    def work(first: str, second: str) -> None:
        nonlocal number
        for _ in range(50):
            with manager.lock_all([(first, "write"), (second, "write")], timeout=None):
                number += 1

    callers = [Caller(work, a, b), Caller(work, b, a)]
    for caller in callers:
        caller.result()
    assert number == 100


def test_nonsense_is_refused(manager: LockManager, name: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        manager.lock_all({name: "sideways"})
    with pytest.raises((ValueError, TypeError)):
        manager.lock_all({name: LockType.DISTRIBUTED})
