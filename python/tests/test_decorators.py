"""Decorators on every kind of function: what it was, it stays, and the lock is held while it runs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from concurrent_locks import distributed_lock, get_lock_manager, read_lock, write_lock
from facts import SHORT, is_free
from holders import held_by_task, held_by_thread

Decorator = Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]]
DECORATORS = pytest.mark.parametrize("decorator", [read_lock, write_lock], ids=["read", "write"])


def held(name: str) -> bool:
    return not is_free(get_lock_manager(), name)


@DECORATORS
async def test_an_async_function(decorator: Decorator, name: str) -> None:
    @decorator(name)
    async def section(number: int, *, more: int = 0) -> tuple[int, bool]:
        """Doc."""
        await asyncio.sleep(0)
        return number + more, held(name)

    assert asyncio.iscoroutinefunction(section)
    assert inspect.iscoroutinefunction(section)
    assert (section.__name__, section.__doc__) == ("section", "Doc.")
    assert list(inspect.signature(section).parameters) == ["number", "more"]
    assert await section(1, more=2) == (3, True)
    assert not held(name)


@DECORATORS
def test_a_plain_function(decorator: Decorator, name: str) -> None:
    @decorator(name)
    def section(number: int) -> tuple[int, bool]:
        return number, held(name)

    assert not inspect.iscoroutinefunction(section)
    assert section(4) == (4, True)
    assert not held(name)


@DECORATORS
async def test_an_async_generator_holds_across_the_iteration(decorator: Decorator, name: str) -> None:
    @decorator(name)
    async def items() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    assert inspect.isasyncgenfunction(items)
    assert [(number, held(name)) async for number in items()] == [(0, True), (1, True), (2, True)]
    assert not held(name)
    iterator = items()
    assert not held(name)  # nothing before the first item
    assert await anext(iterator) == 0
    assert held(name)
    await iterator.aclose()
    assert not held(name)


@DECORATORS
async def test_an_async_generator_is_still_spoken_to(decorator: Decorator, name: str) -> None:
    @decorator(name)
    async def echo() -> Any:
        heard = None
        while True:
            try:
                heard = yield heard
            except KeyError:
                heard = "thrown"

    iterator = echo()
    assert await anext(iterator) is None
    assert await iterator.asend(5) == 5
    assert await iterator.athrow(KeyError()) == "thrown"
    await iterator.aclose()
    assert not held(name)


@DECORATORS
def test_a_generator_holds_across_the_iteration(decorator: Decorator, name: str) -> None:
    @decorator(name)
    def items() -> Iterator[int]:
        heard = yield 0
        yield heard

    assert inspect.isgeneratorfunction(items)
    iterator: Any = items()
    assert not held(name)
    assert next(iterator) == 0
    assert held(name)
    assert iterator.send(7) == 7
    iterator.close()
    assert not held(name)


class Store:
    name = "unset"

    @read_lock("store:{self.name}")
    def method(self) -> bool:
        return held(f"store:{self.name}")

    @write_lock("store:{self.name}")
    async def async_method(self) -> bool:
        return held(f"store:{self.name}")

    @staticmethod
    @write_lock("store:static")
    def static() -> bool:
        return held("store:static")

    @classmethod
    @write_lock("store:{cls.name}")
    def of_class(cls) -> bool:
        return held(f"store:{cls.name}")

    @property
    @read_lock("store:property")
    def a_property(self) -> bool:
        return held("store:property")


async def test_methods(name: str) -> None:
    store = Store()
    store.name = name
    assert store.method()
    assert await store.async_method()
    assert store.static()
    assert Store.static()
    assert Store.of_class()
    assert store.of_class()
    assert store.a_property


@DECORATORS
async def test_an_exception_goes_through(decorator: Decorator, name: str) -> None:
    @decorator(name)
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()
    assert not held(name)


@DECORATORS
async def test_a_timeout(decorator: Decorator, name: str) -> None:
    @decorator(name, timeout=SHORT)
    async def section() -> None:
        pytest.fail("entered beside a writer")

    async with held_by_task(get_lock_manager().write_lock(name)):
        with pytest.raises(TimeoutError):
            await section()
        with pytest.raises(TimeoutError):
            await decorator(name, 0)(section)()


def test_a_timeout_of_a_plain_function(name: str) -> None:
    @write_lock(name, timeout=SHORT)
    def section() -> None:
        pytest.fail("entered beside another")

    with held_by_thread(get_lock_manager().write_lock(name)), pytest.raises(TimeoutError):
        section()


async def test_owner_priority_and_note(name: str) -> None:
    @write_lock(name, owner="agent-7", priority=2, note="adding")
    async def section() -> dict[str, Any]:
        (holder,) = get_lock_manager().status(name)[name]["holders"]
        return dict(holder)

    holder = await section()
    assert (holder["label"], holder["priority"], holder["note"]) == ("agent-7", 2, "adding")


async def test_calls_are_independent(name: str) -> None:
    inside = most = 0

    @read_lock(name)
    async def section() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1

    await asyncio.gather(*(section() for _ in range(10)))
    assert most == 10


async def test_decorated_functions_may_call_each_other(name: str) -> None:
    @read_lock(name)
    async def inner() -> str:
        return "entered"

    @write_lock(name)
    async def outer() -> str:
        return await inner()

    assert await outer() == "entered"


def test_recursion(name: str) -> None:
    @write_lock(name)
    def factorial(number: int) -> int:
        return 1 if number == 0 else number * factorial(number - 1)

    assert factorial(10) == 3628800


def test_a_distributed_lock_is_not_recursive(name: str) -> None:
    @distributed_lock(name, timeout=SHORT)
    def section(depth: int) -> None:
        if depth:
            section(depth - 1)

    section(0)
    with pytest.raises(TimeoutError):
        section(1)
