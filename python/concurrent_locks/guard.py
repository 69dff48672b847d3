"""Guards: the results of ``read_lock``, ``write_lock`` and ``lock_all``, for ``with`` or ``async with``."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from types import EllipsisType
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

from . import _core
from .errors import LockLostError, LockTimeoutError
from .lost import Lease, Lost, Standing
from .shapes import LockType

Timeout = float | EllipsisType | None
"""Seconds; ``None``, negative or infinite: for ever; ``0``: one try; ``...``: the guard's default."""


C = TypeVar("C")


def check_acquire(timeout: Timeout) -> None:
    """Refuse the times that :class:`threading.Lock` refuses in ``acquire``; infinite ones mean for ever."""
    if not isinstance(timeout, int | float):
        return
    if timeout < 0 and timeout not in (-1, -math.inf):
        raise ValueError("the timeout of acquire must not be negative; -1 and None wait for ever")
    if threading.TIMEOUT_MAX < timeout < math.inf:
        raise OverflowError("the timeout of acquire is too large; -1 and None wait for ever")


def _adds_to(native: type) -> Callable[[type[C]], type[C]]:
    """Add the methods of a class, and of those it inherits from, to a native type, which takes its place.

    A native guard costs a fraction of an instance of a Python class.
    """

    def add(described: type[C]) -> type[C]:
        for base in reversed(described.__mro__[: described.__mro__.index(_Entered) + 1]):
            for name, member in vars(base).items():
                if name not in ("__dict__", "__weakref__", "__qualname__"):
                    setattr(native, name, member)
        return cast("type[C]", native)

    return add


if TYPE_CHECKING:
    from ._core import Enterable
else:
    Enterable = object


class _Entered(Enterable):
    """The methods common to one lock and several locks, beyond those of the native types."""

    def acquire(self, blocking: bool = True, timeout: Timeout = ...) -> bool:
        """Acquire it, waiting on this thread; the rules are those of :class:`threading.Lock`.

        ``-1``, ``None`` or infinite means for ever; any other negative number is a :class:`ValueError`. Returns
        whether it is held now: ``False`` means that it timed out. A running event loop is blocked, too; if
        one of its own tasks holds the lock or is ahead in the queue, that is a :class:`RuntimeError`.
        """
        check_acquire(timeout)
        return _core.guard_acquire(self, blocking, timeout)

    async def acquire_async(self, timeout: Timeout = ...) -> bool:  # noqa: ASYNC109
        """Acquire it, waiting in this task. Returns whether it is held now."""
        try:
            wait = _core.guard_acquiring(self, timeout)
            if wait is not self:
                await wait
        except LockTimeoutError:
            return False
        return True

    def release(self) -> None:
        """Release it. Any task or thread may do so.

        Raises :class:`RuntimeError` if it is not held, :class:`LockLostError` if it was lost while it was
        held: its lease expired, or an operator broke it.
        """
        _core.guard_release(self)

    def locked(self) -> bool:
        """Whether this guard holds now."""
        return _core.guard_locked(self)

    @property
    def waited(self) -> float:
        """How many seconds the request waited. Only while it is held."""
        return _core.guard_waited(self)

    def held_for(self) -> float:
        """For how many seconds it has been held. Only while it is held."""
        return _core.guard_held_for(self)

    @property
    def lease(self) -> Lease | None:
        """How long it stays held without further contact with its server; ``None`` where there is no lease.

        Of several locks, the lease that expires first. Makes no call. Only while it is held.
        """
        lease = _core.guard_lease(self)
        return None if lease is None else Lease(*lease)

    def verify(self) -> Standing:
        """Check whether it is still held, waiting on this thread for the server's answer if there is a server.

        Of several locks, the worst standing. A lock with a lease can be lost right after the answer; only
        a storage that refuses old tokens is safe then.
        """
        return Standing(_core.guard_verify(self))

    async def verify_async(self) -> Standing:
        """:meth:`verify`, waiting in this task."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            from . import _trio

            return await _trio.verify(self.verify)
        return await asyncio.to_thread(self.verify)

    def lost(self) -> Lost:
        """Make an event for the loss of the current hold: to await beside the work, or to wait for on a thread.

        It is set when the lease or ``max_hold`` expires, or an operator breaks the lock; on ``file:`` when
        the lock file is deleted. Without a lease (``local:``, ``host:``) it is never set; there
        :meth:`verify` detects a loss.
        """
        return Lost(self)

    def on_lost(self, callback: Callable[[LockLostError], object]) -> None:
        """Have ``callback`` called with the error when the current hold is lost; see :meth:`lost`.

        A thread of the package calls it, or this one if it is lost already.
        """
        lost = Lost(self)
        lost.call(lambda: callback(cast("LockLostError", lost.error)))

    @property
    def owner(self) -> str | None:
        """The owner that holds it: the task, the thread, or the given name. Before that, the given name."""
        return _core.guard_owner(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r}: a lock is held by one process; pickle its manager")

    def __repr__(self) -> str:
        names = ", ".join(f"{mode} {name!r}" for name, mode in _core.guard_target(self))
        return f"<{type(self).__name__} {names}, {'held' if self.locked() else 'not held'}>"


@_adds_to(_core.Guard)
class Guard(_Entered):
    """A request for one lock, which holds it while it is entered.

    Made by :meth:`LockManager.read_lock` and :meth:`LockManager.write_lock`. It acquires nothing until it
    is entered, and may be entered again after it was released. ``as`` binds the guard itself. It
    belongs to the task or thread that enters it; any may release it.
    """

    @property
    def resource_name(self) -> str:
        """The lock's name."""
        return _core.guard_target(self)[0][0]

    @property
    def mode(self) -> LockType:
        """The mode in which it is held; before that, the requested mode."""
        return LockType(_core.guard_mode(self))

    @property
    def token(self) -> int:
        """The fencing token: it only grows, from holder to holder. Only while it is held."""
        return _core.guard_tokens(self)[0]

    def upgrade(self, timeout: Timeout = ...) -> None:
        """Upgrade from read to write as soon as all other readers are gone, ahead of all waiters.

        Of two that upgrade one lock, one is refused with :class:`DeadlockError` at once. After a failure
        the guard still holds for reading; but if the lock was lost meanwhile, nothing is held, and the
        error is :class:`LockLostError`. The write hold has a token of its own.
        """
        _core.guard_upgrade(self, timeout)

    async def upgrade_async(self, timeout: Timeout = ...) -> None:  # noqa: ASYNC109
        """:meth:`upgrade`, waiting in this task."""
        wait = _core.guard_upgrading(self, timeout)
        if wait is not None:
            await wait

    def downgrade(self) -> None:
        """Downgrade from write to read. Nobody writes in between."""
        _core.guard_downgrade(self)


@_adds_to(_core.GuardAll)
class GuardAll(_Entered):
    """A request for several locks, all or nothing. Made by :meth:`LockManager.lock_all`.

    They are acquired in the order of their names, so two of them never deadlock.
    """

    @property
    def resource_names(self) -> list[str]:
        """The locks' names, in the order in which they are acquired."""
        return [name for name, _ in _core.guard_target(self)]

    @property
    def tokens(self) -> dict[str, int]:
        """The fencing token of each. Only while they are held."""
        return dict(zip(self.resource_names, _core.guard_tokens(self), strict=True))
