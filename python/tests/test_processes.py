"""Several processes on one lock, and one of them killed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from concurrent_locks import LOCK_DIR, DistributedLock, LockManager, get_lock_manager
from facts import SHORT, is_free, until, until_true, waiters
from holders import Caller
from lock_taker import lock_taker


def test_exclusion(host_url: str, name: str) -> None:
    manager = LockManager(host_url)
    with lock_taker(host_url) as taker:
        assert taker.ask("take", mode="write", name=name) == "held"
        with pytest.raises(TimeoutError) as caught, manager.read_lock(name, timeout=SHORT):
            pytest.fail("entered beside another process")
        assert str(taker.pid) in str(caught.value)
        taker.ask("release", name=name)
        with manager.write_lock(name):
            assert taker.ask("take", mode="read", name=name, timeout=SHORT) == "timeout"


def test_readers_of_two_processes_enter_together(host_url: str, name: str) -> None:
    manager = LockManager(host_url)
    with lock_taker(host_url) as taker:
        assert taker.ask("take", mode="read", name=name) == "held"
        with manager.read_lock(name, timeout=0):
            assert manager.get_lock_status(name)["readers"] == 2


@pytest.mark.parametrize("mode", ["write", "distributed"])
def test_nothing_is_lost(host_url: str, name: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / "number"
    path.write_text("0")
    with ExitStack() as stack:
        takers = [stack.enter_context(lock_taker(host_url)) for _ in range(4)]
        for taker in takers:
            taker.send("add", name=name, path=str(path), times=200, mode=mode)
        for taker in takers:
            assert taker.answer() == 200
    assert path.read_text() == "800"


def test_a_waiter_gets_the_lock_at_the_first_release(host_url: str, name: str) -> None:
    """A holder that comes back at once stands behind those who waited: no polling waiter could keep that."""
    manager = LockManager(host_url)
    with lock_taker(host_url) as taker:
        for _ in range(20):
            guard = manager.write_lock(name)
            guard.acquire()
            taker.send("take", mode="write", name=name)
            until(lambda: waiters(manager, name) == 1)
            guard.release()
            assert guard.acquire(timeout=0) is False
            assert taker.answer() == "held"
            taker.ask("release", name=name)


def test_a_task_waits_for_another_process(host_url: str, name: str) -> None:
    manager = LockManager(host_url)

    async def enter() -> str:
        async with manager.write_lock(name):
            return "entered"

    async def main() -> None:
        with lock_taker(host_url) as taker:
            assert taker.ask("take", mode="write", name=name) == "held"
            waiting = asyncio.create_task(enter())
            await until_true(lambda: waiters(manager, name) == 1)
            turns = 0
            for _ in range(100):
                await asyncio.sleep(0)
                turns += 1
            assert (turns, waiting.done()) == (100, False)  # the loop goes on meanwhile
            taker.send("release", name=name)
            assert await waiting == "entered"

    asyncio.run(main())


@pytest.mark.parametrize("wait_in", ["thread", "task"])
def test_a_killed_holder_is_followed(host_url: str, name: str, wait_in: str) -> None:
    manager = LockManager(host_url)
    with lock_taker(host_url) as taker:
        assert taker.ask("take", mode="write", name=name) == "held"
        lock = manager.write_lock(name, timeout=None)
        waiting = Caller(lock.acquire if wait_in == "thread" else lambda: asyncio.run(lock.acquire_async()))
        until(lambda: waiters(manager, name) == 1)
        taker.kill()
        assert waiting.result() is True
    lock.release()
    assert is_free(manager, name)
    assert manager.get_statistics(name)["locks"]["write"]["total_errors"] == 1


def test_a_killed_waiter_leaves_the_queue(host_url: str, name: str) -> None:
    manager = LockManager(host_url)
    with lock_taker(host_url) as taker, manager.write_lock(name):
        taker.send("take", mode="write", name=name)
        until(lambda: waiters(manager, name) == 1)
        taker.kill()
    with manager.write_lock(name):
        pass
    until(lambda: is_free(manager, name))


def test_a_killed_holder_of_a_distributed_lock(space: str, name: str) -> None:
    """Its marker file stays behind, and blocks nobody."""
    with lock_taker("host:") as taker:
        assert taker.ask("take", mode="distributed", name=name) == "held"
        marker = DistributedLock(name).lock_file_path
        assert json.loads(marker.read_text())["pid"] == taker.pid
        taker.kill()
        with get_lock_manager().distributed_lock(name):
            assert json.loads(marker.read_text())["pid"] == os.getpid()
        assert not marker.exists()


def test_distributed_locks_reach_other_processes_without_any_setting(name: str) -> None:
    with lock_taker("") as taker:
        assert taker.ask("take", mode="distributed", name=name) == "held"
        with pytest.raises(TimeoutError), get_lock_manager().distributed_lock(name, timeout=SHORT):
            pytest.fail("entered beside another process")
        taker.send("release", name=name)
        with get_lock_manager().distributed_lock(name):
            assert (LOCK_DIR / DistributedLock(name).lock_file_path.name).exists()


async def test_a_distributed_lock_held_elsewhere_blocks_as_it_always_did(name: str) -> None:
    """`with` in async code, and another process holds: the loop is blocked, as the contract has it."""
    with lock_taker("") as taker:
        assert taker.ask("take", mode="distributed", name=name) == "held"
        with pytest.raises(TimeoutError), get_lock_manager().distributed_lock(name, timeout=SHORT):
            pytest.fail("entered beside another process")


AGENT = """
import asyncio, sys
from concurrent_locks import get_lock_manager, write_lock

@write_lock("number-of-agents")
async def add(path):
    with open(path, "r+") as file:
        number = int(file.read())
        await asyncio.sleep(0)
        file.seek(0)
        file.write(str(number + 1))

async def main():
    await asyncio.gather(*(add(sys.argv[1]) for _ in range(100)))

assert get_lock_manager().url.startswith("host:")
asyncio.run(main())
"""


def test_one_environment_variable_carries_asyncio_locks_across_processes(tmp_path: Path) -> None:
    path = tmp_path / "number"
    path.write_text("0")
    environment = {**os.environ, "CONCURRENT_LOCKS_URL": f"host:{tmp_path}/agents.table"}
    agents = [subprocess.Popen([sys.executable, "-c", AGENT, str(path)], env=environment) for _ in range(4)]
    assert [agent.wait() for agent in agents] == [0, 0, 0, 0]
    assert path.read_text() == "400"
