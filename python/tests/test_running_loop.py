"""A `with` on a thread whose event loop runs: it waits for others, and never for what the blocked loop runs itself."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from pathlib import Path

import pytest
from concurrent_locks import LockManager, get_lock_manager, write_lock
from conftest import SPACE, server_url
from facts import SHORT, is_free, until, until_true, waiters
from holders import Caller, Holder, gets, gets_async, held_by_task, held_by_thread
from lock_taker import lock_taker

URL = "CONCURRENT_LOCKS_URL"

ADDER = """
import asyncio, sys
from concurrent_locks import write_lock

@write_lock(sys.argv[1])
def add():
    with open(sys.argv[2], "r+") as file:
        number = int(file.read())
        file.seek(0)
        file.write(str(number + 1))

async def agent():
    for _ in range(25):
        add()
        await asyncio.sleep(0)

async def main():
    await asyncio.gather(*(agent() for _ in range(4)))

asyncio.run(main())
"""


@pytest.fixture(params=["host", "redis", "postgres"])
def process_url(request: pytest.FixtureRequest, host_url: str) -> str:
    """The URL of an engine that other processes reach."""
    if request.param == "host":
        return host_url
    return f"{server_url(f'LOCKS_TEST_{request.param.upper()}')}?space={SPACE}"


def let_go_when_waited_for(manager: LockManager, name: str, holder: Holder, waiting: int = 1) -> None:
    """The thread of `held_by_thread` leaves as soon as so many wait."""
    Caller(lambda: (until(lambda: waiters(manager, name) == waiting), holder.leave.set()))


async def test_a_free_lock_is_taken(manager: LockManager, name: str) -> None:
    with manager.write_lock(name):
        assert not is_free(manager, name)
    assert is_free(manager, name)


async def test_a_lock_that_a_task_of_this_loop_holds_raises(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)):
        with pytest.raises(RuntimeError, match="async with"), manager.read_lock(name):
            pytest.fail("entered beside a writer")
        with pytest.raises(RuntimeError, match="event loop"):
            manager.read_lock(name).acquire()
    assert is_free(manager, name)


async def test_it_waits_for_a_thread(manager: LockManager, name: str) -> None:
    with held_by_thread(manager.write_lock(name)) as holder:
        let_go_when_waited_for(manager, name, holder)
        with manager.write_lock(name):
            pass
        with manager.read_lock(name), manager.read_lock(name):
            pass
    assert is_free(manager, name)


async def test_it_waits_for_another_process(process_url: str, name: str) -> None:
    manager = LockManager(process_url)
    with lock_taker(process_url) as other:
        for mode in ("write", "read"):
            assert other.ask("take", mode=mode, name=name) == "held"
            release = Caller(lambda: (until(lambda: waiters(manager, name) == 1), other.ask("release", name=name)))
            with manager.write_lock(name):
                assert release.result()[1] == "released"


async def test_decorated_functions_of_several_processes_lose_nothing(host_url: str, name: str, tmp_path: Path) -> None:
    """Plain functions called from tasks, as in a real agent memory: every call that returns has written."""
    number = tmp_path / "number"
    number.write_text("0")
    programs = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", ADDER, name, str(number), env={**os.environ, URL: host_url}
        )
        for _ in range(3)
    ]
    for program in programs:
        assert await program.wait() == 0
    assert int(number.read_text()) == 3 * 4 * 25


async def test_an_earlier_waiter_of_this_loop_is_in_the_way(manager: LockManager, name: str) -> None:
    """The lock would be handed to a task that the blocked loop cannot run."""
    with held_by_thread(manager.write_lock(name)):
        waiting = asyncio.create_task(manager.write_lock(name).acquire_async())
        await until_true(lambda: waiters(manager, name) == 1)
        with pytest.raises(RuntimeError, match="is before it in the queue"):
            manager.write_lock(name).acquire()
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_readers_of_this_loop_are_not_in_a_readers_way(table_manager: LockManager, name: str) -> None:
    """They are granted together."""
    manager = table_manager
    with held_by_thread(manager.write_lock(name)) as holder:
        waiting = asyncio.create_task(gets_async(manager.read_lock(name)))
        await until_true(lambda: waiters(manager, name) == 1)
        let_go_when_waited_for(manager, name, holder, waiting=2)
        with manager.read_lock(name):
            pass
    assert await waiting is True


async def test_a_reader_of_this_loop_is_in_the_way_of_one_behind_a_writer(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.read_lock(name)):
        writer = Caller(gets, manager.write_lock(name))
        await until_true(lambda: waiters(manager, name) == 1)
        with pytest.raises(RuntimeError, match="event loop"):
            manager.read_lock(name).acquire()
    await asyncio.to_thread(writer.join)


async def test_what_the_thread_held_before_the_loop_ran_is_in_the_way(name: str) -> None:
    manager = LockManager("local:tests")

    def thread() -> None:
        async def enter() -> None:
            with pytest.raises(RuntimeError, match="a thread of this thread"):
                manager.write_lock(name).acquire()

        with manager.write_lock(name):
            asyncio.run(enter())

    Caller(thread).result()


async def test_the_task_that_took_it_may_be_over(manager: LockManager, name: str) -> None:
    """In Python 3.11 `wait_for` makes a task of its own, which holds."""
    guard = manager.write_lock(name)
    assert await asyncio.create_task(guard.acquire_async())
    with pytest.raises(RuntimeError, match="event loop"):
        manager.write_lock(name).acquire()
    guard.release()


async def test_several_locks(manager: LockManager, name: str) -> None:
    names = {f"{name}-1": "write", f"{name}-2": "write"}
    with held_by_thread(manager.write_lock(f"{name}-1")) as holder:
        async with held_by_task(manager.write_lock(f"{name}-2")):
            with pytest.raises(RuntimeError, match="event loop"):
                manager.lock_all(names).acquire()
            assert is_free(manager, f"{name}-1") is False
        let_go_when_waited_for(manager, f"{name}-1", holder)
        with manager.lock_all(names):
            pass


async def test_an_upgrade(table_manager: LockManager, name: str) -> None:
    manager = table_manager
    async with held_by_task(manager.read_lock(name)):
        with manager.read_lock(name) as guard:
            with pytest.raises(RuntimeError, match="event loop"):
                guard.upgrade()
            assert guard.mode.value == "read"
    with held_by_thread(manager.read_lock(name)) as holder:
        with manager.read_lock(name) as guard:
            let_go_when_waited_for(manager, name, holder)
            guard.upgrade()
            assert guard.mode.value == "write"


async def test_a_named_owner_lives_where_its_tasks_live(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name, owner="agent-7")):
        with pytest.raises(RuntimeError, match="agent-7"):
            manager.write_lock(name, owner="agent-8").acquire()
    with held_by_thread(manager.write_lock(name, owner="agent-9")) as holder:
        let_go_when_waited_for(manager, name, holder)
        with manager.write_lock(name, owner="agent-8"):
            pass


async def test_one_try_is_no_blocking(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)):
        assert manager.write_lock(name).acquire(blocking=False) is False
        with pytest.raises(TimeoutError), manager.write_lock(name, timeout=0):
            pytest.fail("entered beside a writer")


async def test_a_decorated_plain_function(name: str) -> None:
    @write_lock(name)
    def section() -> str:
        return "entered"

    assert section() == "entered"
    async with held_by_task(get_lock_manager().write_lock(name)):
        with pytest.raises(RuntimeError, match="async with"):
            section()


async def test_a_distributed_lock_held_by_this_process(name: str) -> None:
    manager = get_lock_manager()
    async with held_by_task(manager.distributed_lock(name)):
        with pytest.raises(RuntimeError, match="async with"), manager.distributed_lock(name):
            pytest.fail("entered beside another")


async def test_a_distributed_lock_held_by_a_thread(name: str) -> None:
    manager = get_lock_manager()
    across = LockManager("host:")
    with held_by_thread(manager.distributed_lock(name)) as holder:
        let_go_when_waited_for(across, name, holder)
        with manager.distributed_lock(name):
            pass


async def test_a_child_of_a_task_that_holds_waits_for_its_parent_process(host_url: str, name: str) -> None:
    """The parent's tasks are not the child's: forked in a task, it waits until it times out."""
    manager = LockManager(host_url)
    async with manager.write_lock(name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                manager.write_lock(name, timeout=SHORT).__enter__()
            except TimeoutError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_in_a_worker_thread_of_the_loop(manager: LockManager, name: str) -> None:
    """`asyncio.to_thread` has no running loop in its thread: there it may block."""

    def section() -> str:
        with manager.write_lock(name):
            return "entered"

    async with held_by_task(manager.write_lock(name)):
        waiting = asyncio.create_task(asyncio.to_thread(section))
        while manager.get_lock_status(name)["pending_requests"] == 0:
            await asyncio.sleep(0.001)
    assert await waiting == "entered"
