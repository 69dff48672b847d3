"""Who holds what, who waits, and how long it took: while it happens, and afterwards.

python demo_monitoring.py
"""

from __future__ import annotations

import asyncio
import json

from concurrent_locks import get_lock_manager

NAME = "episodic_db:demo.db"


async def section(mode: str, label: str, leave: asyncio.Event) -> None:
    locks = get_lock_manager()
    lock = locks.read_lock if mode == "read" else locks.write_lock
    async with lock(NAME, owner=label, note=f"{label} at work"):
        await leave.wait()


async def main() -> None:
    locks = get_lock_manager()
    leave = asyncio.Event()
    tasks = [
        asyncio.create_task(section(mode, label, leave))
        for mode, label in [("write", "agent-1"), ("read", "agent-2"), ("read", "agent-3"), ("write", "agent-4")]
    ]
    while locks.get_lock_status(NAME).get("pending_requests", 0) < 3:
        await asyncio.sleep(0)

    print("While it happens:")
    status = locks.get_lock_status(NAME)
    print(
        f"  {status['current_writer']} writes, {status['pending_requests']} wait, {status['pending_writes']} to write"
    )
    for waiter in locks.status(NAME)[NAME]["waiters"]:
        print(f"  {waiter['label']} waits to {waiter['mode']}: {waiter['note']}")
    assert status["current_writer"] == "agent-1"
    assert await locks.detect_deadlocks() == []

    leave.set()
    await asyncio.gather(*tasks)

    print("Afterwards:")
    statistics = locks.get_statistics(NAME)
    for mode, each in statistics["locks"].items():
        print(
            f"  {mode:>5}: {each['total_acquisitions']} acquisitions, {each['total_timeouts']} time-outs, "
            f"longest wait {each['max_wait_time_ms']:.2f} ms, longest hold {each['max_hold_time_ms']:.2f} ms"
        )
    print("The last operations:")
    for operation in statistics["locks"]["write"]["recent_operations"]:
        print("  " + json.dumps({key: operation[key] for key in ("type", "lock_type", "requester")}))
    assert all(each["total_acquisitions"] == each["total_releases"] == 2 for each in statistics["locks"].values())


if __name__ == "__main__":
    asyncio.run(main())
