"""The lock manager: the entry point of the package."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, cast, overload

from . import _core, distributed
from .guard import GuardAll
from .shapes import DEADLOCK_TIMEOUT, DEFAULT_DISTRIBUTED_TIMEOUT, STATUS_KEYS, LockType, StatusOfOne, idle_status

Mode = LockType | Literal["read", "write"]
"""``"read"`` or ``"write"``, or the :class:`LockType` of that name."""


class LockManager(_core.Manager):
    """Named read/write locks for tasks, threads and processes.

    ``LockManager()`` uses ``$CONCURRENT_LOCKS_URL``, else ``local:``: this process.
    ``LockManager("host:")`` reaches all processes of this user on this machine. There is one manager
    per URL and process; it can be shared by threads, tasks and event loops, pickled, and used after a
    fork.
    """

    _made: ClassVar[dict[str, LockManager]] = {}

    def __new__(cls, url: str | None = None) -> LockManager:
        """Open the locks that a URL names, or return the manager that has them open."""
        if url is None:
            return get_lock_manager()
        made = cls._made.get(url)
        if made is None:
            # Two threads may get here with one URL: all use the first one's manager.
            with _opening:
                new = super().__new__(cls, url)
            made = cls._made.setdefault(new.url, new)
            cls._made[url] = made
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return LockManager, (self.url,)

    def __repr__(self) -> str:
        return f"LockManager({self.url!r})"

    def distributed_lock(
        self,
        resource_name: str,
        timeout: float | None = DEFAULT_DISTRIBUTED_TIMEOUT,
        *,
        priority: int = 0,
        owner: str | None = None,
        note: str | None = None,
    ) -> distributed.DistributedGuard:
        """Make a guard that holds ``resource_name`` exclusively across processes, for ``with`` or ``async with``.

        See :class:`DistributedLock`.
        """
        return distributed.DistributedLock(resource_name, manager=self).lock(
            timeout, priority=priority, owner=owner, note=note
        )

    @overload
    def lock_all(
        self,
        wanted: Mapping[str, Mode],
        timeout: float | None = ...,
        *,
        priority: int = ...,
        owner: str | None = ...,
        note: str | None = ...,
        max_hold: float | None = ...,
    ) -> GuardAll: ...

    @overload
    def lock_all(
        self,
        wanted: Iterable[tuple[str, Mode]],
        timeout: float | None = ...,
        *,
        priority: int = ...,
        owner: str | None = ...,
        note: str | None = ...,
        max_hold: float | None = ...,
    ) -> GuardAll: ...

    def lock_all(
        self,
        wanted: Mapping[str, Mode] | Iterable[tuple[str, Mode]],
        timeout: float | None = 30.0,
        *,
        priority: int = 0,
        owner: str | None = None,
        note: str | None = None,
        max_hold: float | None = None,
    ) -> GuardAll:
        """Make a guard that holds several locks, all or nothing: ``{"a": "read", "b": "write"}``.

        They are acquired in the order of their names, so two such requests never deadlock. A name given
        twice is acquired once, for writing if either wants that. The timeout covers all of them together;
        ``max_hold`` counts for each from when it was acquired.
        """
        pairs = cast("Iterable[tuple[str, Mode]]", wanted.items() if isinstance(wanted, Mapping) else wanted)
        modes: dict[str, bool] = {}
        for name, mode in pairs:
            modes[name] = modes.get(name, False) or _writes(mode)
        if not modes:
            raise ValueError("lock_all needs at least one lock")
        return self._lock_several(sorted(modes.items()), timeout, priority, owner, note, max_hold)

    def status(self, resource_name: str | None = None) -> dict[str, dict[str, Any]]:
        """Holders and waiters: ``{name: status}`` as ``locks status --json`` prints it.

        Empty for a free name that the engine does not remember.
        """
        return cast("dict[str, dict[str, Any]]", json.loads(self._status_json(resource_name)))

    def get_lock_status(self, resource_name: str | None = None) -> dict[str, Any]:
        """Holders and the number of waiters: ``{name: status}``.

        For one name, the result has the keys of its status too:
        ``m.get_lock_status("a")["readers"]`` is ``m.get_lock_status("a")["a"]["readers"]``.
        """
        found = {name: {key: status[key] for key in STATUS_KEYS} for name, status in self.status(resource_name).items()}
        if resource_name is None:
            return found
        return StatusOfOne(found.get(resource_name) or idle_status(resource_name))

    def get_statistics(self, resource_name: str | None = None) -> dict[str, Any]:
        """Counters and times, by lock and lock type.

        For one lock: ``{"resource_name": name, "locks": {"read": {...}, ...}}``, ``{}`` if it is
        unknown. For all: ``{name: {"read": {...}, ...}}``. Only lock types that were used are included.
        """
        if resource_name is None:
            every = cast("dict[str, dict[str, Any]]", json.loads(self._statistics_json(None)))
            for name in distributed.statistics.names():
                every.setdefault(name, {})
            return {name: _with_distributed(name, locks) for name, locks in sorted(every.items())}
        locks = _with_distributed(resource_name, json.loads(self._statistics_json(resource_name)))
        return {"resource_name": resource_name, "locks": locks} if locks else {}

    def reset_statistics(self, resource_name: str | None = None) -> None:
        """Reset the counters of one lock, or of all."""
        self._forget_statistics(resource_name)
        distributed.statistics.reset(resource_name)

    async def detect_deadlocks(self, threshold: float = DEADLOCK_TIMEOUT) -> list[dict[str, Any]]:
        """List requests that wait in a cycle, or have waited longer than ``threshold`` seconds.

        A cycle is broken when it closes, so entries with a ``cycle`` are rare: one member gets a
        :class:`DeadlockError`. Entries that only wait long have an empty ``cycle``.
        """
        report = json.loads(self._deadlocks_json(threshold))
        suspects = [_entry(suspect, suspect["request_id"], []) for suspect in report["suspects"]]
        return suspects + [
            _entry(self._suspect(link), link["owner"], cycle["links"])
            for cycle in report["cycles"]
            for link in cycle["links"]
        ]

    def _suspect(self, link: dict[str, Any]) -> dict[str, Any]:
        """One link of a cycle, in the format of a suspect."""
        status = self.get_lock_status(link["waits_for"])
        return {
            "resource": link["waits_for"],
            "requester": link["label"],
            "lock_type": link["mode"],
            "wait_time_seconds": link["waited_ms"] / 1e3,
            "current_writer": status["current_writer"],
            "current_readers": status["current_readers"],
            "pending_writes": status["pending_writes"],
        }

    def break_lock(self, resource_name: str, token: int) -> dict[str, Any]:
        """Take a lock from the holder with this fencing token, and return that holder.

        The holder is not stopped; it learns of its loss (:class:`LockLostError`) when it releases, or
        at once where locks have leases and it uses :meth:`Guard.lost`.
        Only for an operator who knows that the holder will do no harm.
        """
        return cast("dict[str, Any]", json.loads(self._break_lock_json(resource_name, token)))

    def health(self) -> dict[str, Any]:
        """Return the state of the engine: capacity, processes, problems, as ``locks doctor --json``."""
        return cast("dict[str, Any]", json.loads(self._health_json()))

    def events(self, cursor: int | None = None, wait: float = 0.0) -> tuple[list[dict[str, Any]], int]:
        """Events from ``cursor`` on (``None``: from now on) and the next cursor, as ``locks watch --json``.

        Waits at most ``wait`` seconds for the first event, on this thread.
        """
        events, following = self._events_json(cursor, wait)
        return json.loads(events), following


_opening = threading.RLock()
"""Held while locks are opened, which may take seconds; no process is forked meanwhile, see below."""

if hasattr(os, "register_at_fork"):
    # The native half keeps what is open behind a lock. A child that was forked while a thread had it would find it
    # taken for ever.
    os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_opening.release)

_default: LockManager | None = None


def get_lock_manager() -> LockManager:
    """Return the lock manager of the process: that of ``$CONCURRENT_LOCKS_URL`` at first use, else ``local:``."""
    global _default
    if _default is None:
        _default = LockManager(os.environ.get("CONCURRENT_LOCKS_URL") or "local:")
    return _default


def _writes(mode: Mode) -> bool:
    """Whether a mode is for writing."""
    kind = mode if isinstance(mode, LockType) else LockType(mode)
    if kind is LockType.DISTRIBUTED:
        raise ValueError('the mode must be "read" or "write"')
    return kind is LockType.WRITE


def _with_distributed(resource_name: str, locks: dict[str, Any]) -> dict[str, Any]:
    """The statistics of one lock, with those of its distributed lock."""
    counted = distributed.statistics.of(resource_name)
    return {**locks, "distributed": counted} if counted else locks


def _entry(suspect: dict[str, Any], request_id: str, cycle: list[dict[str, Any]]) -> dict[str, Any]:
    """An entry of :meth:`LockManager.detect_deadlocks`."""
    timeout = _core.waiting_timeout(request_id, suspect["resource"])
    return {**suspect, "request_id": request_id, "timeout": timeout, "cycle": cycle}
