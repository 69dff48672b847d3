"""Notification of lost locks: an event that threads and tasks can wait for, and the thread that sets it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

from . import _core, _greenlets
from .errors import LockLostError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lease:
    """How long a lock stays held without further contact with its server. Times are seconds.

    ``length`` is the longest it can run without a renewal, ``remaining`` the time left. It is
    ``in_danger`` with no more than a third left: a holder that cannot stop in an instant should stop now.
    """

    length: float
    remaining: float
    in_danger: bool


class Standing(Enum):
    """The state of a guard: the result of ``verify``.

    ``RENEWED``: the server has just confirmed it, and the lease starts again. ``HELD``: the engine knows
    without a call. ``UNKNOWN``: no answer, which is no loss: the lock is held until the lease expires.
    ``LOST``: it is no longer held.
    """

    RENEWED = "renewed"
    HELD = "held"
    UNKNOWN = "unknown"
    LOST = "lost"


class Lost:
    """The loss of a guard's lock, as an event. Made by ``Guard.lost``; keep it to wait for it again.

    It can be awaited beside the work, in asyncio and trio, and waited for by threads. It is never set
    once the guard was released.
    """

    def __init__(self, guard: Any) -> None:
        _greenlets.must_not_be_patched("notification of a loss")
        self._told = threading.Event()
        self._tells: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._error: LockLostError | None = None
        _messenger().watch(guard, self)

    def is_set(self) -> bool:
        """Whether a loss of the lock has been reported."""
        return self._told.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait on this thread until the lock is lost; ``False`` if it is not after so many seconds."""
        return self._told.wait(timeout)

    @property
    def error(self) -> LockLostError | None:
        """The reason of the loss; ``None`` without one."""
        return self._error

    def __await__(self) -> Generator[Any, None, LockLostError]:
        """Wait in this task until the lock is lost; the error is the result."""
        return self._wait_in_task().__await__()

    async def _wait_in_task(self) -> LockLostError:
        wake, event = _event_of_task()
        self.call(wake)
        try:
            await event.wait()
        finally:
            self._forget(wake)
        assert self._error is not None
        return self._error

    def call(self, tell: Callable[[], object]) -> None:
        """Have ``tell`` called at the loss, on a thread of the package; here, if it is lost already."""
        with self._lock:
            if not self._told.is_set():
                self._tells.append(tell)
                return
        tell()

    def _forget(self, tell: Callable[[], object]) -> None:
        with self._lock:
            if tell in self._tells:
                self._tells.remove(tell)

    def _set(self, error: LockLostError) -> None:
        with self._lock:
            self._error = error
            self._told.set()
            tells, self._tells = self._tells, []
        for tell in tells:
            try:
                tell()
            except Exception:
                logger.exception("a callback for the loss of a lock failed")


def _event_of_task() -> tuple[Callable[[], object], Any]:
    """Make an event of the async library that runs here, and what sets it from any thread."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        from . import _trio

        return _trio.event()
    event = asyncio.Event()

    def wake() -> None:
        # The loop may have ended meanwhile, and with it whoever waited.
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    return wake, event


class _Messenger:
    """The thread that waits for losses; it starts with the first use."""

    def __init__(self) -> None:
        self.forks = _core.forks()
        self._losses = _core.Losses()
        self._numbers = itertools.count(1)
        self._watches: dict[int, Lost] = {}
        threading.Thread(target=self._run, name="locks-losses", daemon=True).start()

    def watch(self, guard: Any, lost: Lost) -> None:
        number = next(self._numbers)
        self._watches[number] = lost
        try:
            self._losses.watch(guard, number)
        except BaseException:
            self._watches.pop(number, None)
            raise

    def _run(self) -> None:
        while True:
            number, error = self._losses.next()
            lost = self._watches.pop(number, None)
            if lost is not None and error is not None:
                lost._set(cast("LockLostError", error))


_one: _Messenger | None = None
_starting = threading.Lock()


def _messenger() -> _Messenger:
    global _one
    with _starting:
        # A forked child has its parent's, but not its thread.
        if _one is None or _one.forks != _core.forks():
            _one = _Messenger()
        return _one


def _after_fork() -> None:
    """Somebody may have held it in the parent."""
    global _starting
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
