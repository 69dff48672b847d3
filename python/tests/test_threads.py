"""Threads on one lock, by `with`."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
from concurrent_locks import LockManager
from facts import SHORT, is_free, until, waiters
from holders import Caller, gets, held_by_thread


def test_readers_enter_together(manager: LockManager, name: str) -> None:
    everybody = threading.Barrier(8, timeout=60)

    def read() -> None:
        with manager.read_lock(name):
            everybody.wait()

    for caller in [Caller(read) for _ in range(8)]:
        caller.result()


def test_writers_are_alone_and_come_in_order(manager: LockManager, name: str) -> None:
    order: list[int] = []

    def write(number: int) -> None:
        with manager.write_lock(name):
            order.append(number)

    callers = []
    with held_by_thread(manager.write_lock(name)):
        for number in range(6):
            callers.append(Caller(write, number))
            until(lambda waiting=number + 1: waiters(manager, name) == waiting)
        assert order == []
    for caller in callers:
        caller.result()
    assert order == list(range(6))


def test_a_timeout_in_a_thread(manager: LockManager, name: str) -> None:
    def enter() -> None:
        with manager.write_lock(name, timeout=SHORT):
            pytest.fail("entered beside another")

    with held_by_thread(manager.write_lock(name)), pytest.raises(TimeoutError):
        Caller(enter).result()
    assert is_free(manager, name)


def test_a_guard_may_be_released_by_another_thread(manager: LockManager, name: str) -> None:
    lock = manager.write_lock(name)
    lock.acquire()
    Caller(lock.release).result()
    assert not lock.locked()
    assert is_free(manager, name)


def test_a_thread_that_waits_lets_the_others_run(manager: LockManager, name: str) -> None:
    """The wait gives the interpreter away: else the holder could never release."""
    with held_by_thread(manager.write_lock(name)):
        waiting = Caller(gets, manager.write_lock(name))
        until(lambda: waiters(manager, name) == 1)
        assert sum(range(1000)) == 499500
    assert waiting.result() is True


INTERRUPTED = """
import sys, threading
from concurrent_locks import LockManager
manager = LockManager({url!r})
entered = threading.Event()
def hold():
    with manager.read_lock({name!r}):
        entered.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
entered.wait()
def pending():
    return manager.get_lock_status({name!r})["pending_requests"]
def tell():
    while pending() == 0:
        pass
    print("waiting", flush=True)
threading.Thread(target=tell, daemon=True).start()
reading = manager.read_lock({name!r})
try:
    {wait}
    print("entered", flush=True)
except KeyboardInterrupt:
    print("interrupted", pending(), flush=True)
"""

WAITS = {
    "one lock": "manager.write_lock({name!r}, timeout=None).acquire()",
    "several": "manager.lock_all([({name!r}, 'write')], timeout=None).acquire()",
    "an upgrade": "reading.acquire(); reading.upgrade(timeout=None)",
    "distributed": "manager.distributed_lock({name!r}, timeout=None).acquire()",
}


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_a_wait(host_url: str, name: str, wait: str) -> None:
    script = INTERRUPTED.format(url=host_url, name=name, wait=WAITS[wait].format(name=name))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted 0\n"
