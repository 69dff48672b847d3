"""How the awaitable of a free lock ends: with a `StopIteration` that carries the guard, and leaves nothing behind.

CPython 3.12 and later go this way for every `await`; others do for who iterates by hand.
"""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest
from concurrent_locks import LockManager
from facts import is_free


def entered(guard: Any) -> StopIteration:
    """Enters the guard as an event loop's coroutine does, and answers with what ended it."""
    try:
        next(guard.__await__())
    except StopIteration as stop:
        return stop
    raise AssertionError("the lock is free")


def enter(guard: Any) -> None:
    """The same, but nobody sees what ended it: `for` takes it and lets go of it, as `await` does."""
    for _ in guard.__await__():
        raise AssertionError("the lock is free")


def instances(kind: type) -> list[Any]:
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is kind]


async def test_a_guard_that_was_awaited_and_dropped_is_released_at_once(manager: LockManager, name: str) -> None:
    guard = manager.write_lock(name)
    assert await guard is guard
    with pytest.warns(ResourceWarning, match=name):
        del guard
    assert is_free(manager, name)


def test_the_guard_is_its_value(table_manager: LockManager, name: str) -> None:
    guard = table_manager.write_lock(name)
    stop = entered(guard)
    assert isinstance(stop, StopIteration)
    assert stop.value is guard
    guard.release()


def test_who_keeps_it_keeps_it(table_manager: LockManager, name: str) -> None:
    guards = [table_manager.read_lock(f"{name}-{number}") for number in range(3)]
    stops = [entered(guard) for guard in guards]
    assert [stop.value for stop in stops] == guards
    del guards
    for stop in stops:
        assert stop.value.locked()
        stop.value.release()


def test_who_keeps_it_keeps_the_guard(table_manager: LockManager, name: str) -> None:
    stop = entered(table_manager.write_lock(name))
    assert not is_free(table_manager, name)
    with pytest.warns(ResourceWarning, match=name):
        del stop
        gc.collect()
    assert is_free(table_manager, name)


def test_no_frame_lives_on(table_manager: LockManager, name: str) -> None:
    class Local:
        pass

    def enter() -> weakref.ref[Local]:
        local = Local()
        guard = table_manager.write_lock(name)
        try:
            try:
                raise KeyError
            except KeyError:
                next(guard.__await__())
        except StopIteration:
            guard.release()
        return weakref.ref(local)

    gc.disable()
    try:
        assert enter()() is None
    finally:
        gc.enable()


def test_what_was_written_on_one_is_not_on_the_next(table_manager: LockManager, name: str) -> None:
    def enter() -> dict[str, Any]:
        guard = table_manager.write_lock(name)
        try:
            next(guard.__await__())
        except StopIteration as stop:
            found = dict(vars(stop), args=stop.args, cause=stop.__cause__, context=stop.__context__)
            stop.mark = "mine"  # type: ignore[attr-defined]
            stop.args, stop.__cause__ = ("mine",), KeyError()
            stop.add_note("mine")
            guard.release()
        return found

    assert enter() == enter() == {"args": (), "cause": None, "context": None}


def test_one_is_kept_and_no_more(table_manager: LockManager, name: str) -> None:
    guards = [table_manager.read_lock(f"{name}-{number}") for number in range(5)]
    stops = [entered(guard) for guard in guards]
    kind = type(stops[0])
    assert kind is not StopIteration
    assert len(instances(kind)) == 5
    with_five = sys.getrefcount(kind)
    stops.clear()
    # Each had a traceback, so it is gone, and with it its reference to the class.
    assert not instances(kind)
    none_kept = with_five - 5
    assert sys.getrefcount(kind) == none_kept
    for guard in guards * 2:
        guard.release()
        enter(guard)
        assert not instances(kind), "what is kept is hidden from the garbage collector"
        assert sys.getrefcount(kind) == none_kept + 1
    for guard in guards:
        guard.release()


@pytest.mark.parametrize("first", ["the cycle", "the exception"])
def test_the_garbage_collector_finds_it_in_a_cycle(table_manager: LockManager, name: str, first: str) -> None:
    def make_garbage() -> None:
        guard = table_manager.write_lock(name)
        cycle: list[Any] = [[]] if first == "the cycle" else []
        # As good as new, but for being in a cycle.
        stop = entered(guard).with_traceback(None)
        cycle = cycle or [[]]
        cycle[0] += [cycle, stop]
        guard.release()

    for _ in range(3):
        make_garbage()
        gc.collect()
        guard = table_manager.write_lock(name)
        assert entered(guard).value is guard
        guard.release()


async def test_a_tracer_that_keeps_what_it_sees(table_manager: LockManager, name: str) -> None:
    seen: list[tuple[Any, ...]] = []

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if event == "exception":
            seen.append(argument)
        return trace

    async def enter() -> Any:
        async with table_manager.write_lock(name) as guard:
            return guard.locked(), guard

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        entries = [await enter() for _ in range(3)]
    finally:
        sys.settrace(old)
    assert [held for held, _ in entries] == [True] * 3
    kind = type(entered(entries[0][1]))
    values = [raised.value for _, raised, _ in seen if type(raised) is kind]
    assert values == [guard for _, guard in entries][: len(values)]
    entries[0][1].release()
