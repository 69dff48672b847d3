"""What is seen beyond the old shapes: status in full, events, health."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from concurrent_locks import LockManager
from facts import until_true, waiters
from holders import Caller, held_by_task
from lock_taker import lock_taker

HOLDER = {"owner", "label", "pid", "host", "mode", "since", "held_ms", "priority", "token", "note", "process"}
WAITER = {"owner", "label", "pid", "host", "mode", "since", "waited_ms", "priority", "token", "note", "process"}


def kinds(events: list[dict[str, Any]], name: str) -> list[str]:
    return [event["kind"] for event in events if event["resource"] == name]


async def test_status_in_full(manager: LockManager, name: str) -> None:
    async with held_by_task(manager.write_lock(name, owner="agent-1")):
        waiting = asyncio.create_task(manager.read_lock(name, owner="agent-2", note="why").acquire_async())
        await until_true(lambda: waiters(manager, name) == 1)
        shown = manager.status(name)[name]
        (holder,), (waiter,) = shown["holders"], shown["waiters"]
        assert set(holder) == HOLDER
        assert set(waiter) == WAITER
        assert (holder["label"], waiter["label"], waiter["note"]) == ("agent-1", "agent-2", "why")
        assert manager.status()[name]["writer_active"]
        assert json.loads(json.dumps(shown)) == shown
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_events(manager: LockManager, name: str) -> None:
    _, cursor = manager.events()
    async with manager.write_lock(name):
        pass
    events, following = manager.events(cursor)
    assert kinds(events, name) == ["grant", "release"]
    assert following > cursor
    assert kinds(manager.events(following)[0], name) == []


def test_events_are_waited_for(host_url: str, name: str) -> None:
    """Of another process, too."""
    manager = LockManager(host_url)
    _, cursor = manager.events()
    with lock_taker(host_url) as taker:
        waiting = Caller(manager.events, cursor, 60.0)
        taker.ask("take", mode="write", name=name)
        assert "grant" in kinds(waiting.result()[0], name)
        taker.ask("release", name=name)


def test_health(manager: LockManager, name: str) -> None:
    with manager.write_lock(name):
        health = manager.health()
    assert health["problems"] == []
    assert health["requests"]["used"] >= 1
    assert manager.url == health["url"]
