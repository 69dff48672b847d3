"""The dictionaries that monitoring code reads, key by key."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from concurrent_locks import LockManager, get_lock_manager
from facts import SHORT, until_true, waiters
from holders import held_by_task

STATISTICS = {
    "resource_name": str,
    "lock_type": str,
    "total_acquisitions": int,
    "total_releases": int,
    "total_timeouts": int,
    "total_errors": int,
    "avg_wait_time_ms": float,
    "min_wait_time_ms": float,
    "max_wait_time_ms": float,
    "avg_hold_time_ms": float,
    "min_hold_time_ms": float,
    "max_hold_time_ms": float,
    "current_holders": int,
    "current_waiters": int,
    "recent_operations": list,
}
STATUS = {
    "resource_name": str,
    "readers": int,
    "writer_active": bool,
    "current_writer": (str, type(None)),
    "current_readers": list,
    "pending_writes": int,
    "pending_requests": int,
}


def assert_shape(shown: dict[str, Any], shape: dict[str, Any]) -> None:
    for key, kind in shape.items():
        kinds = (int, float) if kind is float else kind
        assert isinstance(shown[key], kinds), (key, shown[key])
    assert json.loads(json.dumps(shown)) == shown


async def use(manager: LockManager, name: str) -> None:
    """Two reads, one write, one write that times out."""
    async with manager.read_lock(name), held_by_task(manager.read_lock(name)):
        pass
    async with held_by_task(manager.write_lock(name)):
        with pytest.raises(TimeoutError):
            async with manager.write_lock(name, timeout=SHORT):
                pass


async def test_statistics_of_one_name(manager: LockManager, name: str) -> None:
    await use(manager, name)
    shown = manager.get_statistics(name)
    assert shown["resource_name"] == name
    assert set(shown["locks"]) == {"read", "write"}
    for lock_type, statistics in shown["locks"].items():
        assert_shape(statistics, STATISTICS)
        assert statistics["resource_name"] == name
        assert statistics["lock_type"] == lock_type
    read, write = shown["locks"]["read"], shown["locks"]["write"]
    assert (read["total_acquisitions"], read["total_releases"], read["total_timeouts"]) == (2, 2, 0)
    assert (write["total_acquisitions"], write["total_releases"], write["total_timeouts"]) == (1, 1, 1)
    assert write["total_errors"] == read["total_errors"] == 0
    for statistics in (read, write):
        for time in ("wait", "hold"):
            low, mean, high = (statistics[f"{kind}_{time}_time_ms"] for kind in ("min", "avg", "max"))
            assert 0 <= low <= mean <= high


async def test_statistics_of_all_names(manager: LockManager, name: str) -> None:
    await use(manager, name)
    async with manager.read_lock(name + "-2"):
        pass
    shown = manager.get_statistics()
    assert set(shown[name]) == {"read", "write"}
    assert set(shown[name + "-2"]) == {"read"}
    assert shown[name]["write"]["total_acquisitions"] == 1
    assert_shape(shown[name]["read"], STATISTICS)
    json.dumps(shown)


def test_statistics_of_a_name_nobody_used(manager: LockManager, name: str) -> None:
    assert manager.get_statistics(name) == {}
    assert name not in manager.get_statistics()


def test_statistics_of_a_distributed_lock(name: str) -> None:
    manager = get_lock_manager()
    with manager.distributed_lock(name):
        held = manager.get_statistics(name)["locks"]["distributed"]
        assert (held["current_holders"], held["total_acquisitions"], held["total_releases"]) == (1, 1, 0)
    shown = manager.get_statistics(name)
    assert set(shown["locks"]) == {"distributed"}
    statistics = shown["locks"]["distributed"]
    assert_shape(statistics, STATISTICS)
    assert statistics["lock_type"] == "distributed"
    assert (statistics["current_holders"], statistics["total_releases"]) == (0, 1)
    assert [each["type"] for each in statistics["recent_operations"]] == ["acquire", "release"]
    assert manager.get_statistics()[name]["distributed"] == statistics


async def test_recent_operations(manager: LockManager, name: str) -> None:
    await use(manager, name)
    write = manager.get_statistics(name)["locks"]["write"]["recent_operations"]
    assert sorted(each["type"] for each in write) == ["acquire", "release", "timeout"]
    for operation in write:
        assert operation["lock_type"] == "write"
        assert isinstance(operation["timestamp"], float)
        assert isinstance(operation["requester"], str)
        assert operation["requester"]
        assert ("hold_time" in operation) == (operation["type"] == "release")
        assert ("wait_time" in operation) == (operation["type"] != "release")
    assert next(each for each in write if each["type"] == "timeout")["wait_time"] >= SHORT


async def test_the_last_hundred_operations_are_kept(manager: LockManager, name: str) -> None:
    for _ in range(120):
        async with manager.write_lock(name):
            pass
    statistics = manager.get_statistics(name)["locks"]["write"]
    assert len(statistics["recent_operations"]) == 100
    assert statistics["total_acquisitions"] == 120
    stamps = [each["timestamp"] for each in statistics["recent_operations"]]
    assert stamps == sorted(stamps)


async def test_current_holders_and_waiters(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name)):
        waiting = asyncio.create_task(use(manager, name))
        await until_true(lambda: waiters(manager, name) == 1)
        locks = manager.get_statistics(name)["locks"]
        assert locks["write"]["current_holders"] == 1
        assert locks["read"]["current_waiters"] == 1
    await waiting
    for statistics in manager.get_statistics(name)["locks"].values():
        assert (statistics["current_holders"], statistics["current_waiters"]) == (0, 0)


async def test_reset_of_one_name(manager: LockManager, name: str) -> None:
    await use(manager, name)
    await use(manager, name + "-2")
    manager.reset_statistics(name)
    assert manager.get_statistics(name) == {} or all(
        each["total_acquisitions"] == 0 for each in manager.get_statistics(name)["locks"].values()
    )
    assert manager.get_statistics(name + "-2")["locks"]["write"]["total_acquisitions"] == 1


async def test_reset_of_all_names(empty_manager: LockManager) -> None:
    await use(empty_manager, "a")
    await use(empty_manager, "b")
    empty_manager.reset_statistics()
    for locks in empty_manager.get_statistics().values():
        assert all(each["total_acquisitions"] == 0 for each in locks.values())


def test_reset_of_a_distributed_lock(name: str) -> None:
    manager = get_lock_manager()
    with manager.distributed_lock(name):
        pass
    manager.reset_statistics(name)
    locks = manager.get_statistics(name).get("locks", {})
    assert all(each["total_acquisitions"] == 0 for each in locks.values())


async def test_status_answers_by_name_and_directly(manager: LockManager, name: str) -> None:
    async with manager.read_lock(name), held_by_task(manager.read_lock(name, owner="agent-7")):
        writing = asyncio.create_task(use_write(manager, name))
        await until_true(lambda: waiters(manager, name) == 1)
        shown = manager.get_lock_status(name)
        assert_shape(shown[name], STATUS)
        assert shown[name]["readers"] == shown["readers"] == 2
        assert shown["resource_name"] == name
        assert "agent-7" in shown["current_readers"]
        assert len(shown["current_readers"]) == 2
        assert (shown["pending_writes"], shown["pending_requests"]) == (1, 1)
        assert (shown["writer_active"], shown["current_writer"]) == (False, None)
        json.dumps(shown)
    await writing


async def use_write(manager: LockManager, name: str) -> None:
    async with manager.write_lock(name):
        pass


async def test_status_of_a_writer(manager: LockManager, name: str) -> None:
    async with manager.write_lock(name, owner="agent-7"):
        shown = manager.get_lock_status(name)
        assert (shown["writer_active"], shown["current_writer"], shown["readers"]) == (True, "agent-7", 0)


async def test_status_of_all_names(manager: LockManager, name: str) -> None:
    async with manager.read_lock(name), manager.write_lock(name + "-2"):
        shown = manager.get_lock_status()
        assert shown[name]["readers"] == 1
        assert shown[name + "-2"]["writer_active"] is True
        assert_shape(shown[name], STATUS)
        assert all(isinstance(each, dict) for each in shown.values())


async def test_no_deadlocks_is_an_empty_list(manager: LockManager, name: str) -> None:
    async with manager.write_lock(name):
        assert await manager.detect_deadlocks() == []
