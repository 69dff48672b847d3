"""A guard that is dropped while it holds: the lock is released, and Python warns."""

from __future__ import annotations

import gc

import pytest
from concurrent_locks import LockManager
from facts import is_free


def test_released_with_a_warning(manager: LockManager, name: str) -> None:
    guard = manager.write_lock(name)
    guard.acquire()
    with pytest.warns(ResourceWarning, match=name):
        del guard
        gc.collect()
    assert is_free(manager, name)


def test_in_a_reference_cycle(manager: LockManager, name: str) -> None:
    class Holder:
        pass

    holder = Holder()
    holder.itself, holder.guard = holder, manager.write_lock(name)  # type: ignore[attr-defined]
    holder.guard.acquire()  # type: ignore[attr-defined]
    with pytest.warns(ResourceWarning, match=name):
        del holder
        gc.collect()
    assert is_free(manager, name)


def test_an_abandoned_generator(manager: LockManager, name: str) -> None:
    def items():  # type: ignore[no-untyped-def]
        with manager.read_lock(name):
            yield from range(3)

    iterator = items()
    assert next(iterator) == 0
    assert not is_free(manager, name)
    del iterator  # closes the generator: the `with` ends, nothing to warn of
    gc.collect()
    assert is_free(manager, name)


def test_a_guard_that_holds_nothing_goes_quietly(manager: LockManager, name: str) -> None:
    guard = manager.write_lock(name)
    with guard:
        pass
    del guard
    gc.collect()


def test_of_several_locks(manager: LockManager, name: str) -> None:
    guard = manager.lock_all({name + "-a": "write", name + "-b": "read"})
    guard.__enter__()
    with pytest.warns(ResourceWarning):
        del guard
        gc.collect()
    assert is_free(manager, name + "-a")
    assert is_free(manager, name + "-b")


def test_guards_do_not_pile_up(manager: LockManager, name: str) -> None:
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(1000):
        with manager.write_lock(name):
            pass
    gc.collect()
    assert len(gc.get_objects()) - before < 100
