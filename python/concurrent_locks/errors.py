"""The errors of locks.

Every error of this package is a :class:`LockError`. Busy (:class:`LockTimeoutError`) and broken
(:class:`LockEngineError`) are never confused. All of them can be pickled.
"""

from __future__ import annotations

import json
from typing import Any


class LockError(Exception):
    """The base of all errors of this package. Its text names the holder, and what to do."""

    def __init__(self, message: str, *, resource_name: str | None = None, mode: str | None = None) -> None:
        super().__init__(message)
        self.resource_name = resource_name
        """The lock it is about, if any."""
        self.mode = mode
        """The requested mode: ``"read"`` or ``"write"``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class LockTimeoutError(LockError, TimeoutError):
    """The lock was busy until the request timed out. Also a :class:`TimeoutError`."""

    def __init__(
        self,
        message: str,
        *,
        resource_name: str | None = None,
        mode: str | None = None,
        holders: list[dict[str, Any]] | None = None,
        position: int | None = None,
        waited: float = 0.0,
    ) -> None:
        super().__init__(message, resource_name=resource_name, mode=mode)
        self.holders: list[dict[str, Any]] = holders or []
        """The holders, as in :meth:`LockManager.status`."""
        self.position = position
        """The place in the queue, from 1; ``None`` if the request did not queue."""
        self.waited = waited
        """How long the request waited, in seconds."""


class DeadlockError(LockError, RuntimeError):
    """The wait would have lasted for ever: owners wait for each other in a cycle.

    Release the other locks, and retry; or take locks in one order everywhere; or use
    :meth:`LockManager.lock_all`.
    """

    def __init__(
        self,
        message: str,
        *,
        resource_name: str | None = None,
        mode: str | None = None,
        cycle: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message, resource_name=resource_name, mode=mode)
        self.cycle: list[dict[str, Any]] = cycle or []
        """The waits, in order; each owner waits for the next, the last for the first."""


class LockLostError(LockError, RuntimeError):
    """The lock was lost while held (its lease expired, or an operator broke it): the section was not exclusive."""


class InvalidNameError(LockError, ValueError):
    """A resource name has 1 to 255 bytes of UTF-8 without NUL; this one is different."""


class UnsupportedError(LockError, NotImplementedError):
    """The engine, the system, or the async library does not support this."""


class LockTableFullError(LockError):
    """A fixed pool of the lock table (resources, requests, processes) is used up."""


class LockEngineError(LockError, OSError):
    """The lock state is broken, out of reach, or forbidden; the lock may be free or not."""


def _rebuild(kind: type[LockError], args: tuple[Any, ...], state: dict[str, Any]) -> LockError:
    """Unpickle an error."""
    error = kind(*args)
    error.__dict__.update(state)
    return error


_BY_KIND: dict[str, type[LockError]] = {
    "lost": LockLostError,
    "invalid_name": InvalidNameError,
    "unsupported": UnsupportedError,
    "full": LockTableFullError,
}


def from_core(
    kind: str,
    message: str,
    resource_name: str | None,
    mode: str | None,
    holders: str | None,
    position: int | None,
    waited: float,
    cycle: str | None,
) -> Exception:
    """Make the exception for an error of the native half. Called by the native half only."""
    if kind in ("timed_out", "would_block"):
        return LockTimeoutError(
            message,
            resource_name=resource_name,
            mode=mode,
            holders=json.loads(holders) if holders else [],
            position=position,
            waited=waited,
        )
    if kind == "deadlock":
        return DeadlockError(message, resource_name=resource_name, mode=mode, cycle=json.loads(cycle) if cycle else [])
    if kind == "invalid_input":
        return ValueError(message)
    return _BY_KIND.get(kind, LockEngineError)(message, resource_name=resource_name, mode=mode)
