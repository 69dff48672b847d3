"""Owners: who re-enters, how they are called, priority and note."""

from __future__ import annotations

import asyncio
import threading

import pytest
from concurrent_locks import LockManager
from facts import SHORT, is_free, until_true, waiters
from holders import Caller, gets, held_by_task, held_by_thread


async def test_a_task_re_enters_what_it_holds(manager: LockManager, name: str) -> None:
    async with manager.write_lock(name), manager.write_lock(name, timeout=0), manager.read_lock(name, timeout=0):
        pass
    async with manager.read_lock(name), manager.read_lock(name, timeout=0):
        pass
    assert is_free(manager, name)


async def test_a_reader_re_enters_although_a_writer_waits(manager: LockManager, name: str) -> None:
    async with manager.read_lock(name):
        writing = asyncio.create_task(manager.write_lock(name).acquire_async())
        await until_true(lambda: waiters(manager, name) == 1)
        async with manager.read_lock(name, timeout=0):
            pass
        writing.cancel()
        await asyncio.wait({writing})


def test_a_thread_re_enters_what_it_holds(manager: LockManager, name: str) -> None:
    with manager.write_lock(name), manager.write_lock(name, timeout=0), manager.read_lock(name, timeout=0):
        pass
    assert is_free(manager, name)


async def test_another_task_does_not(manager: LockManager, name: str) -> None:
    async with manager.write_lock(name):

        async def other() -> bool:
            return await manager.read_lock(name).acquire_async(timeout=0)

        assert await asyncio.create_task(other()) is False
        assert await asyncio.gather(other(), other()) == [False, False]


async def test_a_task_and_its_thread_are_two(manager: LockManager, name: str) -> None:
    async with manager.write_lock(name):
        call = Caller(manager.write_lock(name, timeout=SHORT).acquire)
        await until_true(lambda: not call.is_alive())
        assert call.result() is False


async def test_a_named_owner_is_one_in_all_its_tasks(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name, owner="agent-7")) as holder:
        assert not holder.done()
        async with manager.write_lock(name, owner="agent-7", timeout=0):
            pass
        with pytest.raises(TimeoutError):
            async with manager.write_lock(name, owner="agent-8", timeout=0):
                pass


def test_a_named_owner_is_one_in_all_its_threads(manager: LockManager, name: str) -> None:
    with held_by_thread(manager.write_lock(name, owner="agent-7")):
        assert gets(manager.write_lock(name, owner="agent-7", timeout=0))


async def test_the_label_is_the_name_of_the_task(manager: LockManager, name: str) -> None:
    async def hold() -> str:
        async with manager.write_lock(name):
            return str(manager.get_lock_status(name)["current_writer"])

    assert await asyncio.create_task(hold(), name="agent-9") == "agent-9"


def test_the_label_is_the_name_of_the_thread(manager: LockManager, name: str) -> None:
    def hold() -> str:
        with manager.write_lock(name):
            return str(manager.get_lock_status(name)["current_writer"])

    assert Caller(hold, name="worker-3").result() == "worker-3"


@pytest.mark.parametrize("long", ["x" * 100, "ü" * 30, "鎖" * 20])
async def test_a_long_task_name_is_cut_and_stays_text(manager: LockManager, name: str, long: str) -> None:
    async def hold() -> str:
        async with manager.write_lock(name):
            return str(manager.get_lock_status(name)["current_writer"])

    label = await asyncio.create_task(hold(), name=long)
    assert long.startswith(label)
    assert 36 <= len(label.encode()) <= 40


async def test_note_and_owner_are_seen(manager: LockManager, name: str) -> None:
    async with manager.write_lock(name, owner="agent-7", note="logging in", priority=3):
        (holder,) = manager.status(name)[name]["holders"]
        assert (holder["label"], holder["note"], holder["priority"]) == ("agent-7", "logging in", 3)
        assert holder["mode"] == "write"


async def test_the_urgent_come_first(manager: LockManager, name: str) -> None:
    order: list[str] = []

    async def enter(label: str, priority: int) -> None:
        async with manager.write_lock(name, owner=label, priority=priority):
            order.append(label)

    async with held_by_task(manager.write_lock(name)):
        tasks = []
        for number, (label, priority) in enumerate([("low", -100), ("plain", 0), ("urgent", 100)]):
            tasks.append(asyncio.create_task(enter(label, priority)))
            await until_true(lambda waiting=number + 1: waiters(manager, name) == waiting)
    await asyncio.gather(*tasks)
    assert order == ["urgent", "plain", "low"]


def test_invalid_owners_are_refused(manager: LockManager, name: str) -> None:
    with pytest.raises(TypeError):
        manager.read_lock(name, owner=7)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        manager.read_lock(name, priority="high")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        manager.read_lock(name, 10.0, 5)  # type: ignore[misc]


def test_thread_names_do_not_tie_threads_together(manager: LockManager, name: str) -> None:
    """Two threads of one name are two owners."""
    entered = []

    def work() -> None:
        entered.append(manager.write_lock(name, timeout=0).acquire())

    with held_by_thread(manager.write_lock(name)):
        thread = threading.Thread(target=work, name="holder")
        thread.start()
        thread.join()
    assert entered == [False]
