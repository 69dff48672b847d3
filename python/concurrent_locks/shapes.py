"""The data types of the package: lock types, constants, and the format of statistics and status."""

from __future__ import annotations

import enum
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LOCK_DIR = Path("memory/locks")
"""Where marker files of distributed locks are, relative to the working directory."""

DEFAULT_READ_TIMEOUT = 10.0
"""Seconds that ``read_lock`` waits by default."""

DEFAULT_WRITE_TIMEOUT = 30.0
"""Seconds that ``write_lock`` waits by default."""

DEFAULT_DISTRIBUTED_TIMEOUT = 60.0
"""Seconds that ``distributed_lock`` waits by default."""

DEADLOCK_CHECK_INTERVAL = 0.1
"""Seconds between two searches for a deadlock by a waiter."""

DEADLOCK_TIMEOUT = 300.0
"""Seconds after which a wait is suspected of being a deadlock."""


class LockType(enum.Enum):
    """How a lock is held."""

    READ = "read"
    """Shared with other readers."""
    WRITE = "write"
    """Exclusively."""
    DISTRIBUTED = "distributed"
    """Exclusively, across processes."""


class LockStatus(enum.Enum):
    """The outcome of a request."""

    WAITING = "waiting"
    ACQUIRED = "acquired"
    RELEASED = "released"
    TIMEOUT = "timeout"
    ERROR = "error"


@dataclass
class LockRequest:
    """A request as data: ``LockRequest(request_id, resource_name, lock_type)``, or without an id."""

    request_id: str
    resource_name: str
    lock_type: LockType = LockType.READ
    requester: str = ""
    requested_at: float = field(default_factory=time.time)
    timeout: float | None = None
    status: LockStatus = LockStatus.WAITING
    acquired_at: float | None = None
    released_at: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.resource_name, LockType):
            # Without an id, the other arguments are one place early.
            self.lock_type = self.resource_name
            self.request_id, self.resource_name = uuid.uuid4().hex, self.request_id

    def wait_time(self) -> float:
        """How many seconds it waited, or has waited so far."""
        return (self.acquired_at or self.released_at or time.time()) - self.requested_at

    def hold_time(self) -> float | None:
        """How many seconds it held, or has held so far; ``None`` if it never did."""
        return None if self.acquired_at is None else (self.released_at or time.time()) - self.acquired_at

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON data."""
        return {**asdict(self), "lock_type": self.lock_type.value, "status": self.status.value}


@dataclass
class LockStatistics:
    """Counters and times of one lock in one type. Times are milliseconds."""

    resource_name: str
    lock_type: str | LockType
    total_acquisitions: int = 0
    total_releases: int = 0
    total_timeouts: int = 0
    total_errors: int = 0
    avg_wait_time_ms: float = 0.0
    min_wait_time_ms: float = 0.0
    max_wait_time_ms: float = 0.0
    avg_hold_time_ms: float = 0.0
    min_hold_time_ms: float = 0.0
    max_hold_time_ms: float = 0.0
    current_holders: int = 0
    current_waiters: int = 0
    recent_operations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The last 100 operations, oldest first."""

    def to_dict(self) -> dict[str, Any]:
        """The statistics as JSON data."""
        kind = self.lock_type
        return {**asdict(self), "lock_type": kind.value if isinstance(kind, LockType) else kind}


STATUS_KEYS = (
    "resource_name",
    "readers",
    "writer_active",
    "current_writer",
    "current_readers",
    "pending_writes",
    "pending_requests",
)
"""The keys of a status, as :meth:`LockManager.get_lock_status` shows it."""


def idle_status(resource_name: str) -> dict[str, Any]:
    """The status of a lock that nobody holds or waits for."""
    return {
        "resource_name": resource_name,
        "readers": 0,
        "writer_active": False,
        "current_writer": None,
        "current_readers": [],
        "pending_writes": 0,
        "pending_requests": 0,
    }


class StatusOfOne(dict[str, Any]):
    """``{name: status}`` of one name that also has the keys of the status: ``["readers"]``.

    It is the plain dictionary for everything else: ``json.dumps``, ``==``, ``len``, iteration. If a lock
    has the name of a key, that key means the lock.
    """

    def __init__(self, status: dict[str, Any]) -> None:
        super().__init__({status["resource_name"]: status})
        self._status = status

    def __missing__(self, key: str) -> Any:
        return self._status[key]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a name or of a key of the status, else the default."""
        return self[key] if key in self else default  # noqa: SIM401

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._status

    def __reduce__(self) -> tuple[Any, ...]:
        return StatusOfOne, (self._status,)

    def copy(self) -> dict[str, Any]:
        """A plain dictionary ``{name: status}``."""
        return dict(self)
