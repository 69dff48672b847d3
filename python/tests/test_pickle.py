"""What crosses to another process: managers and locks by name; guards do not."""

from __future__ import annotations

import copy
import multiprocessing
import pickle

import pytest
from concurrent_locks import AsyncRWLock, DistributedLock, LockManager, LockStatus, LockType, get_lock_manager


def test_a_manager_comes_back_as_itself(manager: LockManager) -> None:
    assert pickle.loads(pickle.dumps(manager)) is manager
    assert pickle.loads(pickle.dumps(get_lock_manager())) is get_lock_manager()
    assert copy.deepcopy(manager) is manager


@pytest.mark.parametrize("kind", [AsyncRWLock, DistributedLock])
def test_a_lock_object_comes_back_as_the_same_lock(kind: type, name: str) -> None:
    copied = pickle.loads(pickle.dumps(kind(name)))
    assert type(copied) is kind
    assert copied.resource_name == name


def test_enums(name: str) -> None:
    for each in (*LockType, *LockStatus):
        assert pickle.loads(pickle.dumps(each)) is each


def test_a_guard_does_not(manager: LockManager, name: str) -> None:
    guard = manager.write_lock(name)
    with pytest.raises(TypeError, match=r"[Gg]uard"):
        pickle.dumps(guard)
    with guard, pytest.raises(TypeError):
        copy.copy(guard)


class Store:
    """As the stores of agents are made: the manager is a field."""

    def __init__(self, url: str, name: str) -> None:
        self.manager, self.name = LockManager(url), name

    def is_kept_out(self) -> bool:
        return self.manager.write_lock(self.name).acquire(timeout=0.05) is False


def test_an_object_with_a_manager_crosses_to_a_spawned_process(host_url: str, name: str) -> None:
    store = Store(host_url, name)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        with store.manager.write_lock(name):
            assert pool.apply(store.is_kept_out)
        assert not pool.apply(store.is_kept_out)
