"""A real process that takes locks on command.

    python lock_taker.py URL

It reads one JSON command per line and answers each with one JSON line. `LockTaker` is its parent's side.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LockTaker:
    """The parent's side of a lock taking process."""

    def __init__(self, url: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
        )
        self.pid = self.process.pid

    def send(self, do: str, **arguments: Any) -> None:
        """Gives a command and does not wait for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """The answer to the oldest command without one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the lock taker has ended with {self.process.wait()}"
        return json.loads(line)

    def ask(self, do: str, **arguments: Any) -> Any:
        """Gives a command and waits for the answer."""
        self.send(do, **arguments)
        return self.answer()

    def kill(self) -> None:
        """Ends it without a chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Ends it in order, if it still runs."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@contextmanager
def lock_taker(url: str, **environment: str) -> Iterator[LockTaker]:
    """A process that takes locks of `url`, for the time of a `with`."""
    taker = LockTaker(url, **environment)
    try:
        yield taker
    finally:
        taker.close()


def main(url: str) -> None:
    """The process itself."""
    from concurrent_locks import DistributedLock, LockManager

    manager = LockManager(url) if url else LockManager()
    held: dict[str, Any] = {}

    def take(mode: str, name: str, timeout: float | None = 60.0) -> str:
        if mode == "distributed":
            lock: Any = DistributedLock(name).lock(timeout)
        else:
            lock = getattr(manager, f"{mode}_lock")(name, timeout)
        try:
            lock.__enter__()
        except TimeoutError:
            return "timeout"
        held[name] = lock
        return "held"

    def release(name: str) -> str:
        held.pop(name).__exit__(None, None, None)
        return "released"

    def add(name: str, path: str, times: int, mode: str = "write") -> int:
        """Adds one to the number in a file, each time under the lock: without exclusion, additions are lost."""
        for _ in range(times):
            take(mode, name)
            with open(path, "r+") as file:
                number = int(file.read() or 0)
                file.seek(0)
                file.write(str(number + 1))
            release(name)
        return times

    commands = {"take": take, "release": release, "add": add}
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(commands[command.pop("do")](**command)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
