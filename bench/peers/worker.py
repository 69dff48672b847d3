"""A worker in Python: acquires and releases the lock of a peer, as standard input says.

python worker.py RedisPy|PythonRedisLock URL LOCK

Its commands and answers are described in `src/cluster/errand.rs`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import redis
import redis_lock


def peer(kind: str, client: redis.Redis, name: str) -> Callable[[], Any]:
    """How a lock is made: a new object for each turn, as both are used."""
    if kind == "RedisPy":
        return lambda: client.lock(name, timeout=60)
    return lambda: redis_lock.Lock(client, name, expire=60)


def say(*words: object) -> None:
    print(*words, flush=True)


def turns(make: Callable[[], Any], hold: int, until: int) -> tuple[int, int]:
    """Turns until then, and the longest wait; a wait that is not over by then counts as far as it got."""
    count = longest = 0
    while (asked := time.monotonic_ns()) < until:
        with make():
            taken = time.monotonic_ns()
            longest = max(longest, min(taken, until) - asked)
            if taken < until:
                count += 1
                time.sleep(hold / 1e9)
    return count, longest


def main(kind: str, url: str, name: str) -> None:
    make = peer(kind, redis.Redis.from_url(url), name)
    with make():
        pass
    say("ready")
    held = make()
    for line in sys.stdin:
        match line.split():
            case ["pairs", count]:
                start = time.monotonic_ns()
                for _ in range(int(count)):
                    lock = make()
                    lock.acquire()
                    lock.release()
                say(time.monotonic_ns() - start)
            case ["hold"]:
                held = make()
                held.acquire()
                say("held")
            case ["release"]:
                released = time.monotonic_ns()
                held.release()
                say(released)
            case ["take"]:
                say("asking")
                lock = make()
                lock.acquire()
                taken = time.monotonic_ns()
                lock.release()
                say(taken)
            case ["turns", hold, until]:
                say(*turns(make, int(hold), int(until)))
            case _:
                sys.exit(f"a worker does not know {line!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
