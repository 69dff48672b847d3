"""Child processes: by fork, spawn and forkserver."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from concurrent_locks import LockLostError, LockManager, Standing
from facts import SHORT, is_free, until_true, waiters
from holders import Caller, gets, held_by_task, held_by_thread


def in_a_fork(check: Callable[[], Any]) -> None:
    """Runs `check` in a forked child and fails if it fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside other threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            check()
            code = 0
        except BaseException as error:  # the only way to tell from a fork
            os.write(2, f"in the forked child: {error!r}\n".encode())
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_child_holds_nothing_of_its_parents(name: str) -> None:
    manager = LockManager("local:tests")
    with manager.write_lock(name) as guard:

        def check() -> None:
            assert is_free(manager, name)
            assert gets(manager.write_lock(name, timeout=0))

        in_a_fork(check)
        assert guard.locked()
        assert not is_free(manager, name)


def test_on_the_host_engine_the_parent_still_holds(host_url: str, name: str) -> None:
    manager = LockManager(host_url)
    with manager.write_lock(name):
        in_a_fork(lambda: assert_refused(manager, name))
        assert not is_free(manager, name)
    in_a_fork(lambda: assert_enters(manager, name))
    assert is_free(manager, name)


def assert_refused(manager: LockManager, name: str) -> None:
    assert manager.write_lock(name).acquire(timeout=SHORT) is False


def assert_enters(manager: LockManager, name: str) -> None:
    with manager.write_lock(name, timeout=SHORT):
        assert not is_free(manager, name)


def test_a_copy_of_a_guard_gives_nothing_back(host_url: str, name: str) -> None:
    manager = LockManager(host_url)
    guard = manager.write_lock(name)
    guard.acquire()

    def check() -> None:
        assert not guard.locked()
        assert guard.verify() is Standing.LOST
        with pytest.raises(LockLostError, match="forked"):
            assert guard.token
        with pytest.raises(LockLostError, match="forked"):
            guard.release()
        assert not is_free(manager, name)
        with pytest.raises(RuntimeError, match="is not held"):  # the child knows by now
            guard.release()
        assert not guard.acquire(timeout=0)

    in_a_fork(check)
    assert guard.locked()
    assert not is_free(manager, name)
    guard.release()


@pytest.mark.parametrize("kind", ["write_lock", "distributed_lock"])
def test_a_child_that_continues_in_the_block_gets_an_error(host_url: str, name: str, kind: str) -> None:
    """A lock that is taken before a process becomes a daemon stays with the process that took it."""
    manager = LockManager(host_url)
    outcome = "nothing"
    child = -1
    try:
        with getattr(manager, kind)(name):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                assert not is_free(manager, name)
    except LockLostError as error:
        outcome = str(error)
    finally:
        if child == 0:
            os._exit(0 if "forked" in outcome else 1)
    assert outcome == "nothing"
    assert is_free(manager, name)


@pytest.mark.parametrize("kind", ["write_lock", "distributed_lock"])
def test_a_child_that_fails_in_the_block_tells_its_own_error(host_url: str, name: str, kind: str) -> None:
    manager = LockManager(host_url)
    with getattr(manager, kind)(name) as guard:

        def check() -> None:
            error = KeyError("of the child")
            guard.__exit__(KeyError, error, None)
            assert not is_free(manager, name)

        in_a_fork(check)
        assert guard.locked()


async def test_a_daemons_files_stay_its_own(host_url: str, name: str, tmp_path: Path) -> None:
    """It closes all descriptors, and gets the numbers of its parent's pipes for files of its own."""
    manager = LockManager(host_url)
    async with held_by_task(manager.write_lock(name)):
        waiting = asyncio.create_task(manager.write_lock(name).acquire_async())
        await until_true(lambda: waiters(manager, name) == 1)  # so there is a mailbox, with its pipe

        def check() -> None:
            highest = max(int(number) for number in os.listdir("/proc/self/fd"))
            os.closerange(3, highest + 1)
            files = [os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT) for _ in range(3, highest + 1)]
            waiting.get_coro().close()
            waiting.get_loop()._selector._fd_to_key.clear()  # which has the reading end
            gc.collect()
            with manager.write_lock(f"{name}-2"):
                pass
            for file in files:
                os.fstat(file)
            assert (tmp_path / "log").read_bytes() == b""

        in_a_fork(check)
        waiting.cancel()
        await asyncio.wait({waiting})


def test_pipes_are_above_stdio(tmp_path: Path) -> None:
    """A daemon that has closed 0, 1 and 2 prints into whatever gets their numbers."""
    program = """
import asyncio, os, sys
os.closerange(0, 3)
from concurrent_locks import LockManager
locks = LockManager(sys.argv[1])
async def main():
    held = locks.write_lock("a")
    async with held:
        async def wait():
            async with locks.write_lock("a"):
                pass
        waiting = asyncio.create_task(wait())
        while locks.get_lock_status("a")["pending_requests"] == 0:
            await asyncio.sleep(0.001)
        for number in range(3):
            kind = os.readlink(f"/proc/self/fd/{number}") if os.path.lexists(f"/proc/self/fd/{number}") else ""
            assert "pipe:" not in kind or not kind, kind
    await waiting
asyncio.set_event_loop_policy(None)
loop = None
try:
    asyncio.run(main())
except BaseException as error:
    open(sys.argv[2], "w").write(repr(error))
    os._exit(1)
os._exit(0)
"""
    report = tmp_path / "report"
    done = subprocess.run([sys.executable, "-c", program, f"host:{tmp_path}/t.table", str(report)], check=False)
    assert done.returncode == 0, report.read_text() if report.exists() else "no report"


def test_a_child_may_wait(host_url: str, name: str) -> None:
    """Threads, the hub and mailboxes do not survive a fork: the child makes its own."""
    manager = LockManager(host_url)

    async def wait_a_while() -> None:
        async with held_by_task(manager.write_lock(name)):
            with pytest.raises(TimeoutError):
                async with manager.write_lock(name, timeout=SHORT):
                    pass

    asyncio.run(wait_a_while())  # starts what waiting needs in the parent

    def check() -> None:
        asyncio.run(wait_a_while())
        with held_by_thread(manager.write_lock(name)), pytest.raises(TimeoutError):
            Caller(enter, manager, name).result()

    in_a_fork(check)
    asyncio.run(wait_a_while())


def enter(manager: LockManager, name: str) -> None:
    with manager.write_lock(name, timeout=SHORT):
        pass


async def test_fork_inside_a_running_loop(host_url: str, name: str) -> None:
    manager = LockManager(host_url)
    async with held_by_task(manager.write_lock(name)):
        waiting = asyncio.create_task(manager.write_lock(name).acquire_async())
        while waiters(manager, name) == 0:
            await asyncio.sleep(0.001)
        in_a_fork(lambda: asyncio.run(refused(manager, name)))
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})


async def refused(manager: LockManager, name: str) -> None:
    assert await manager.write_lock(name).acquire_async(timeout=SHORT) is False


def add(url: str, name: str, path: str, times: int) -> None:
    manager = LockManager(url)
    for _ in range(times):
        with manager.write_lock(name), open(path, "r+") as file:
            number = int(file.read())
            file.seek(0)
            file.write(str(number + 1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing(host_url: str, name: str, method: str, tmp_path: Any) -> None:
    path = tmp_path / "number"
    path.write_text("0")
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=add, args=(host_url, name, str(path), 100)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert path.read_text() == "300"
