"""Errors: what they are, what they tell, and that they cross processes."""

from __future__ import annotations

import pickle

import concurrent_locks
import pytest
from concurrent_locks import InvalidNameError, LockError, LockManager, LockTimeoutError
from facts import SHORT, until, waiters
from holders import Caller, gets, held_by_thread

FAMILY = {
    "LockTimeoutError": TimeoutError,
    "DeadlockError": RuntimeError,
    "LockLostError": RuntimeError,
    "InvalidNameError": ValueError,
    "UnsupportedError": NotImplementedError,
    "LockTableFullError": Exception,
    "LockEngineError": OSError,
}


@pytest.mark.parametrize("name", FAMILY)
def test_each_is_a_lock_error_and_what_one_would_expect(name: str) -> None:
    error = getattr(concurrent_locks, name)
    assert issubclass(error, LockError)
    assert issubclass(error, FAMILY[name])
    assert LockError.__module__.startswith("concurrent_locks")


def timed_out(manager: LockManager, name: str) -> LockTimeoutError:
    with held_by_thread(manager.write_lock(name, owner="agent-7", note="logging in")):
        waiting = Caller(gets, manager.write_lock(name))
        until(lambda: waiters(manager, name) == 1)
        with pytest.raises(LockTimeoutError) as caught, manager.read_lock(name, timeout=SHORT):
            pytest.fail("entered beside a writer")
    waiting.result()
    return caught.value


def test_a_timeout_names_the_holder(manager: LockManager, name: str) -> None:
    error = timed_out(manager, name)
    assert error.resource_name == name
    assert getattr(error.mode, "value", error.mode) == "read"
    assert error.waited >= SHORT
    assert error.position == 2
    (holder,) = error.holders
    assert (holder["label"], holder["note"], holder["mode"]) == ("agent-7", "logging in", "write")
    for part in (name, "agent-7", "logging in", "pid"):
        assert part in str(error)


def test_a_timeout_is_the_builtin_one(manager: LockManager, name: str) -> None:
    assert isinstance(timed_out(manager, name), TimeoutError)


def test_a_timeout_crosses_processes(manager: LockManager, name: str) -> None:
    error = timed_out(manager, name)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is LockTimeoutError
    assert str(copy) == str(error)
    for field in ("resource_name", "mode", "waited", "holders", "position"):
        assert getattr(copy, field) == getattr(error, field)


@pytest.mark.parametrize("bad", ["", "x" * 256, "a\0b"])
def test_a_bad_name_is_refused(manager: LockManager, bad: str) -> None:
    with pytest.raises(InvalidNameError), manager.read_lock(bad):
        pass
    with pytest.raises(InvalidNameError), manager.distributed_lock(bad):
        pass


@pytest.mark.parametrize("bad", [None, 7, b"bytes"])
def test_a_name_is_text(manager: LockManager, bad: object) -> None:
    with pytest.raises(TypeError):
        manager.read_lock(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "with space", "a/b:c", "鎖"])
def test_good_names(manager: LockManager, name: str) -> None:
    with manager.read_lock(name):
        assert manager.get_lock_status(name)["readers"] == 1


def test_a_lone_surrogate_is_no_name(manager: LockManager) -> None:
    with pytest.raises(InvalidNameError), manager.read_lock("\udc80"):
        pass
