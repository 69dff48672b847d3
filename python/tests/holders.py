"""Somebody else who holds a lock: another task, or another thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from facts import DEADLINE


@asynccontextmanager
async def held_by_task(lock: Any) -> AsyncIterator[asyncio.Task[None]]:
    """A task of its own holds `lock` meanwhile."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with lock:
            entered.set()
            await leave.wait()

    task = asyncio.create_task(hold())
    entering = asyncio.create_task(entered.wait())
    await asyncio.wait({task, entering}, return_when=asyncio.FIRST_COMPLETED)
    entering.cancel()
    if task.done():
        await task
    try:
        yield task
    finally:
        leave.set()
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


class Holder(threading.Thread):
    """A thread that holds a lock until `leave` is set."""

    def __init__(self, hold: Any, leave: threading.Event) -> None:
        super().__init__(target=hold, name="holder", daemon=True)
        self.leave = leave


@contextmanager
def held_by_thread(lock: Any) -> Iterator[Holder]:
    """A thread of its own holds `lock` meanwhile, or until its `leave` is set."""
    entered, leave = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def hold() -> None:
        try:
            with lock:
                entered.set()
                leave.wait(DEADLINE)
        except BaseException as error:  # handed to the thread that asked
            errors.append(error)
            entered.set()

    thread = Holder(hold, leave)
    thread.start()
    entered.wait(DEADLINE)
    try:
        if errors:
            raise errors.pop()
        yield thread
    finally:
        leave.set()
        thread.join(DEADLINE)
        assert not thread.is_alive(), "the holder did not leave"
    if errors:
        raise errors.pop()


def gets(lock: Any, *arguments: Any) -> bool:
    """Whether `acquire` takes the lock, which is released at once."""
    got = lock.acquire(*arguments)
    if got:
        lock.release()
    return bool(got)


async def gets_async(lock: Any, **arguments: Any) -> bool:
    """The same in a task."""
    got = await lock.acquire_async(**arguments)
    if got:
        lock.release()
    return bool(got)


class Caller(threading.Thread):
    """Calls a function in a thread of its own; `result()` gives what it returned, or raises what it raised."""

    def __init__(self, function: Any, *args: Any, name: str | None = None) -> None:
        super().__init__(name=name, daemon=True)  # one that hangs fails its test, not the end of the run
        self._function, self._args = function, args
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._function(*self._args)
        except BaseException as error:  # handed to the thread that asks for the result
            self._error = error

    def result(self) -> Any:
        self.join(DEADLINE)
        assert not self.is_alive(), "the call did not come back"
        if self._error is not None:
            raise self._error
        return self._result
