"""Waiting in a trio task."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from . import _core

if TYPE_CHECKING:
    from .lost import Standing


async def enter(guard: _core.Guard, timeout: float | None) -> _core.Guard:  # noqa: ASYNC109
    """Acquire a lock. As everywhere in trio it is a checkpoint, whether the lock is free or not."""
    await trio.lowlevel.checkpoint_if_cancelled()
    readiness = _core.guard_begin(guard, timeout)
    if readiness is not None:
        return await wait(readiness, guard)
    await trio.lowlevel.cancel_shielded_checkpoint()
    return guard


async def wait(readiness: _core.Readiness, guard: _core.Guard) -> _core.Guard:
    """Sleep until the guard holds. Leaving early, however, leaves the queue."""
    try:
        if readiness.poll():
            # A server's answer may come before anybody sleeps: it is a checkpoint all the same.
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await trio.lowlevel.wait_readable(readiness.fileno())
            while not readiness.poll():
                await trio.lowlevel.wait_readable(readiness.fileno())
    finally:
        readiness.leave()
    return guard


def event() -> tuple[Callable[[], object], trio.Event]:
    """Make an event, and what sets it from any thread."""
    token = trio.lowlevel.current_trio_token()
    event = trio.Event()

    def wake() -> None:
        # Whoever waited is gone with the loop.
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(event.set)

    return wake, event


async def verify(verify: Callable[[], Standing]) -> Standing:
    """Verify on a thread."""
    return await trio.to_thread.run_sync(verify)
