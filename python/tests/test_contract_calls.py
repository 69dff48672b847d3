"""The calls of the contract: who may enter together, what is raised, what is left behind."""

from __future__ import annotations

import asyncio

import pytest
from concurrent_locks import AsyncRWLock, LockManager
from facts import SHORT, is_free, until_true, waiters
from holders import held_by_task


async def test_readers_enter_together(manager: LockManager, name: str) -> None:
    everybody = asyncio.Barrier(10)

    async def read() -> None:
        async with manager.read_lock(name):
            await everybody.wait()  # comes only when all ten are inside

    await asyncio.gather(*(read() for _ in range(10)))
    assert is_free(manager, name)


@pytest.mark.parametrize("second", ["read", "write"])
async def test_a_writer_is_alone(manager: LockManager, name: str, second: str) -> None:
    lock = manager.read_lock if second == "read" else manager.write_lock
    async with held_by_task(manager.write_lock(name)):
        with pytest.raises(TimeoutError):
            async with lock(name, timeout=SHORT):
                pytest.fail("entered beside a writer")
    async with lock(name, timeout=SHORT):
        pass


async def test_a_writer_waits_for_readers(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.read_lock(name)):
        with pytest.raises(TimeoutError):
            async with manager.write_lock(name, timeout=SHORT):
                pytest.fail("entered beside a reader")
    assert is_free(manager, name)


async def test_other_names_are_other_locks(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)), manager.write_lock(name + "-2", timeout=0):
        pass


async def test_writers_enter_in_the_order_in_which_they_came(manager: LockManager, name: str) -> None:
    order: list[int] = []

    async def write(number: int) -> None:
        async with manager.write_lock(name):
            order.append(number)
            await asyncio.sleep(0)

    async with held_by_task(manager.write_lock(name)):
        tasks = []
        for number in range(8):
            tasks.append(asyncio.create_task(write(number)))
            await until_true(lambda waiting=number + 1: waiters(manager, name) == waiting)
    await asyncio.gather(*tasks)
    assert order == list(range(8))


async def test_a_reader_does_not_overtake_a_waiting_writer(manager: LockManager, name: str) -> None:
    order: list[str] = []

    async def enter(mode: str) -> None:
        async with getattr(manager, f"{mode}_lock")(name):
            order.append(mode)

    async with held_by_task(manager.read_lock(name)):
        writing = asyncio.create_task(enter("write"))
        await until_true(lambda: waiters(manager, name) == 1)
        reading = asyncio.create_task(enter("read"))
        await until_true(lambda: waiters(manager, name) == 2)
        assert order == []
    await asyncio.gather(writing, reading)
    assert order == ["write", "read"]


@pytest.mark.parametrize("mode", ["read", "write"])
async def test_an_exception_goes_through_unchanged_and_releases(manager: LockManager, name: str, mode: str) -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with getattr(manager, f"{mode}_lock")(name):
            raise error
    assert caught.value is error
    assert is_free(manager, name)


async def test_the_timeout_may_be_given_by_position_or_name(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name, 30.0)):
        for lock in (manager.read_lock(name, SHORT), manager.write_lock(resource_name=name, timeout=SHORT)):
            with pytest.raises(TimeoutError):
                async with lock:
                    pass


async def test_a_timed_out_waiter_leaves_no_trace(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)):
        for mode in ("read", "write"):
            with pytest.raises(TimeoutError):
                async with getattr(manager, f"{mode}_lock")(name, timeout=SHORT):
                    pass
            assert waiters(manager, name) == 0
    assert is_free(manager, name)


async def test_an_rw_lock_object(name: str) -> None:
    lock = AsyncRWLock(name)
    assert lock.resource_name == name
    async with lock.read_lock(), held_by_task(lock.read_lock(timeout=5.0)):
        assert lock.get_status()["readers"] == 2
    async with held_by_task(lock.write_lock(timeout=5.0, requester="agent-7")):
        assert lock.get_status()["current_writer"] == "agent-7"
        with pytest.raises(TimeoutError):
            async with lock.read_lock(timeout=SHORT, requester="agent-8"):
                pass
    status = lock.get_status()
    assert (status["readers"], status["writer_active"], status["pending_requests"]) == (0, False, 0)


async def test_rw_lock_objects_of_one_name_are_one_lock(name: str) -> None:
    async with held_by_task(AsyncRWLock(name).write_lock()):
        with pytest.raises(TimeoutError):
            async with AsyncRWLock(name).read_lock(timeout=SHORT):
                pass
