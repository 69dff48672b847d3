"""Waiting in a trio task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from . import _core


async def wait(readiness: _core.Readiness, guard: _core.Guard) -> _core.Guard:
    """Sleep until the guard holds. Leaving early, however, leaves the queue."""
    try:
        while not readiness.poll():
            await trio.lowlevel.wait_readable(readiness.fileno())
    finally:
        readiness.leave()
    return guard
