"""Many tasks of one loop on one lock."""

from __future__ import annotations

import asyncio

from concurrent_locks import LockManager


async def contend(manager: LockManager, name: str, tasks: int, turns: int) -> int:
    """Tasks add to a number across a suspension, under the lock: without exclusion, additions are lost."""
    number = 0

    async def add() -> None:
        nonlocal number
        for _ in range(turns):
            async with manager.write_lock(name):
                seen = number
                await asyncio.sleep(0)
                number = seen + 1

    await asyncio.gather(*(add() for _ in range(tasks)))
    return number
