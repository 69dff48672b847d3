"""The names that existing code imports, and their values."""

from __future__ import annotations

import threading
from pathlib import Path

import concurrent_locks
import pytest
from concurrent_locks import LockManager, LockStatus, LockType, get_lock_manager

NAMES = [
    "get_lock_manager",
    "read_lock",
    "write_lock",
    "distributed_lock",
    "AsyncRWLock",
    "DistributedLock",
    "LockManager",
    "LockType",
    "LockStatus",
    "LockRequest",
    "LockStatistics",
    "LOCK_DIR",
    "DEFAULT_READ_TIMEOUT",
    "DEFAULT_WRITE_TIMEOUT",
    "DEFAULT_DISTRIBUTED_TIMEOUT",
    "DEADLOCK_CHECK_INTERVAL",
    "DEADLOCK_TIMEOUT",
]

OURS = [
    "Guard",
    "LockError",
    "LockTimeoutError",
    "DeadlockError",
    "LockLostError",
    "InvalidNameError",
    "UnsupportedError",
    "LockTableFullError",
    "LockEngineError",
]


@pytest.mark.parametrize("name", NAMES + OURS)
def test_the_name_is_there_and_public(name: str) -> None:
    assert hasattr(concurrent_locks, name)
    assert name in concurrent_locks.__all__


def test_everything_public_exists() -> None:
    assert [name for name in concurrent_locks.__all__ if not hasattr(concurrent_locks, name)] == []


def test_constants() -> None:
    assert concurrent_locks.DEFAULT_READ_TIMEOUT == 10.0
    assert concurrent_locks.DEFAULT_WRITE_TIMEOUT == 30.0
    assert concurrent_locks.DEFAULT_DISTRIBUTED_TIMEOUT == 60.0
    assert concurrent_locks.DEADLOCK_CHECK_INTERVAL == 0.1
    assert concurrent_locks.DEADLOCK_TIMEOUT == 300.0
    assert Path("memory/locks") == concurrent_locks.LOCK_DIR
    assert isinstance(concurrent_locks.LOCK_DIR, Path)


def test_lock_types() -> None:
    assert {each.name: each.value for each in LockType} == {
        "READ": "read",
        "WRITE": "write",
        "DISTRIBUTED": "distributed",
    }


def test_lock_statuses() -> None:
    assert {each.name: each.value for each in LockStatus} == {
        each: each.lower() for each in ("WAITING", "ACQUIRED", "RELEASED", "TIMEOUT", "ERROR")
    }


def test_there_is_one_manager_for_all() -> None:
    found: list[LockManager] = []
    start = threading.Barrier(16)

    def ask() -> None:
        start.wait()
        found.append(get_lock_manager())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert all(each is get_lock_manager() for each in found)


def test_one_manager_per_url(host_url: str) -> None:
    assert LockManager() is get_lock_manager()
    assert LockManager(host_url) is LockManager(host_url)
    assert LockManager(host_url) is not get_lock_manager()
    assert LockManager("local:other") is not LockManager("local:another")


def test_an_invalid_url_is_refused() -> None:
    with pytest.raises(ValueError, match="ftp"):
        LockManager("ftp://example")
