"""A pure-Python lock module of the old shape, with its faults.

The package `concurrent_locks` replaces modules written like this one. It is here for two uses: as a peer in
the benchmark, and for `python/tests/test_old_defects.py`, which shows that each test of a defect fails on it.
Do not lock with it.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import re
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_DIR = Path("memory/locks")
DEFAULT_READ_TIMEOUT = 10.0
DEFAULT_WRITE_TIMEOUT = 30.0
DEFAULT_DISTRIBUTED_TIMEOUT = 60.0
DEADLOCK_CHECK_INTERVAL = 0.1
DEADLOCK_TIMEOUT = 300.0
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.32

numbers = itertools.count()


class LockType(Enum):
    READ = "read"
    WRITE = "write"
    DISTRIBUTED = "distributed"


class LockStatus(Enum):
    WAITING = "waiting"
    ACQUIRED = "acquired"
    RELEASED = "released"
    TIMEOUT = "timeout"
    ERROR = "error"


@dataclass
class LockRequest:
    resource_name: str
    lock_type: LockType
    requester: str
    timeout: float
    request_id: str = field(default_factory=lambda: f"request-{next(numbers)}")
    timestamp: float = field(default_factory=time.time)
    acquired_at: float | None = None
    status: LockStatus = LockStatus.WAITING


@dataclass
class LockStatistics:
    resource_name: str
    lock_type: LockType
    total_acquisitions: int = 0
    total_releases: int = 0
    total_timeouts: int = 0
    total_errors: int = 0
    wait_times: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    hold_times: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    current_holders: int = 0
    current_waiters: int = 0
    recent_operations: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=100))

    def operation(self, kind: str, requester: str, **times: float) -> None:
        self.recent_operations.append(
            {"type": kind, "lock_type": self.lock_type.value, "timestamp": time.time(), "requester": requester, **times}
        )

    def as_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"resource_name": self.resource_name, "lock_type": self.lock_type.value}
        for name in ("total_acquisitions", "total_releases", "total_timeouts", "total_errors"):
            shown[name] = getattr(self, name)
        for name, times in (("wait", self.wait_times), ("hold", self.hold_times)):
            shown[f"avg_{name}_time_ms"] = sum(times) / len(times) * 1000 if times else 0.0
            shown[f"min_{name}_time_ms"] = min(times, default=0.0) * 1000
            shown[f"max_{name}_time_ms"] = max(times, default=0.0) * 1000
        shown["current_holders"] = self.current_holders
        shown["current_waiters"] = self.current_waiters
        shown["recent_operations"] = list(self.recent_operations)
        return shown


def task_id() -> str:
    try:
        return f"task-{id(asyncio.current_task())}"
    except RuntimeError:
        return f"thread-{threading.get_ident()}"


class AsyncRWLock:
    def __init__(self, resource_name: str) -> None:
        self.resource_name = resource_name
        self._condition = asyncio.Condition()
        self._readers = 0
        self._writer_active = False
        self._current_writer: str | None = None
        self._current_readers: set[str] = set()
        self._pending_writes: deque[str] = deque()
        self._pending_requests: dict[str, LockRequest] = {}

    @asynccontextmanager
    async def read_lock(
        self, timeout: float = DEFAULT_READ_TIMEOUT, requester: str | None = None
    ) -> AsyncIterator[AsyncRWLock]:
        requester = requester or task_id()
        request = LockRequest(self.resource_name, LockType.READ, requester, timeout)
        self._pending_requests[request.request_id] = request
        try:
            async with self._condition:

                def free() -> bool:
                    return not self._writer_active and not self._pending_writes

                if not free():
                    await asyncio.wait_for(self._condition.wait_for(free), timeout)
                self._readers += 1
                self._current_readers.add(requester)
                request.status, request.acquired_at = LockStatus.ACQUIRED, time.time()
            self._pending_requests.pop(request.request_id, None)
            yield self
        finally:  # the fault: also for who never got it
            self._pending_requests.pop(request.request_id, None)
            async with self._condition:
                self._readers -= 1
                self._current_readers.discard(requester)
                self._condition.notify_all()

    @asynccontextmanager
    async def write_lock(
        self, timeout: float = DEFAULT_WRITE_TIMEOUT, requester: str | None = None
    ) -> AsyncIterator[AsyncRWLock]:
        requester = requester or task_id()
        request = LockRequest(self.resource_name, LockType.WRITE, requester, timeout)
        self._pending_requests[request.request_id] = request
        self._pending_writes.append(request.request_id)
        try:
            async with self._condition:

                def free() -> bool:
                    mine = self._pending_writes[0] == request.request_id
                    return mine and self._readers == 0 and not self._writer_active

                if not free():
                    await asyncio.wait_for(self._condition.wait_for(free), timeout)
                self._pending_writes.popleft()
                self._writer_active, self._current_writer = True, requester
                request.status, request.acquired_at = LockStatus.ACQUIRED, time.time()
            self._pending_requests.pop(request.request_id, None)
            yield self
        finally:  # the fault: also for who never got it
            self._pending_requests.pop(request.request_id, None)
            if request.request_id in self._pending_writes:
                self._pending_writes.remove(request.request_id)
            async with self._condition:
                self._writer_active, self._current_writer = False, None
                self._condition.notify_all()

    def get_status(self) -> dict[str, Any]:
        return {
            "resource_name": self.resource_name,
            "readers": self._readers,
            "writer_active": self._writer_active,
            "current_writer": self._current_writer,
            "current_readers": sorted(self._current_readers),
            "pending_writes": len(self._pending_writes),
            "pending_requests": len(self._pending_requests),
        }


class DistributedLock:
    def __init__(self, resource_name: str) -> None:
        self.resource_name = resource_name
        self.lock_file_path = LOCK_DIR / (re.sub(r"[^\w.-]", "_", resource_name) + ".lock")
        self._file: Any = None
        self._thread_lock = threading.Lock()

    @contextmanager
    def lock(self, timeout: float = DEFAULT_DISTRIBUTED_TIMEOUT) -> Iterator[DistributedLock]:
        if fcntl is None:  # the fault: no protection across processes
            if not self._thread_lock.acquire(timeout=timeout):
                raise TimeoutError(f"{self.resource_name}: not within {timeout} s")
            try:
                yield self
            finally:
                self._thread_lock.release()
            return
        self.lock_file_path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout
        pause = FIRST_PAUSE
        # The fault: one handle per object, whoever uses it.
        self._file = open(self.lock_file_path, "w")  # noqa: SIM115
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"{self.resource_name}: not within {timeout} s") from None
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()
        try:
            yield self
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()
            self.lock_file_path.unlink(missing_ok=True)  # the fault: after the unlock


class LockManager:
    _instance: LockManager | None = None
    _creation = threading.Lock()

    def __init__(self) -> None:
        self._rw_locks: dict[str, AsyncRWLock] = {}
        self._distributed_locks: dict[str, DistributedLock] = {}
        self._statistics: dict[str, dict[LockType, LockStatistics]] = {}
        self._pending: dict[str, LockRequest] = {}

    def _rw(self, resource_name: str) -> AsyncRWLock:
        return self._rw_locks.setdefault(resource_name, AsyncRWLock(resource_name))

    def _stats(self, resource_name: str, lock_type: LockType) -> LockStatistics:
        kinds = self._statistics.setdefault(resource_name, {})
        return kinds.setdefault(lock_type, LockStatistics(resource_name, lock_type))

    def _requested(self, resource_name: str, lock_type: LockType, timeout: float) -> LockRequest:
        request = LockRequest(resource_name, lock_type, task_id(), timeout)
        self._pending[request.request_id] = request
        self._stats(resource_name, lock_type).current_waiters += 1
        return request

    def _acquired(self, request: LockRequest) -> None:
        # The fault: the request is found by its task, so a nested or concurrent one is taken for it.
        mine = task_id()
        for request_id, pending in list(self._pending.items()):
            if pending.requester == mine:
                statistics = self._stats(pending.resource_name, pending.lock_type)
                wait = time.time() - pending.timestamp
                statistics.total_acquisitions += 1
                statistics.current_waiters -= 1
                statistics.current_holders += 1
                statistics.wait_times.append(wait)
                statistics.operation("acquire", pending.requester, wait_time=wait)
                pending.acquired_at = time.time()
                if len([each for each in self._pending.values() if each.requester == mine]) > 1:
                    del self._pending[request_id]
                return

    def _released(self) -> None:
        mine = task_id()
        for request_id, pending in list(self._pending.items()):
            if pending.requester == mine and pending.acquired_at is not None:
                statistics = self._stats(pending.resource_name, pending.lock_type)
                hold = time.time() - pending.acquired_at
                statistics.total_releases += 1
                statistics.current_holders -= 1
                statistics.hold_times.append(hold)
                statistics.operation("release", pending.requester, hold_time=hold)
                del self._pending[request_id]
                return

    def _failed(self, request: LockRequest) -> None:
        statistics = self._stats(request.resource_name, request.lock_type)
        statistics.total_timeouts += 1
        statistics.current_waiters -= 1
        statistics.operation("timeout", request.requester, wait_time=time.time() - request.timestamp)
        self._pending.pop(request.request_id, None)

    @asynccontextmanager
    async def read_lock(self, resource_name: str, timeout: float = DEFAULT_READ_TIMEOUT) -> AsyncIterator[None]:
        request = self._requested(resource_name, LockType.READ, timeout)
        try:
            async with self._rw(resource_name).read_lock(timeout):
                self._acquired(request)
                try:
                    yield
                finally:
                    self._released()
        except TimeoutError:
            self._failed(request)
            raise

    @asynccontextmanager
    async def write_lock(self, resource_name: str, timeout: float = DEFAULT_WRITE_TIMEOUT) -> AsyncIterator[None]:
        request = self._requested(resource_name, LockType.WRITE, timeout)
        try:
            async with self._rw(resource_name).write_lock(timeout):
                self._acquired(request)
                try:
                    yield
                finally:
                    self._released()
        except TimeoutError:
            self._failed(request)
            raise

    @contextmanager
    def distributed_lock(self, resource_name: str, timeout: float = DEFAULT_DISTRIBUTED_TIMEOUT) -> Iterator[None]:
        lock = self._distributed_locks.setdefault(resource_name, DistributedLock(resource_name))
        request = self._requested(resource_name, LockType.DISTRIBUTED, timeout)
        try:
            with lock.lock(timeout):
                self._acquired(request)
                try:
                    yield
                finally:
                    self._released()
        except TimeoutError:
            self._failed(request)
            raise

    def get_statistics(self, resource_name: str | None = None) -> dict[str, Any]:
        def shown(kinds: dict[LockType, LockStatistics]) -> dict[str, Any]:
            return {kind.value: statistics.as_dict() for kind, statistics in kinds.items()}

        if resource_name is None:
            return {name: shown(kinds) for name, kinds in self._statistics.items()}
        if resource_name not in self._statistics:
            return {}
        return {"resource_name": resource_name, "locks": shown(self._statistics[resource_name])}

    def get_lock_status(self, resource_name: str | None = None) -> dict[str, Any]:
        names = [resource_name] if resource_name else list(self._rw_locks)
        return {name: self._rw_locks[name].get_status() for name in names if name in self._rw_locks}

    def reset_statistics(self, resource_name: str | None = None) -> None:
        if resource_name is None:
            self._statistics.clear()
        else:
            self._statistics.pop(resource_name, None)

    async def detect_deadlocks(self) -> list[dict[str, Any]]:
        found = []  # the fault: what waits for long, and no cycle
        for name, lock in self._rw_locks.items():
            status = lock.get_status()
            for request in lock._pending_requests.values():
                waited = time.time() - request.timestamp
                if waited > DEADLOCK_TIMEOUT:
                    found.append(
                        {
                            "resource": name,
                            "request_id": request.request_id,
                            "requester": request.requester,
                            "lock_type": request.lock_type.value,
                            "wait_time_seconds": waited,
                            "timeout": request.timeout,
                            "current_writer": status["current_writer"],
                            "current_readers": status["current_readers"],
                            "pending_writes": status["pending_writes"],
                        }
                    )
        return found


def get_lock_manager() -> LockManager:
    with LockManager._creation:
        if LockManager._instance is None:
            LockManager._instance = LockManager()
        return LockManager._instance


Function = Callable[..., Any]


def read_lock(resource_name: str, timeout: float = DEFAULT_READ_TIMEOUT) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:  # the fault: also around a plain def
            async with get_lock_manager().read_lock(resource_name, timeout):
                result = function(*args, **kwargs)
                return await result if asyncio.iscoroutine(result) else result

        return wrapper

    return decorate


def write_lock(resource_name: str, timeout: float = DEFAULT_WRITE_TIMEOUT) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:  # the fault: also around a plain def
            async with get_lock_manager().write_lock(resource_name, timeout):
                result = function(*args, **kwargs)
                return await result if asyncio.iscoroutine(result) else result

        return wrapper

    return decorate


def distributed_lock(
    resource_name: str, timeout: float = DEFAULT_DISTRIBUTED_TIMEOUT
) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with get_lock_manager().distributed_lock(resource_name, timeout):
                return function(*args, **kwargs)

        return wrapper

    return decorate
