"""What is made at first use is made at the import: a child forked meanwhile by another thread would wait for ever."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from facts import DEADLINE

SOURCES = Path(__file__).parents[1] / "src"

ROUND = """
import asyncio, os, signal, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork beside other threads
sys.setswitchinterval(1e-6)
from concurrent_locks import LockManager, LockTimeoutError

locks = LockManager(sys.argv[1])
SHORT = 0.02
# asyncio makes its policy under a lock of its own, in which a fork would leave the child.
asyncio.new_event_loop().close()

def first_uses():
    assert locks.write_lock("held").acquire(timeout=SHORT) is False
    try:
        with locks.lock_all({"held": "write", "other": "read"}, timeout=SHORT):
            raise AssertionError("entered")
    except LockTimeoutError:
        pass
    with locks.read_lock("shared") as guard:
        try:
            guard.upgrade(timeout=SHORT)
        except (TimeoutError, RuntimeError):  # two upgrades are a deadlock
            pass
    async def in_tasks():
        assert await locks.write_lock("held").acquire_async(timeout=SHORT) is False
        try:
            async with locks.read_lock("held", timeout=SHORT, owner="agent"):
                raise AssertionError("entered")
        except LockTimeoutError:
            pass
    asyncio.run(in_tasks())
    locks.get_lock_status("held")

held = locks.write_lock("held")
held.acquire()
shared = locks.read_lock("shared", owner="another")
shared.acquire()
begin = threading.Barrier(5)

def beside():
    begin.wait()
    first_uses()

threads = [threading.Thread(target=beside, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
begin.wait()
children = []
for _ in range(12):
    child = os.fork()
    if child == 0:
        signal.alarm(40)  # ends one that hangs
        code = 1
        try:
            if sys.argv[1] == "local:":  # a table of the child's own: nobody holds
                held = locks.write_lock("held", owner="parent"); held.acquire()
            first_uses()
            code = 0
        finally:
            os._exit(code)
    children.append(child)
ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert ends == [0] * len(children), ends
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("engine", ["local", "host", "file"])
def test_a_child_forked_beside_first_uses_does_not_hang(engine: str, tmp_path: Path) -> None:
    program = (
        ROUND
        if engine != "file"
        else re.sub(r'    with locks.read_lock\("shared"\).*?pass\n', "", ROUND, flags=re.DOTALL)
    )
    for number in range(4):
        url = {"local": "local:", "host": f"host:{tmp_path}/{number}.table", "file": f"file:{tmp_path}/{number}"}[
            engine
        ]
        done = subprocess.run(
            [sys.executable, "-c", program, url], capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_beside_a_connect_does_not_hang() -> None:
    """To connect to a server that says nothing takes seconds; meanwhile another thread forks."""
    program = """
import os, signal, socket, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork beside other threads
from concurrent_locks import LockEngineError, LockManager

server = socket.create_server(("127.0.0.1", 0))

def connect():
    try:
        LockManager(f"redis://127.0.0.1:{server.getsockname()[1]}")
    except LockEngineError:
        pass

thread = threading.Thread(target=connect)
thread.start()
connection, _ = server.accept()  # the thread is in the middle of it
child = os.fork()
if child == 0:
    signal.alarm(40)  # ends one that hangs
    with LockManager("local:of-the-child").write_lock("a"):
        os._exit(0)
end = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
thread.join()
os._exit(0 if end == 0 else 1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_is_made_once_after_the_import() -> None:
    """`intern!`, lazy cells and `Once` let the GIL go, or are held, while they are made."""
    at_the_import = {"made.rs", "guard/bound.rs", "guard/object.rs", "guard/done.rs", "guard/stop.rs"}
    lazy = re.compile(r"\bintern!|\bPyOnceLock\b|\bOnceLock\b|\bLazyLock\b|\bOnceCell\b|\bLazyCell\b")
    found = {
        str(source.relative_to(SOURCES))
        for source in SOURCES.rglob("*.rs")
        if any(lazy.search(line) for line in source.read_text().splitlines() if not line.lstrip().startswith("//"))
    }
    assert found == at_the_import


def test_every_class_is_made_by_the_import() -> None:
    classes = set()
    for source in SOURCES.rglob("*.rs"):
        classes |= set(re.findall(r"#\[pyclass.*?\]\s*(?:pub\(crate\) )?struct (\w+)", source.read_text()))
    text = "".join(source.read_text() for source in SOURCES.rglob("*.rs"))
    exported = re.search(r"#\[pymodule_export\]\s*use crate::\{(.*?)\};", text, re.DOTALL)
    assert exported is not None
    for name in classes:
        assert re.search(rf"\b{name}\b", exported[1]) or re.search(rf"get_type::<(\w+::)*{name}>", text), name
