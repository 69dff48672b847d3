"""Programs of greenlets. `python greenlet_programs.py gevent|eventlet URL FUNCTION [unpatched]` prints its finding."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from typing import Any

LIBRARY, URL, FUNCTION, *UNPATCHED = sys.argv[1:]
if LIBRARY == "gevent":
    import gevent
    import gevent.monkey

    if not UNPATCHED:
        gevent.monkey.patch_all()
else:
    import eventlet

    if not UNPATCHED:
        eventlet.monkey_patch()

import threading  # noqa: E402

from concurrent_locks import (  # noqa: E402
    AsyncRWLock,
    DistributedLock,
    LockManager,
    LockTimeoutError,
    UnsupportedError,
)

locks = LockManager(URL)
name = f"greenlets-{uuid.uuid4().hex}"


def spawn(function: Callable[[], Any]) -> Any:
    return gevent.spawn(function) if LIBRARY == "gevent" else eventlet.spawn(function)


def join(greenlets: list[Any]) -> None:
    for one in greenlets:
        one.get() if LIBRARY == "gevent" else one.wait()


def kill(one: Any) -> None:
    one.kill()


def yield_() -> None:
    gevent.sleep(0) if LIBRARY == "gevent" else eventlet.sleep(0)


def until(fact: Callable[[], Any]) -> None:
    while not fact():  # the test ends it at its deadline
        gevent.sleep(0.001) if LIBRARY == "gevent" else eventlet.sleep(0.001)


def waiters() -> int:
    return int(locks.get_lock_status(name)["pending_requests"])


def is_free() -> bool:
    shown = locks.get_lock_status(name)
    return not shown["writer_active"] and shown["readers"] == 0 and shown["pending_requests"] == 0


def exclusive(enter: Callable[[], Any], greenlets: int = 6, turns: int = 5) -> str:
    """Greenlets add to a number across a switch, under the lock: without exclusion, additions are lost."""
    number = 0

    def add() -> None:
        nonlocal number
        for _ in range(turns):
            with enter():
                seen = number
                for _ in range(3):
                    yield_()
                number = seen + 1

    join([spawn(add) for _ in range(greenlets)])
    return "right" if number == greenlets * turns and is_free() else f"{number} of {greenlets * turns}"


class ByHand:
    def __enter__(self) -> None:
        self.guard = locks.write_lock(name)
        assert self.guard.acquire(timeout=60)

    def __exit__(self, *raised: object) -> None:
        self.guard.release()


class Upgraded:
    def __enter__(self) -> None:
        self.guard = locks.read_lock(name, timeout=60)
        while True:
            self.guard.acquire()
            try:
                self.guard.upgrade(timeout=60)
                return
            except RuntimeError:  # another one upgrades, and waits for this reader
                self.guard.release()
                yield_()

    def __exit__(self, *raised: object) -> None:
        self.guard.release()


def write() -> str:
    return exclusive(lambda: locks.write_lock(name))


def by_hand() -> str:
    return exclusive(ByHand)


def several() -> str:
    return exclusive(lambda: locks.lock_all({name: "write", f"{name}-2": "write"}))


def distributed() -> str:
    return exclusive(lambda: DistributedLock(name, manager=locks if locks.across_processes else None).lock())


def as_object() -> str:
    return exclusive(lambda: AsyncRWLock(name, manager=locks).write_lock())


def upgrades() -> str:
    return exclusive(Upgraded, greenlets=3, turns=3)


def readers() -> str:
    """Readers are inside together."""
    inside = 0

    def read() -> None:
        nonlocal inside
        with locks.read_lock(name):
            inside += 1
            until(lambda: inside == 4)

    join([spawn(read) for _ in range(4)])
    return "right"


def a_greenlet_re_enters() -> str:
    def twice() -> None:
        with locks.write_lock(name), locks.write_lock(name):
            yield_()

    join([spawn(twice), spawn(twice)])
    with locks.write_lock(name), locks.read_lock(name):  # and so does the first greenlet, which is the thread
        yield_()
    return "right"


def held_meanwhile(other: Callable[[], None]) -> None:
    leave = []

    def hold() -> None:
        with locks.write_lock(name):
            until(lambda: leave)

    holder = spawn(hold)
    until(lambda: locks.get_lock_status(name)["writer_active"])
    other()
    assert waiters() == 0, "the waiter left something in the queue"
    leave.append(True)
    join([holder])


def timeout() -> str:
    def wait() -> None:
        try:
            locks.write_lock(name, timeout=0.05).__enter__()
        except LockTimeoutError:
            assert locks.write_lock(name).acquire(timeout=0.05) is False
            return
        raise AssertionError("entered beside another")

    held_meanwhile(lambda: join([spawn(wait)]))
    return "right" if is_free() else "not free"


def killed() -> str:
    def kill_a_waiter() -> None:
        waiter = spawn(lambda: locks.write_lock(name, timeout=None).__enter__())
        until(lambda: waiters() == 1)
        kill(waiter)
        until(lambda: waiters() == 0)

    held_meanwhile(kill_a_waiter)
    return "right" if is_free() else "not free"


def librarys_timeout() -> str:
    limit = gevent.Timeout if LIBRARY == "gevent" else eventlet.Timeout

    def wait() -> None:
        try:
            with limit(0.05):
                locks.write_lock(name, timeout=None).__enter__()
        except limit:
            return
        raise AssertionError("entered beside another")

    held_meanwhile(lambda: join([spawn(wait)]))
    return "right" if is_free() else "not free"


def native_thread() -> str:
    """A real thread hands over to a greenlet, and other greenlets run meanwhile."""
    entered, leave = [], []

    def hold() -> None:
        import time

        sleep = (
            gevent.monkey.get_original("time", "sleep")
            if LIBRARY == "gevent"
            else eventlet.patcher.original("time").sleep
        )
        with locks.write_lock(name):
            entered.append(True)
            while not leave:
                sleep(0.001)
        del time

    def in_real_thread() -> None:
        if LIBRARY == "gevent":
            gevent.get_hub().threadpool.apply(hold)
        else:
            from eventlet import tpool

            tpool.execute(hold)

    holder = spawn(in_real_thread)
    until(lambda: entered)

    def wait() -> None:
        with locks.write_lock(name):
            entered.append(True)

    waiter = spawn(wait)
    until(lambda: waiters() == 1)
    leave.append(True)
    join([holder, waiter])
    return "right" if len(entered) == 2 and is_free() else "not entered"


def notified_of_a_loss() -> str:
    with locks.write_lock(name) as guard:
        try:
            guard.on_lost(print)
        except UnsupportedError as error:
            return "right" if "gevent" in str(error) else str(error)
    return "not refused"


assert threading
print(globals()[FUNCTION]())
