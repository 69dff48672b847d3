"""Distributed locks: exclusion across processes, wherever the rest of the locks reach.

A distributed lock is a write lock of an engine that all processes share: the manager's own, or
``host:`` if that reaches this process only. Two holds of one name exclude each other even in one
thread or task, where read and write locks would be re-entered.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from . import _core, marker, shapes
from .errors import LockLostError, LockTimeoutError
from .guard import Guard, Timeout, check_acquire
from .shapes import DEFAULT_DISTRIBUTED_TIMEOUT, LockType
from .statistics import Collector

if TYPE_CHECKING:
    from .manager import LockManager

logger = logging.getLogger("concurrent_locks")

P = ParamSpec("P")
R = TypeVar("R")

statistics = Collector("distributed")
"""Counts the distributed locks of this process."""

_claims: dict[tuple[str, str, str], object] = {}
"""Engine, owner and name: the mark of the one guard that asks, or holds, in the owner's name. See ``_begin``."""


class DistributedLock:
    """The distributed lock of one name. Two of these with one name exclude each other.

    Can be shared by threads, tasks and processes: each use gets a guard of its own.
    """

    def __init__(self, resource_name: str, *, manager: LockManager | None = None) -> None:
        if not isinstance(resource_name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"argument 'resource_name': a string is needed, not {type(resource_name).__name__}")
        self.resource_name = resource_name
        self._manager = manager
        self._file_name = f"{_file_name(resource_name)}.lock"

    @property
    def manager(self) -> LockManager:
        """The manager whose engine it uses: one that reaches across processes."""
        manager = self._manager
        if manager is not None and manager.across_processes:
            return manager
        from .manager import LockManager, get_lock_manager

        if manager is None and (manager := get_lock_manager()).across_processes:
            return manager
        return LockManager("host:")

    @property
    def lock_file_path(self) -> Path:
        """A file that names the holder, while the lock is held.

        It is for people and monitoring. The engine ensures exclusion, whatever happens to the file.
        """
        return shapes.LOCK_DIR / self._file_name

    def lock(
        self,
        timeout: float | None = DEFAULT_DISTRIBUTED_TIMEOUT,
        *,
        priority: int = 0,
        owner: str | None = None,
        note: str | None = None,
    ) -> DistributedGuard:
        """Make a guard that holds it while it is entered, with ``with`` or ``async with``."""
        return DistributedGuard(self, timeout, priority, owner, note)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.resource_name, self._manager)

    def __repr__(self) -> str:
        return f"DistributedLock({self.resource_name!r})"


def _restore(resource_name: str, manager: LockManager | None) -> DistributedLock:
    """Unpickle a lock."""
    return DistributedLock(resource_name, manager=manager)


@lru_cache(maxsize=1024)
def _file_name(resource_name: str) -> str:
    """A file name for a lock, another one for every lock."""
    plain = re.sub(r"[^\w.-]", "_", resource_name, flags=re.ASCII)[:100]
    if plain == resource_name and not plain.startswith("."):
        return plain
    return f"{plain.lstrip('.')}-{hashlib.sha256(resource_name.encode()).hexdigest()[:8]}"


