"""What goes wrong, and what a program sees of it: time-outs, exceptions, cancelled tasks, deadlocks.

python demo_error_handling.py
"""

from __future__ import annotations

import asyncio

from concurrent_locks import DeadlockError, LockTimeoutError, get_lock_manager


async def time_out() -> None:
    """A time-out is a `TimeoutError` that names the holder."""
    locks = get_lock_manager()
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with locks.write_lock("profile", owner="agent-1", note="logging in"):
            entered.set()
            await leave.wait()

    holder = asyncio.create_task(hold())
    await entered.wait()
    try:
        async with locks.read_lock("profile", timeout=0.05):
            raise AssertionError("entered beside a writer")
    except LockTimeoutError as error:
        print(f"Time-out: {error.resource_name!r} is held by {error.holders[0]['label']} ({error.holders[0]['note']})")
    leave.set()
    await holder


async def fail_inside() -> None:
    """An exception goes through unchanged, and the lock is released."""
    locks = get_lock_manager()
    try:
        async with locks.write_lock("profile"):
            raise ValueError("the work failed")
    except ValueError as error:
        print(f"Exception: {error}; writer still there: {locks.get_lock_status('profile')['writer_active']}")


async def cancel() -> None:
    """A cancelled waiter leaves the queue at once."""
    locks = get_lock_manager()
    async with locks.write_lock("profile"):
        waiter = asyncio.create_task(locks.write_lock("profile").acquire_async())
        while locks.get_lock_status("profile")["pending_requests"] == 0:
            await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait({waiter})
        print(f"Cancelled: {locks.get_lock_status('profile')['pending_requests']} wait")


async def deadlock() -> None:
    """Two tasks take two locks in two orders: one is refused at once, releases its lock, and retries."""
    locks = get_lock_manager()
    both_hold = asyncio.Barrier(2)

    async def transfer(label: str, source: str, target: str) -> int:
        for attempt in range(1, 3):
            try:
                async with locks.write_lock(source, owner=label):
                    if attempt == 1:
                        await both_hold.wait()
                    async with locks.write_lock(target, owner=label):
                        return attempt
            except DeadlockError as error:
                print(f"Deadlock: {label} was refused in a cycle of {len(error.cycle)} and retries")
        raise AssertionError("two attempts were not enough")

    attempts = await asyncio.gather(transfer("ann", "a", "b"), transfer("bob", "b", "a"))
    assert sorted(attempts) == [1, 2]
    print(f"Both transfers are done, after {attempts[0]} and {attempts[1]} attempts")


async def main() -> None:
    await time_out()
    await fail_inside()
    await cancel()
    await deadlock()


if __name__ == "__main__":
    asyncio.run(main())
