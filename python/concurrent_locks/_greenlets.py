"""Greenlets: their identity, and how those of gevent and eventlet wait for each other.

Only modules that the program has imported itself are used.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Literal

from .errors import UnsupportedError

if TYPE_CHECKING:
    from . import _core


def hub() -> Literal["gevent", "eventlet"] | None:
    """Which library runs the greenlets of this thread; ``None`` if none does."""
    gevent = sys.modules.get("gevent._hub_local")
    if gevent is not None and gevent.get_hub_if_exists() is not None:
        return "gevent"
    eventlet = sys.modules.get("eventlet.hubs")
    if eventlet is not None and getattr(eventlet._threadlocal, "hub", None) is not None:
        return "eventlet"
    return None


def wait(readiness: _core.Readiness) -> None:
    """Let other greenlets run until the guard holds. Leaving early, however, leaves the queue."""
    try:
        if hub() == "gevent":
            from gevent.socket import wait_read  # type: ignore[import-untyped, unused-ignore]

            while not readiness.poll():
                wait_read(readiness.fileno())
        else:
            from eventlet.hubs import trampoline  # type: ignore[import-untyped, unused-ignore]

            while not readiness.poll():
                trampoline(readiness.fileno(), read=True)
    finally:
        readiness.leave()


def name(greenlet: Any) -> str:
    """The name of a greenlet: that of the thread for which the program takes it, or its library's name."""
    thread = getattr(threading, "_active", {}).get(threading.get_ident()) if hub() else None
    if thread is not None and thread is not threading.main_thread():
        return str(thread.name)
    return str(getattr(greenlet, "name", None) or f"{type(greenlet).__name__} at {id(greenlet):#x}")


def must_not_be_patched(what: str) -> None:
    """Refuse a feature that needs a real thread where ``threading`` makes greenlets."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if (gevent is not None and gevent.is_module_patched("threading")) or (
        eventlet is not None and eventlet.is_monkey_patched("thread")
    ):
        raise UnsupportedError(
            f"{what} needs a thread, and gevent or eventlet has made greenlets of threads: "
            "call `verify()` periodically, or wait in a process that is not patched"
        )
