"""Named, fair read/write locks for tasks, threads and processes.

``async with get_lock_manager().read_lock("episodic_db"):`` shares a lock with other readers,
``write_lock`` holds it exclusively; both work with a plain ``with`` too. ``distributed_lock`` always reaches
across processes; with ``CONCURRENT_LOCKS_URL=host:`` in the environment, all of them do.
"""

import logging

from ._core import VERSION as __version__
from .decorators import distributed_lock, read_lock, write_lock
from .distributed import DistributedGuard, DistributedLock
from .errors import (
    DeadlockError,
    InvalidNameError,
    LockEngineError,
    LockError,
    LockLostError,
    LockTableFullError,
    LockTimeoutError,
    UnsupportedError,
)
from .guard import Guard, GuardAll
from .lost import Lease, Lost, Standing
from .manager import LockManager, get_lock_manager
from .rwlock import AsyncRWLock
from .shapes import (
    DEADLOCK_CHECK_INTERVAL,
    DEADLOCK_TIMEOUT,
    DEFAULT_DISTRIBUTED_TIMEOUT,
    DEFAULT_READ_TIMEOUT,
    DEFAULT_WRITE_TIMEOUT,
    LOCK_DIR,
    LockRequest,
    LockStatistics,
    LockStatus,
    LockType,
)

__all__ = [
    "DEADLOCK_CHECK_INTERVAL",
    "DEADLOCK_TIMEOUT",
    "DEFAULT_DISTRIBUTED_TIMEOUT",
    "DEFAULT_READ_TIMEOUT",
    "DEFAULT_WRITE_TIMEOUT",
    "LOCK_DIR",
    "AsyncRWLock",
    "DeadlockError",
    "DistributedGuard",
    "DistributedLock",
    "Guard",
    "GuardAll",
    "InvalidNameError",
    "Lease",
    "LockEngineError",
    "LockError",
    "LockLostError",
    "LockManager",
    "LockRequest",
    "LockStatistics",
    "LockStatus",
    "LockTableFullError",
    "LockTimeoutError",
    "LockType",
    "Lost",
    "Standing",
    "UnsupportedError",
    "__version__",
    "distributed_lock",
    "get_lock_manager",
    "read_lock",
    "write_lock",
]

# Without a logging configuration nothing is printed: the errors have the same information.
logging.getLogger(__name__).addHandler(logging.NullHandler())
