"""Waiting for facts, never for time to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

DEADLINE = 60.0
"""When a fact that does not come is given up, in seconds: generous, because nothing is asserted on speed."""

SHORT = 0.05
"""A time-out that is expected to run out."""


def until(fact: Callable[[], Any]) -> None:
    """Returns when `fact()` is true. For threads."""
    end = time.monotonic() + DEADLINE
    while not fact():
        assert time.monotonic() < end, "the fact did not come"
        time.sleep(0.001)


async def until_true(fact: Callable[[], Any]) -> None:
    """Returns when `fact()` is true. For tasks."""
    end = time.monotonic() + DEADLINE
    while not fact():
        assert time.monotonic() < end, "the fact did not come"
        await asyncio.sleep(0.001)


def status(manager: Any, name: str) -> dict[str, Any]:
    """The status of one resource; of one that nobody knows, that of a free one."""
    free = {"readers": 0, "writer_active": False, "pending_writes": 0, "pending_requests": 0}
    shown: dict[str, Any] = manager.get_lock_status(name).get(name, free)
    return shown


def waiters(manager: Any, name: str) -> int:
    """How many requests wait for `name`."""
    return int(status(manager, name)["pending_requests"])


def is_free(manager: Any, name: str) -> bool:
    """Whether nobody holds `name` and nobody waits for it."""
    shown = status(manager, name)
    return shown["readers"] == 0 and not shown["writer_active"] and shown["pending_requests"] == 0
