"""Statistics of locks that the engine does not distinguish: those of this process, counted here."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Any

from .shapes import LockStatistics

KEPT = 100
"""How many operations of a lock are kept."""


class Times:
    """Shortest, mean and longest of many times."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.shortest = 0.0
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one time."""
        self.shortest = seconds if self.count == 0 else min(self.shortest, seconds)
        self.longest = max(self.longest, seconds)
        self.count += 1
        self.total += seconds

    def shown(self, name: str) -> dict[str, float]:
        """Milliseconds, by the keys of statistics."""
        mean = self.total / self.count if self.count else 0.0
        return {
            f"avg_{name}_time_ms": mean * 1e3,
            f"min_{name}_time_ms": self.shortest * 1e3,
            f"max_{name}_time_ms": self.longest * 1e3,
        }


class Counters:
    """The counters of one lock."""

    def __init__(self) -> None:
        self.acquisitions = 0
        self.releases = 0
        self.timeouts = 0
        self.errors = 0
        self.waiters = 0
        self.waits = Times()
        self.holds = Times()
        self.operations: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def shown(self, resource_name: str, lock_type: str) -> dict[str, Any]:
        """The counters as statistics."""
        return LockStatistics(
            resource_name=resource_name,
            lock_type=lock_type,
            total_acquisitions=self.acquisitions,
            total_releases=self.releases,
            total_timeouts=self.timeouts,
            total_errors=self.errors,
            current_holders=self.acquisitions - self.releases,
            current_waiters=self.waiters,
            recent_operations=list(self.operations),
            **self.waits.shown("wait"),
            **self.holds.shown("hold"),
        ).to_dict()


class Collector:
    """Counts what one process does with locks of one type."""

    def __init__(self, lock_type: str) -> None:
        self._lock_type = lock_type
        self._restart()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._restart)

    def _restart(self) -> None:
        """Forget everything: a forked child has done nothing yet, and its parent's mutex may be locked for ever."""
        self._mutex = threading.Lock()
        self._counters: dict[str, Counters] = {}

    def names(self) -> list[str]:
        """The locks that were counted."""
        with self._mutex:
            return list(self._counters)

    def of(self, resource_name: str) -> dict[str, Any]:
        """The statistics of one lock, empty if it was not used."""
        with self._mutex:
            counters = self._counters.get(resource_name)
            return counters.shown(resource_name, self._lock_type) if counters else {}

    def reset(self, resource_name: str | None) -> None:
        """Reset one lock, or all. Current holders and waiters stay counted."""
        with self._mutex:
            for name in [resource_name] if resource_name is not None else list(self._counters):
                old = self._counters.pop(name, None)
                if old is not None and (old.waiters or old.acquisitions > old.releases):
                    new = self._counters[name] = Counters()
                    new.waiters = old.waiters
                    new.acquisitions = old.acquisitions - old.releases

    def asked(self, resource_name: str) -> float:
        """Count a request that waits, until it is :meth:`acquired` or :meth:`failed`. Returns when it began."""
        with self._mutex:
            self._named(resource_name).waiters += 1
        return time.monotonic()

    def acquired(self, resource_name: str, waited: float, requester: str | None, *, asked: bool) -> None:
        """Count a grant, of a request that was counted before or not."""
        with self._mutex:
            counters = self._named(resource_name)
            counters.acquisitions += 1
            counters.waits.add(waited)
            self._record(counters, "acquire", requester, wait_time=waited)
            if asked:
                counters.waiters = max(counters.waiters - 1, 0)

    def failed(self, resource_name: str, began: float, requester: str | None, error: BaseException) -> None:
        """Count a request that waits no longer, and how it failed."""
        with self._mutex:
            counters = self._named(resource_name)
            if isinstance(error, TimeoutError):
                counters.timeouts += 1
            else:
                counters.errors += 1
            kind = "timeout" if isinstance(error, TimeoutError) else "error"
            self._record(counters, kind, requester, wait_time=time.monotonic() - began)
            counters.waiters = max(counters.waiters - 1, 0)

    def released(self, resource_name: str, held: float, requester: str | None) -> None:
        """Count a release."""
        with self._mutex:
            counters = self._named(resource_name)
            counters.releases += 1
            counters.holds.add(held)
            self._record(counters, "release", requester, hold_time=held)

    def _named(self, resource_name: str) -> Counters:
        counters = self._counters.get(resource_name)
        if counters is None:
            counters = self._counters[resource_name] = Counters()
        return counters

    def _record(self, counters: Counters, operation: str, requester: str | None, **times: float) -> None:
        counters.operations.append(
            {
                "type": operation,
                "lock_type": self._lock_type,
                "timestamp": time.time(),
                **times,
                "requester": requester or f"pid {os.getpid()}",
            }
        )
