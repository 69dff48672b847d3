"""Whether a task awaits the very call that waits for it: a deadlock with oneself, through a thread."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future
from types import CodeType, FrameType
from typing import Any, cast


def call() -> Future[Any] | None:
    """Find the future of the call that an executor of ``concurrent.futures`` runs on this thread."""
    run = _code_of_calls()
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is run:
            future: Any = getattr(frame.f_locals.get("self"), "future", None)
            # Not by `isinstance`, after which checkers disagree on what kind of future it is.
            found: Future[Any] | None = future if issubclass(type(future), Future) else None
            return found
        frame = frame.f_back
    return None


def _code_of_calls() -> CodeType | None:
    """The function that runs them; ``None`` in a Python that has it elsewhere: then nothing is known."""
    executor = sys.modules.get("concurrent.futures.thread")
    run = getattr(getattr(executor, "_WorkItem", None), "run", None)
    code: CodeType | None = getattr(run, "__code__", None)
    return code


def awaits(task: Any, call: Future[Any]) -> bool:
    """Whether ``task`` can continue only when ``call`` is done, as far as can be detected.

    It is followed through awaited tasks and ``gather``. Waits by ``asyncio.wait``, a task group, or an event
    are not detected: they end by time-out.
    """
    seen: set[int] = set()
    waits = [getattr(task, "_fut_waiter", None)]
    while waits:
        waited = waits.pop()
        if waited is None or id(waited) in seen:
            continue
        seen.add(id(waited))
        if isinstance(waited, asyncio.Task):
            waits.append(getattr(cast("Any", waited), "_fut_waiter", None))
            continue
        if not waited.done():
            waits.extend(getattr(waited, "_children", ()))
            if any(_brings(callback, call) for callback, _ in getattr(waited, "_callbacks", None) or ()):
                return True
    return False


def _brings(callback: Any, call: Future[Any]) -> bool:
    """Whether a callback is the one by which ``asyncio.wrap_future`` ties a future of a loop to ``call``."""
    for cell in getattr(callback, "__closure__", None) or ():
        try:
            if cell.cell_contents is call:
                return True
        except ValueError:  # an empty cell
            continue
    return False
