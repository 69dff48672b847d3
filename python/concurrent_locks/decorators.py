"""Decorators that hold a lock while a function runs.

They go on plain functions, ``async def``, generators and async generators (held from the first step to
the last), and under ``@staticmethod`` and ``@classmethod``. A decorated function keeps its signature.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, cast

from . import _core
from .distributed import DistributedGuard
from .guard import Guard
from .manager import get_lock_manager
from .shapes import DEFAULT_DISTRIBUTED_TIMEOUT, DEFAULT_READ_TIMEOUT, DEFAULT_WRITE_TIMEOUT
from .template import compile_name

P = ParamSpec("P")
R = TypeVar("R")

ResourceName = str | Callable[..., str]
"""A name, a template such as ``"db:{self.path.name}"``, or a function of a call's arguments: as many as it accepts."""


_Guard = Guard | DistributedGuard
_Method = Literal["read_lock", "write_lock", "distributed_lock"]
_TIMEOUTS: dict[_Method, float] = {
    "read_lock": DEFAULT_READ_TIMEOUT,
    "write_lock": DEFAULT_WRITE_TIMEOUT,
    "distributed_lock": DEFAULT_DISTRIBUTED_TIMEOUT,
}
"""The defaults of the manager's methods."""


def read_lock(
    resource_name: ResourceName,
    timeout: float | None = DEFAULT_READ_TIMEOUT,
    *,
    priority: int = 0,
    owner: str | None = None,
    note: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Share a lock with other readers while the decorated function runs."""
    return _holding("read_lock", resource_name, timeout, priority, owner, note)


def write_lock(
    resource_name: ResourceName,
    timeout: float | None = DEFAULT_WRITE_TIMEOUT,
    *,
    priority: int = 0,
    owner: str | None = None,
    note: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Hold a lock exclusively while the decorated function runs."""
    return _holding("write_lock", resource_name, timeout, priority, owner, note)


def distributed_lock(
    resource_name: ResourceName,
    timeout: float | None = DEFAULT_DISTRIBUTED_TIMEOUT,
    *,
    priority: int = 0,
    owner: str | None = None,
    note: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Hold a lock exclusively, across processes, while the decorated function runs."""
    return _holding("distributed_lock", resource_name, timeout, priority, owner, note)


def holding(guard: _Guard, function: Callable[P, R]) -> Callable[P, R]:
    """Hold a guard's lock while a function runs; each call has a guard of its own."""

    def another(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> _Guard:
        return guard.copy() if isinstance(guard, DistributedGuard) else cast("_Guard", _core.guard_copy(guard))

    return cast("Callable[P, R]", _wrap(function, another))


def _holding(
    method: _Method,
    resource_name: ResourceName,
    timeout: float | None,
    priority: int,
    owner: str | None,
    note: str | None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    options: dict[str, Any] = {"priority": priority, "owner": owner, "note": note}
    options = {option: value for option, value in options.items() if value}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if isinstance(function, (staticmethod, classmethod)):
            raise TypeError("put the lock under @staticmethod or @classmethod, not above it")
        name = compile_name(resource_name, function)
        if isinstance(name, str) and not options:
            short = _wrap_with_name(function, method, name, timeout)
            if short is not None:
                return cast("Callable[P, R]", short)
        lock: Callable[..., _Guard] | None = None

        def guard(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Guard:
            nonlocal lock
            if lock is None:
                # At the first call, not at the import: the environment may be set later.
                lock = cast("Callable[..., _Guard]", getattr(get_lock_manager(), method))
            called = name if isinstance(name, str) else name(args, kwargs)
            return lock(called, timeout, **options) if options else lock(called, timeout)

        return cast("Callable[P, R]", _wrap(function, guard))

    return decorate


def _wrap_with_name(
    function: Callable[..., Any], method: _Method, name: str, timeout: float | None
) -> Callable[..., Any] | None:
    """What `_wrap` does, without a call in between; ``None`` for generators."""
    lock: Callable[..., _Guard] | None = None
    usual = timeout == _TIMEOUTS[method]

    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return None

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            nonlocal lock
            if lock is None:
                # At the first call, not at the import: the environment may be set later.
                lock = cast("Callable[..., _Guard]", getattr(get_lock_manager(), method))
            async with lock(name) if usual else lock(name, timeout):
                return await function(*args, **kwargs)

        return coroutine

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        nonlocal lock
        if lock is None:
            lock = cast("Callable[..., _Guard]", getattr(get_lock_manager(), method))
        with lock(name) if usual else lock(name, timeout):
            return function(*args, **kwargs)

    return plain


def _wrap(
    function: Callable[..., Any], guard: Callable[[tuple[Any, ...], dict[str, Any]], _Guard]
) -> Callable[..., Any]:
    """A function of the same kind that holds the lock while the function runs."""
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def async_generator(*args: Any, **kwargs: Any) -> Any:
            async with guard(args, kwargs):
                inner = function(*args, **kwargs)
                try:
                    step = inner.__anext__()
                    while True:
                        try:
                            yielded = await step
                        except StopAsyncIteration:
                            return
                        try:
                            sent = cast("Any", (yield yielded))
                        except GeneratorExit:
                            raise
                        except BaseException as raised:
                            step = inner.athrow(raised)
                        else:
                            step = inner.asend(sent)
                finally:
                    await inner.aclose()

        return async_generator

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Any:
            with guard(args, kwargs):
                return cast("Any", (yield from function(*args, **kwargs)))

        return generator

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            async with guard(args, kwargs):
                return await function(*args, **kwargs)

        return coroutine

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with guard(args, kwargs):
            return function(*args, **kwargs)

    return plain
