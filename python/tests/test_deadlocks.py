"""Deadlocks between tasks, between threads, and between both: one side is refused, the other continues."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
import time
from typing import Any

import pytest
from concurrent_locks import DeadlockError, LockManager
from facts import is_free
from holders import Caller


def assert_one_side_was_refused(outcomes: list[object], a: str, b: str) -> None:
    errors = [each for each in outcomes if isinstance(each, DeadlockError)]
    assert len(errors) == 1 and outcomes.count("done") == 1, outcomes
    (error,) = errors
    assert not isinstance(error, TimeoutError)
    assert isinstance(error, RuntimeError)
    assert {link["waits_for"] for link in error.cycle} == {a, b}
    assert all(link["label"] for link in error.cycle)
    assert a in str(error)
    assert b in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.cycle) == (str(error), error.cycle)


async def test_between_two_tasks(manager: LockManager, name: str) -> None:
    a, b = name + "-a", name + "-b"
    both_hold = asyncio.Barrier(2)

    async def take(first: str, second: str) -> str:
        async with manager.write_lock(first):
            await both_hold.wait()
            async with manager.write_lock(second, timeout=None):
                return "done"

    outcomes = await asyncio.gather(take(a, b), take(b, a), return_exceptions=True)
    assert_one_side_was_refused(outcomes, a, b)
    assert is_free(manager, a)
    assert is_free(manager, b)


def test_between_two_threads(manager: LockManager, name: str) -> None:
    a, b = name + "-a", name + "-b"
    both_hold = threading.Barrier(2)

    def take(first: str, second: str) -> object:
        try:
            with manager.write_lock(first):
                both_hold.wait()
                with manager.write_lock(second, timeout=None):
                    return "done"
        except DeadlockError as error:
            return error

    callers = [Caller(take, a, b), Caller(take, b, a)]
    assert_one_side_was_refused([caller.result() for caller in callers], a, b)


def test_between_a_task_and_a_thread(manager: LockManager, name: str) -> None:
    a, b = name + "-a", name + "-b"
    both_hold = threading.Barrier(2)

    def in_a_thread() -> object:
        try:
            with manager.write_lock(a):
                both_hold.wait()
                with manager.write_lock(b, timeout=None):
                    return "done"
        except DeadlockError as error:
            return error

    def in_a_task() -> object:
        async def take() -> str:
            async with manager.write_lock(b):
                await asyncio.to_thread(both_hold.wait)
                async with manager.write_lock(a, timeout=None):
                    return "done"

        try:
            return asyncio.run(take())
        except DeadlockError as error:
            return error

    callers = [Caller(in_a_thread), Caller(in_a_task)]
    assert_one_side_was_refused([caller.result() for caller in callers], a, b)


async def test_of_three(manager: LockManager, name: str) -> None:
    names = [f"{name}-{number}" for number in range(3)]
    all_hold = asyncio.Barrier(3)

    async def take(number: int) -> str:
        async with manager.write_lock(names[number]):
            await all_hold.wait()
            async with manager.write_lock(names[(number + 1) % 3], timeout=None):
                return "done"

    outcomes = await asyncio.gather(*(take(number) for number in range(3)), return_exceptions=True)
    errors = [each for each in outcomes if isinstance(each, DeadlockError)]
    assert len(errors) == 1 and outcomes.count("done") == 2, outcomes
    assert len(errors[0].cycle) == 3


async def test_the_least_urgent_is_the_victim(manager: LockManager, name: str) -> None:
    a, b = name + "-a", name + "-b"
    both_hold = asyncio.Barrier(2)

    async def take(first: str, second: str, priority: int) -> str:
        async with manager.write_lock(first):
            await both_hold.wait()
            async with manager.write_lock(second, timeout=None, priority=priority):
                return "done"

    outcomes = await asyncio.gather(take(a, b, 5), take(b, a, -5), return_exceptions=True)
    assert outcomes[0] == "done"
    assert isinstance(outcomes[1], DeadlockError)


async def test_two_tasks_of_one_loop_that_do_not_deadlock(manager: LockManager, name: str) -> None:
    """Detection goes by task, not by thread: here nobody waits in a cycle.

    It fails by a false alarm, and by nothing else.
    """
    a, b = name + "-a", name + "-b"

    async def take(number: int) -> str:
        async with manager.write_lock(a):
            await asyncio.sleep(0)
            async with manager.write_lock(b):
                await asyncio.sleep(0)
                return "done"

    assert await asyncio.gather(*(take(number) for number in range(20))) == ["done"] * 20


async def test_a_writer_inside_its_own_read_is_refused(manager: LockManager, name: str) -> None:
    """It cannot be granted while the same task reads beside another reader that does the same."""
    both_hold = asyncio.Barrier(2)

    async def read_then_write() -> str:
        async with manager.read_lock(name):
            await both_hold.wait()
            async with manager.write_lock(name, timeout=None):
                return "done"

    outcomes = await asyncio.gather(read_then_write(), read_then_write(), return_exceptions=True)
    assert any(isinstance(each, DeadlockError) for each in outcomes), outcomes
    assert is_free(manager, name)


THRESHOLD = 0.05


async def suspects(manager: LockManager, name: str) -> list[dict[str, Any]]:
    """What is listed while `agent-2` waits for what `agent-1` holds."""
    async with manager.write_lock(name, owner="agent-1"):
        waiting = asyncio.create_task(manager.write_lock(name, timeout=60.0, owner="agent-2").acquire_async())
        while manager.get_lock_status(name)["pending_requests"] == 0:
            await asyncio.sleep(0.001)
        entries: list[dict[str, Any]] = []
        while not entries and not waiting.done():  # until it has waited for longer than the threshold
            entries = [each for each in await manager.detect_deadlocks(threshold=THRESHOLD) if each["resource"] == name]
        assert not [each for each in await manager.detect_deadlocks(threshold=3600.0) if each["resource"] == name]
        waiting.cancel()
        await asyncio.wait({waiting})
    return entries


async def test_entries_of_suspects(manager: LockManager, name: str) -> None:
    """A wait that is longer than the threshold is listed, in the shape of the old module and with its cycle."""
    begun = time.monotonic()
    (entry,) = await suspects(manager, name)
    assert THRESHOLD < entry["wait_time_seconds"] <= time.monotonic() - begun + 1  # a server has a clock of its own
    assert entry["requester"] == "agent-2"
    assert entry["lock_type"] == "write"
    assert entry["timeout"] == pytest.approx(60.0)
    assert entry["current_writer"] == "agent-1"
    assert entry["current_readers"] == []
    assert entry["pending_writes"] == 1
    assert isinstance(entry["request_id"], str)
    assert entry["cycle"] == []


async def test_entries_of_a_cycle(manager: LockManager, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry for each member, in the same shape.

    A cycle is broken before anybody can query it: its victim reports it here, while all else still stands.
    """
    a, b = name + "-a", name + "-b"
    both_hold = asyncio.Barrier(2)

    async def take(agent: str, first: str, second: str) -> list[dict[str, Any]]:
        async with manager.write_lock(first, owner=agent):
            await both_hold.wait()
            try:
                async with manager.write_lock(second, timeout=60.0, owner=agent):
                    return []
            except DeadlockError as error:
                report = json.dumps({"cycles": [{"links": error.cycle}], "suspects": []})
                monkeypatch.setattr(manager, "_deadlocks_json", lambda threshold: report)
                return await manager.detect_deadlocks()

    listed = await suspects(manager, name)
    found = await asyncio.gather(take("agent-1", a, b), take("agent-2", b, a))
    victim = 0 if found[0] else 1
    entries = {entry["requester"]: entry for entry in found[victim]}
    assert sorted(entries) == ["agent-1", "agent-2"]
    assert [entries[agent]["resource"] for agent in sorted(entries)] == [b, a]
    assert [entries[agent]["current_writer"] for agent in sorted(entries)] == ["agent-2", "agent-1"]
    for agent, entry in entries.items():
        gave_up = agent == f"agent-{victim + 1}"
        assert entry["lock_type"] == "write"
        assert 0 <= entry["wait_time_seconds"] < 60
        assert entry["timeout"] == (None if gave_up else 60.0)
        assert entry["current_readers"] == []
        assert entry["pending_writes"] == (0 if gave_up else 1)
        assert entry["cycle"][0]["label"] == f"agent-{victim + 1}"
        assert entry["request_id"] in [link["owner"] for link in entry["cycle"]]
    for entry in entries.values():
        assert entry.keys() == listed[0].keys()
