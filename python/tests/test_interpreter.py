"""The end of an interpreter, sub-interpreters, and what an import costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from concurrent_locks import LockManager
from facts import is_free
from lock_taker import lock_taker

ENDINGS = {
    "a guard held by the main thread": """
guard = manager.write_lock(name)
guard.acquire()
""",
    "a guard in a daemon thread": """
import threading
entered = threading.Event()
def hold():
    with manager.write_lock(name):
        entered.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
entered.wait()
""",
    "a daemon thread that waits": """
import threading
guard = manager.write_lock(name)
guard.acquire()
threading.Thread(target=lambda: manager.write_lock(name, timeout=None).acquire(), daemon=True).start()
while manager.get_lock_status(name)["pending_requests"] == 0:
    pass
""",
    "a loop in a daemon thread with waiting tasks": """
import asyncio, threading
guard = manager.write_lock(name)
guard.acquire()
async def wait():
    await asyncio.gather(*(manager.write_lock(name, timeout=None).acquire_async() for _ in range(5)))
threading.Thread(target=lambda: asyncio.run(wait()), daemon=True).start()
while manager.get_lock_status(name)["pending_requests"] < 5:
    pass
""",
    "a task left holding": """
import asyncio
loop = asyncio.new_event_loop()
guard = manager.write_lock(name)
loop.run_until_complete(guard.acquire_async())
""",
    "a task left waiting": """
import asyncio
loop = asyncio.new_event_loop()
guard = manager.write_lock(name)
loop.run_until_complete(guard.acquire_async())
task = loop.create_task(manager.write_lock(name, timeout=None).acquire_async())
loop.run_until_complete(asyncio.sleep(0))
assert manager.get_lock_status(name)["pending_requests"] == 1
""",
    "sys.exit inside the section": """
import sys
with manager.write_lock(name):
    sys.exit(0)
""",
    "a distributed lock held": """
lock = manager.distributed_lock(name)
lock.__enter__()
""",
}


def assert_free_for_others(host_url: str, name: str) -> None:
    """Whoever comes next notices that the holder is gone."""
    manager = LockManager(host_url)
    with manager.write_lock(name, timeout=60.0), LockManager().distributed_lock(name):
        pass
    assert is_free(manager, name)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_interpreter_ends_with_held_locks(host_url: str, name: str, ending: str) -> None:
    """It ends, in order, and the lock is free for the others."""
    script = f"""
from concurrent_locks import LockManager
manager, name = LockManager({host_url!r}), {name!r}
{ENDINGS[ending]}
print("end of the script", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for bad in ("panicked", "Fatal", "Exception ignored"):
        assert bad not in done.stderr, done.stderr
    assert_free_for_others(host_url, name)


def test_an_interpreter_that_aborts(host_url: str, name: str) -> None:
    script = f"""
import os
from concurrent_locks import LockManager
manager = LockManager({host_url!r})
manager.write_lock({name!r}).acquire()
os.abort()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == -6
    assert_free_for_others(host_url, name)


SUB_INTERPRETER = {
    (3, 11): "import _xxsubinterpreters as sub\nrun = sub.run_string",
    (3, 12): "import _xxsubinterpreters as sub\nrun = sub.run_string",
    (3, 13): "import _interpreters as sub\nrun = sub.run_string",
}


@pytest.mark.skipif(sys.version_info[:2] not in SUB_INTERPRETER, reason="no known way to make a sub-interpreter")
def test_sub_interpreters_are_refused_with_an_explanation() -> None:
    script = f"""
{SUB_INTERPRETER[sys.version_info[:2]]}
import concurrent_locks
try:
    outcome = run(sub.create(), "import concurrent_locks")
    print(getattr(outcome, "formatted", outcome))
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "ImportError" in done.stdout and "interpreter" in done.stdout, done.stdout


def test_an_import_starts_nothing() -> None:
    script = """
import os, threading, sys
import concurrent_locks
print(threading.active_count(), len(os.listdir("/proc/self/task")), "asyncio" in sys.modules, os.path.exists("memory"))
concurrent_locks.get_lock_manager()
print(len(os.listdir("/proc/self/task")), os.path.exists("memory"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    first, second = done.stdout.splitlines()
    assert first.split()[:2] == ["1", "1"]
    assert first.endswith("False")
    assert second == "1 False"


def test_a_killed_holder_frees_its_lock(host_url: str, name: str) -> None:
    manager = LockManager(host_url)
    with lock_taker(host_url) as taker:
        assert taker.ask("take", mode="write", name=name) == "held"
        assert not is_free(manager, name)
        taker.kill()
        with manager.write_lock(name):
            pass
    assert is_free(manager, name)
