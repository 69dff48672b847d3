"""What users of threading, asyncio and the old module expect in passing."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from importlib.metadata import version
from typing import Any

import concurrent_locks
import pytest
from concurrent_locks import (
    DeadlockError,
    LockManager,
    LockRequest,
    LockStatistics,
    LockTimeoutError,
    LockType,
    write_lock,
)
from facts import SHORT, is_free
from holders import held_by_thread


def guards(manager: LockManager, name: str) -> list[Any]:
    return [manager.write_lock(name), manager.lock_all({name: "write"}), manager.distributed_lock(name)]


def test_the_version() -> None:
    assert concurrent_locks.__version__ == version("concurrent-locks")


def test_weak_references(name: str) -> None:
    manager = LockManager("local:tests")
    for place in range(3):
        guard = guards(manager, name)[place]
        gone: list[Any] = []
        reference = weakref.ref(guard, gone.append)
        assert reference() is guard
        del guard
        gc.collect()
        assert reference() is None
        assert gone == [reference]
    many = weakref.WeakSet(manager.write_lock(name) for _ in range(200))
    assert len(many) == 0


def test_a_weak_reference_to_a_held_guard(name: str) -> None:
    manager = LockManager("local:tests")
    guard = manager.write_lock(name)
    guard.acquire()
    reference = weakref.ref(guard)
    with pytest.warns(ResourceWarning, match="still held"):
        del guard
    assert reference() is None
    assert is_free(manager, name)


@pytest.mark.parametrize("place", range(3))
def test_acquire_refuses_what_threading_refuses(name: str, place: int) -> None:
    guard = guards(LockManager("local:tests"), name)[place]
    lock = threading.Lock()
    for timeout, error in ((-100, ValueError), (-0.5, ValueError), (1e100, OverflowError)):
        for one in (lock, guard):
            with pytest.raises(error):
                one.acquire(timeout=timeout)
    assert guard.acquire(timeout=-1)
    guard.release()
    assert guard.acquire(timeout=float("inf"))
    guard.release()


@pytest.mark.parametrize("place", range(3))
def test_a_guard_shows_itself(name: str, place: int) -> None:
    guard = guards(LockManager("local:tests"), name)[place]
    assert name in repr(guard)
    assert "not held" in repr(guard)
    with guard:
        assert "not held" not in repr(guard)


async def test_a_guard_decorates(name: str) -> None:
    """As the objects of `contextlib.contextmanager` did."""
    manager = LockManager("local:tests")
    for guard in guards(manager, name):

        @guard
        def section(word: str) -> tuple[str, bool]:
            return word, is_free(manager, name)

        @guard
        async def task() -> bool:
            return is_free(manager, name)

        word, free = section("in")
        assert word == "in"
        assert guard.locked() is False
        if guard.__class__.__name__ != "DistributedGuard":  # which is on another engine here
            assert free is False
            assert await task() is False
    with pytest.raises(TypeError):
        manager.write_lock(name)(3)  # type: ignore[operator]


def test_a_name_function_gets_what_it_takes() -> None:
    class Store:
        def lock_name(self) -> str:
            return "of-the-store"

        @write_lock(lambda self: self.lock_name())
        def add(self, note: str, *, loud: bool = False) -> tuple[str, bool]:
            return note, loud

        @write_lock(lambda self, note: f"note-{note}")
        def by_note(self, note: str) -> str:
            return note

        @write_lock(lambda *args, **kwargs: f"{len(args)}-{len(kwargs)}")
        def by_all(self, *args: int, **kwargs: int) -> int:
            return len(args) + len(kwargs)

        @write_lock(lambda *, key: key)
        def by_keyword(self, *, key: str, other: int = 0) -> str:
            return key

    store = Store()
    assert store.add("x", loud=True) == ("x", True)
    assert store.add(note="x") == ("x", False)
    assert store.by_note("a") == store.by_note(note="a") == "a"
    assert store.by_all(1, 2, three=3) == 3
    assert store.by_keyword(key="k", other=2) == "k"


def test_the_old_shape_of_a_request() -> None:
    now = time.time()
    request = LockRequest("id", "db", LockType.WRITE, "agent", now)
    assert (request.request_id, request.resource_name, request.lock_type) == ("id", "db", LockType.WRITE)
    assert (request.requester, request.requested_at) == ("agent", now)
    without_id = LockRequest("db", LockType.WRITE)
    assert (without_id.resource_name, without_id.lock_type) == ("db", LockType.WRITE)
    assert without_id.request_id
    assert without_id.wait_time() >= 0
    assert without_id.hold_time() is None
    assert json.dumps(request.to_dict())
    assert json.dumps(LockStatistics("db", LockType.READ).to_dict())


def test_wrong_arguments_name_their_parameter() -> None:
    manager = LockManager("local:tests")
    for call in (lambda: manager.write_lock(3), lambda: manager.read_lock(3), lambda: manager.distributed_lock(3)):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="resource_name"):
            call()
    with pytest.raises(TypeError, match="owner"):
        manager.write_lock("x", owner=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout"):
        manager.write_lock("x", timeout="soon")  # type: ignore[arg-type]


def test_a_holder_of_this_process_is_named_as_such(manager: LockManager, name: str) -> None:
    with held_by_thread(manager.write_lock(name)), pytest.raises(LockTimeoutError) as error:
        manager.write_lock(name, timeout=SHORT).__enter__()
    assert "; holder is a thread of this process" in str(error.value)


def test_locals_own_locks_are_not_looked_for_by_the_command(name: str) -> None:
    for url in ("local:tests", "host:"):
        manager = LockManager(url)
        with held_by_thread(manager.write_lock(name)), pytest.raises(LockTimeoutError) as error:
            manager.write_lock(name, timeout=SHORT).__enter__()
        assert ("LockManager.status" in str(error.value)) == (url == "local:tests")
        assert ("`locks status`" in str(error.value)) == (url == "host:")


def test_two_upgrades_get_advice(table_manager: LockManager, name: str) -> None:
    from facts import waiters
    from holders import Caller

    manager = table_manager
    with manager.read_lock(name) as mine:
        other = manager.read_lock(name)

        def upgrade() -> None:
            with other:
                other.upgrade()

        waiting = Caller(upgrade)
        from facts import until

        until(lambda: waiters(manager, name) == 1)
        with pytest.raises(DeadlockError, match="request to write at first if a write may follow") as error:
            mine.upgrade()
        assert "lock_all" not in str(error.value)
    waiting.result()
