"""A read/write lock as an object of its own."""

from __future__ import annotations

from typing import Any

from .guard import Guard
from .manager import LockManager, get_lock_manager
from .shapes import DEFAULT_READ_TIMEOUT, DEFAULT_WRITE_TIMEOUT


class AsyncRWLock:
    """The read/write lock of one name: two of these with the same name are the same lock.

    It belongs to the default manager, so ``$CONCURRENT_LOCKS_URL`` determines its reach.
    """

    def __init__(self, resource_name: str, *, manager: LockManager | None = None) -> None:
        self.resource_name = resource_name
        self._manager = manager

    @property
    def manager(self) -> LockManager:
        """The manager that the lock belongs to."""
        return self._manager or get_lock_manager()

    def read_lock(self, timeout: float | None = DEFAULT_READ_TIMEOUT, requester: str | None = None) -> Guard:
        """Make a guard that holds it together with other readers.

        ``requester`` is the name under which it is shown; the lock belongs to the task or thread that enters it.
        """
        if requester is None:
            return self.manager.read_lock(self.resource_name, timeout)
        return self.manager._lock_shown_as(self.resource_name, False, timeout, requester)

    def write_lock(self, timeout: float | None = DEFAULT_WRITE_TIMEOUT, requester: str | None = None) -> Guard:
        """Make a guard that holds it exclusively; ``requester`` as for :meth:`read_lock`."""
        if requester is None:
            return self.manager.write_lock(self.resource_name, timeout)
        return self.manager._lock_shown_as(self.resource_name, True, timeout, requester)

    def get_status(self) -> dict[str, Any]:
        """Its holders and the number of waiters."""
        status: dict[str, Any] = self.manager.get_lock_status(self.resource_name)[self.resource_name]
        return status

    def __repr__(self) -> str:
        return f"AsyncRWLock({self.resource_name!r})"
