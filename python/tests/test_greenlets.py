"""Greenlets of gevent and eventlet are owners of their own and wait for each other; others are refused, not hung.

What patches the whole program runs in a process of its own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from concurrent_locks import LockManager, UnsupportedError
from facts import DEADLINE, is_free, until, waiters
from holders import Caller, held_by_thread

greenlet = pytest.importorskip("greenlet")

HERE = Path(__file__).parent


@pytest.fixture(params=["gevent", "eventlet"])
def program(request: pytest.FixtureRequest, manager: LockManager) -> Callable[..., str]:
    """Runs a function of `greenlet_programs.py` under a library, on an engine; answers what it printed."""
    # Not imported here: eventlet warns every later test of this process that forks.
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")

    def run(function: str, *patch: str) -> str:
        done = subprocess.run(
            [sys.executable, HERE / "greenlet_programs.py", request.param, manager.url, function, *patch],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env={**os.environ, "PYTHONPATH": str(HERE)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.parametrize("function", ["write", "by_hand", "several", "distributed", "as_object", "upgrades", "readers"])
def test_greenlets_exclude_each_other(program: Callable[..., str], function: str) -> None:
    assert program(function) == "right"


def test_where_only_the_library_runs_and_nothing_is_patched(program: Callable[..., str]) -> None:
    assert program("write", "unpatched") == "right"


@pytest.mark.parametrize("function", ["a_greenlet_re_enters", "timeout", "killed", "librarys_timeout", "native_thread"])
def test_greenlets_are_like_threads(program: Callable[..., str], function: str) -> None:
    assert program(function) == "right"


def test_what_needs_a_thread_is_refused(program: Callable[..., str]) -> None:
    assert program("notified_of_a_loss") == "right"


def test_bare_greenlets_are_owners_and_are_not_hung(manager: LockManager, name: str) -> None:
    refused: list[str] = []

    def other() -> None:
        assert not manager.write_lock(name).acquire(blocking=False)
        with pytest.raises(UnsupportedError, match="gevent and eventlet only") as error:
            manager.write_lock(name, timeout=None).acquire()
        refused.append(str(error.value))

    def holder() -> None:
        with manager.write_lock(name), manager.read_lock(name):
            greenlet.greenlet(other).switch()

    greenlet.greenlet(holder).switch()
    assert len(refused) == 1
    assert "holds" in refused[0]
    assert is_free(manager, name)


def test_a_threads_first_greenlet_is_the_thread(manager: LockManager, name: str) -> None:
    def other() -> str:
        with pytest.raises(UnsupportedError, match="MainThread, a thread of it, holds"):
            manager.write_lock(name).acquire()
        return "refused"

    assert threading.current_thread().name == "MainThread"
    with manager.write_lock(name):
        assert greenlet.greenlet(other).switch() == "refused"


def test_a_bare_greenlet_waits_for_another_thread(manager: LockManager, name: str) -> None:
    """Nobody who needs this thread is in the way."""

    def other() -> str:
        with manager.write_lock(name):
            return "entered"

    with held_by_thread(manager.write_lock(name)):
        waiting = Caller(lambda: greenlet.greenlet(other).switch())
        until(lambda: waiters(manager, name) == 1)
    assert waiting.result() == "entered"
