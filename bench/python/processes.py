"""Two processes: from the release of one to the acquisition of the other, which waits.

    python processes.py PEER FOLDER

is the process that waits.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fasteners
import filelock
import old_shape
import portalocker
from concurrent_locks import LockManager, get_lock_manager
from rounds import Contender, Group

NAME = "hand-off"


def distributed_old(folder: Path) -> Any:
    old_shape.LOCK_DIR = folder
    return old_shape.DistributedLock(NAME).lock()


PEERS: dict[str, Callable[[Path], Any]] = {
    "filelock.FileLock": lambda folder: filelock.FileLock(folder / "filelock"),
    "fasteners.InterProcessLock": lambda folder: fasteners.InterProcessLock(folder / "fasteners"),
    "portalocker.Lock": lambda folder: portalocker.Lock(folder / "portalocker", timeout=60),
    "old shape, distributed_lock": distributed_old,
    "ours, distributed_lock": lambda folder: get_lock_manager().distributed_lock(NAME),
    "ours, host:, write_lock": lambda folder: LockManager(f"host:{folder}/bench.table").write_lock(NAME),
}
"""How each is made: a new context manager."""


class Waiter:
    """The process that waits."""

    def __init__(self, peer: str, folder: Path) -> None:
        self.make, self.folder = PEERS[peer], folder
        self.process = subprocess.Popen(
            [sys.executable, __file__, peer, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def hand_off(self) -> float:
        """Seconds from the release here to the acquisition there."""
        assert self.process.stdin is not None
        with self.make(self.folder):
            self.process.stdin.write("wait\n")
            self.process.stdin.flush()
            self.line()
            time.sleep(random.uniform(0.05, 0.1))  # until it waits, and not in step with its polling
            released = time.monotonic_ns()
        return (int(self.line()) - released) / 1e9

    def hand_offs(self, times: int) -> float:
        return sum(self.hand_off() for _ in range(times))

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def between_processes(folder: Path, stack: ExitStack) -> Group:
    contenders: dict[str, Contender] = {}
    for peer in PEERS:
        waiter = Waiter(peer, folder)
        stack.callback(waiter.close)
        contenders[peer] = waiter.hand_offs
    return Group(
        "hand-off between two processes, from release to acquired",
        "us",
        1e6,
        "filelock.FileLock",
        contenders,
        times=1,
        rounds=31,
        quietest=31,  # who polls waits long or short by chance: all rounds count
    )


def main(peer: str, folder: Path) -> None:
    """The process that waits."""
    for _ in sys.stdin:
        print("waiting", flush=True)
        with PEERS[peer](folder):
            acquired = time.monotonic_ns()
        print(acquired, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
