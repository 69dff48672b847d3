"""What type checkers must see. Checked by mypy and pyright in test_typing.py; never run.

A line that ends in `# wrong` must be refused by both; every other line must pass both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, assert_type

from concurrent_locks import (
    AsyncRWLock,
    DistributedLock,
    Guard,
    LockManager,
    LockType,
    distributed_lock,
    get_lock_manager,
    read_lock,
    write_lock,
)


class Store:
    def __init__(self, path: Path) -> None:
        self.path = path

    @read_lock("db:{self.path.name}", timeout=10.0)
    async def query(self, text: str, *, limit: int = 10) -> list[str]:
        return [text] * limit

    @write_lock("db:{self.path.name}")
    def add(self, text: str) -> int:
        return len(text)

    def lock_name(self) -> str:
        return f"db:{self.path.name}"

    @write_lock(lock_name, timeout=None, owner="agent", priority=1, note="why")
    def by_callable(self) -> None: ...

    @read_lock("db")
    async def items(self) -> AsyncIterator[int]:
        yield 1

    @staticmethod
    @distributed_lock("db")
    def static(number: int) -> str:
        return str(number)

    @classmethod
    @write_lock("db")
    def of_class(cls, number: int) -> Store:
        return cls(Path(str(number)))


async def decorated(store: Store) -> None:
    assert_type(await store.query("a", limit=3), list[str])
    assert_type(store.add("a"), int)
    assert_type(store.by_callable(), None)
    assert_type(Store.static(4), str)
    assert_type(Store.of_class(4), Store)
    async for item in store.items():
        assert_type(item, int)
    await store.query(7)  # wrong
    await store.query("a", 3)  # wrong
    store.add()  # wrong
    Store.static("4")  # wrong


async def calls(manager: LockManager) -> None:
    assert_type(get_lock_manager(), LockManager)
    guard = manager.read_lock("a")
    assert_type(guard, Guard)
    async with manager.write_lock("a", timeout=None, priority=1, owner="agent-7", note="why") as held:
        assert_type(held, Guard)
        assert_type(held.token, int)
        assert_type(held.mode, LockType)
        await held.upgrade_async()
        held.downgrade()
    with manager.read_lock("a", 5) as held:
        assert_type(held.waited, float)
    assert_type(guard.acquire(blocking=True, timeout=1.5), bool)
    assert_type(await guard.acquire_async(timeout=None), bool)
    assert_type(guard.locked(), bool)
    with manager.distributed_lock("a", timeout=60.0):
        pass
    with manager.lock_all({"a": "read", "b": "write"}), manager.lock_all({"c": LockType.READ}):
        pass
    async with manager.lock_all([("a", "read"), ("b", LockType.WRITE)]):
        pass
    with ExitStack() as stack:
        assert_type(stack.enter_context(manager.write_lock("a")), Guard)
    async with AsyncExitStack() as async_stack:
        assert_type(await async_stack.enter_async_context(manager.write_lock("a")), Guard)
    statistics: dict[str, Any] = manager.get_statistics("a")
    status: dict[str, Any] = manager.get_lock_status()
    entries: list[dict[str, Any]] = await manager.detect_deadlocks()
    manager.reset_statistics()
    print(statistics, status, entries)
    manager.read_lock(7)  # wrong
    manager.read_lock("a", timeout="10")  # wrong
    manager.read_lock("a", 10.0, 1)  # wrong
    manager.lock_all({"a": 1})  # wrong


async def objects() -> None:
    lock = AsyncRWLock("a")
    async with lock.read_lock(timeout=1.0, requester="agent-7"), lock.write_lock():
        print(lock.get_status()["readers"])
    distributed = DistributedLock("a")
    with distributed.lock(timeout=1.0):
        assert_type(distributed.lock_file_path, Path)
    AsyncRWLock()  # wrong


def exceptions(manager: LockManager) -> None:
    """A `with` never swallows an exception: what follows it in a function that returns is reached only through it."""

    def value() -> int:
        with manager.write_lock("a"):
            return 1

    print(value())
