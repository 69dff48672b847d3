"""Child processes: by fork, spawn and forkserver."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from concurrent_locks import LockManager
from facts import SHORT, is_free, waiters
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
        with pytest.raises(RuntimeError):
            guard.release()
        assert not is_free(manager, name)

    in_a_fork(check)
    assert guard.locked()
    assert not is_free(manager, name)
    guard.release()


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