class DistributedGuard:
    """A request for a distributed lock, which holds it while it is entered. Made by :meth:`DistributedLock.lock`."""

    mode = LockType.DISTRIBUTED

    def __init__(
        self, lock: DistributedLock, timeout: float | None, priority: int, owner: str | None, note: str | None
    ) -> None:
        self._lock = lock
        self._manager = lock.manager
        self._timeout = timeout
        self._priority = priority
        self._owner = owner
        self._note = note
        if priority or owner is not None or note is not None:
            options: dict[str, Any] = {"priority": priority, "owner": owner, "note": note}
            self._inner = self._manager.write_lock(lock.resource_name, timeout, **options)
        else:
            self._inner = self._manager.write_lock(lock.resource_name, timeout)
        self._guard: Guard | None = None
        self._claim: tuple[str, str, str] | None = None
        self._path = ""
        self._told = ""
        self._marker: marker.Marker | None = None
        self._trace: weakref.ref[DistributedGuard] | None = None
        self._pid = 0
        self._forks = _core.forks()

    @property
    def resource_name(self) -> str:
        """The lock's name."""
        return self._lock.resource_name

    @property
    def token(self) -> int:
        """The fencing token: it only grows, from holder to holder. Only while it is held."""
        return self._held().token

    @property
    def waited(self) -> float:
        """How many seconds the request waited. Only while it is held."""
        return self._held().waited

    @property
    def owner(self) -> str | None:
        """The owner that holds it: the task, the thread, or the given name."""
        return self._guard.owner if self._guard is not None else self._owner

    def held_for(self) -> float:
        """For how many seconds it has been held. Only while it is held."""
        return self._held().held_for()

    def locked(self) -> bool:
        """Whether this guard holds now."""
        return self._guard is not None and self._guard.locked()

    def acquire(self, blocking: bool = True, timeout: Timeout = ...) -> bool:
        """Acquire it, waiting on this thread; see :meth:`Guard.acquire`."""
        check_acquire(timeout)
        if not blocking:
            return self._try(timeout)
        try:
            self._enter(self._timeout if timeout is ... else timeout)
        except LockTimeoutError:
            return False
        return True

    async def acquire_async(self, timeout: Timeout = ...) -> bool:  # noqa: ASYNC109
        """Acquire it, waiting in this task. Returns whether it is held now."""
        try:
            await self._enter_async(self._timeout if timeout is ... else timeout)
        except LockTimeoutError:
            return False
        return True

    def release(self) -> None:
        """Release it. Any task or thread may do so. Raises :class:`RuntimeError` if it is not held."""
        guard = self._held()
        held_for, owner = guard.held_for(), guard.owner
        self._unmark()
        try:
            guard.release()
        finally:
            self._guard = None
            self._unclaim()
            statistics.released(self.resource_name, held_for, owner)

    def __enter__(self) -> DistributedGuard:
        self._enter(self._timeout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        if self._is_parents() and kind is not None:
            # A forked child leaves its copy of its parent's block, and has an error to tell already.
            self._guard = None
            return
        self.release()

    async def __aenter__(self) -> DistributedGuard:
        await self._enter_async(self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.__exit__(kind, raised, traceback)

    def __repr__(self) -> str:
        return f"<DistributedGuard {self.resource_name!r}, {'held' if self.locked() else 'not held'}>"

    def __del__(self) -> None:
        """Its inner guard warns and releases; this takes the traces away."""
        # At the end of the interpreter names are gone, but so are the traces: see _leave_no_trace.
        if getattr(self, "_claim", None) is not None:
            self._unclaim()
        if getattr(self, "_marker", None) is not None and self._forks == _core.forks():
            self._unmark()

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle 'DistributedGuard': a lock is held by one process; pickle its DistributedLock")

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, as :func:`distributed_lock` does."""
        from .decorators import holding

        return holding(self, function)

    def copy(self) -> DistributedGuard:
        """Make another guard for the same request."""
        return DistributedGuard(self._lock, self._timeout, self._priority, self._owner, self._note)

    def _is_parents(self) -> bool:
        """Whether it is a forked child's copy of what its parent holds."""
        return self._guard is not None and self._forks != _core.forks()

    def _held(self) -> Guard:
        if self._is_parents():
            self._guard = None
            raise LockLostError(
                f"the distributed lock {self.resource_name!r} is lost: it belongs to the process that this one was "
                "forked from, and is not inherited; take it again, in the process that works under it",
                resource_name=self.resource_name,
            )
        if self._guard is None or not self._guard.locked():
            raise RuntimeError(f"the distributed lock {self.resource_name!r} is not held")
        return self._guard

    def _try(self, timeout: Timeout) -> bool:
        guard = self._begin()
        try:
            held = guard.acquire(blocking=False, timeout=timeout)
            if held:
                self._entered(guard, asked=False)
            return held
        finally:
            if not self.locked():
                self._unclaim()

    def _enter(self, timeout: float | None) -> None:
        began = statistics.asked(self.resource_name)
        try:
            guard = self._begin()
            try:
                _core.guard_enter(guard, timeout)
            except BaseException:
                self._unclaim()
                raise
            self._entered(guard, asked=True)
        except BaseException as error:
            statistics.failed(self.resource_name, began, self._owner, error)
            raise

    async def _enter_async(self, timeout: float | None) -> None:  # noqa: ASYNC109
        began = statistics.asked(self.resource_name)
        try:
            guard = self._begin()
            try:
                wait = _core.guard_acquiring(guard, timeout)
                if wait is not guard:
                    await wait
            except BaseException:
                self._unclaim()
                raise
            self._entered(guard, asked=True)
        except BaseException as error:
            statistics.failed(self.resource_name, began, self._owner, error)
            raise

    def _begin(self) -> Guard:
        """A guard that re-enters what its owner holds, but no distributed lock."""
        if self.locked() or self._claim is not None:
            raise RuntimeError(
                f"the distributed lock {self.resource_name!r} is held or waited for by this guard already"
            )
        self._prepare()
        owner = _core.current_owner(self._manager, self._owner)
        claim = (self._manager.url, owner, self.resource_name) if owner is not None else None
        # One step, so that of two threads that ask in one name only one claims it.
        mark = object()
        if claim is not None and _claims.setdefault(claim, mark) is mark:
            self._claim = claim
            return self._inner
        return self._manager._lock_alone(self.resource_name, self._timeout, self._priority, self._note)

    def _unclaim(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            _claims.pop(claim, None)

    def _prepare(self) -> None:
        """What can be done for the marker before it is granted: afterwards it would be part of the hand-off."""
        self._pid, self._forks = os.getpid(), _core.forks()
        self._path = os.path.join(os.getcwd(), str(shapes.LOCK_DIR), self._lock._file_name)
        # By hand: `json.dumps` takes as long as the rest.
        self._told = (
            f'{{"resource_name": {quoted(self.resource_name)}, "pid": {self._pid}, '
            f'"thread_id": {threading.get_ident()}, "hostname": {quoted(socket.gethostname())}, '
            f'"note": {quoted(self._note or "")}, '
        )
        if self._trace is None:
            self._trace = weakref.ref(self, _entered.discard)
            _entered.add(self._trace)

    def _entered(self, guard: Guard, *, asked: bool) -> None:
        self._guard = guard
        owner = guard.owner
        self._mark(guard.token, owner or f"pid {self._pid}")
        statistics.acquired(self.resource_name, guard.waited, owner, asked=asked)

    def _mark(self, token: int, requester: str) -> None:
        rest = f'"token": {token}, "requester": {quoted(requester)}, "acquired_at": {time.time()!r}}}'
        try:
            self._marker = marker.put(self._path, (self._told + rest).encode())
        except OSError as error:
            # The lock is held all the same: the file is only informational.
            logger.warning("no marker file for the distributed lock %r: %s", self.resource_name, error)

    def _unmark(self) -> None:
        put, self._marker = self._marker, None
        if put is not None:
            try:
                marker.remove(put)
            except OSError as error:
                logger.warning("the marker file of the distributed lock %r stays: %s", self.resource_name, error)


_entered: set[weakref.ref[DistributedGuard]] = set()
"""The guards that were entered, or asked for it."""


@atexit.register
def _leave_no_trace() -> None:
    """Remove the markers of what is held to the end. The end of the process releases the locks."""
    for trace in list(_entered):
        guard = trace()
        if guard is None:
            continue
        guard._unclaim()
        if guard._forks == _core.forks():
            guard._unmark()
    marker.forget()
