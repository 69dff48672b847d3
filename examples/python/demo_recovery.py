"""A process is killed in the middle of a write: its lock is free at once, and the next one repairs.

python demo_recovery.py
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from concurrent_locks import LockManager

NAME = "notes"


def die_in_the_middle(url: str, path: Path) -> None:
    """The process that will be killed: it has written half of a file."""
    with LockManager(url).write_lock(NAME, owner="the unlucky one", note="writing notes"):
        path.write_text('["half a no')
        print("half", flush=True)
        sys.stdin.read()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url, path = f"host:{folder}/demo.table", Path(folder) / "notes.json"
        locks = LockManager(url)
        victim = subprocess.Popen(
            [sys.executable, __file__, url, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert victim.stdout is not None
        assert victim.stdout.readline() == "half\n"
        print(f"{locks.get_lock_status(NAME)['current_writer']} (pid {victim.pid}) is in the middle of a write")

        async def take_over() -> None:
            async with locks.write_lock(NAME) as guard:
                try:
                    json.loads(path.read_text())
                    raise AssertionError("the file is whole")
                except json.JSONDecodeError:
                    path.write_text("[]")
                print(f"The next one holds the lock, with the higher token {guard.token}, and has repaired the file")

        waiting = asyncio.create_task(take_over())
        while locks.get_lock_status(NAME)["pending_requests"] == 0:
            await asyncio.sleep(0.001)
        victim.kill()
        await waiting
        with victim:
            pass

        errors = locks.get_statistics(NAME)["locks"]["write"]["total_errors"]
        print(f"Statistics count {errors} error: the holder that died")
        assert errors == 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        die_in_the_middle(sys.argv[1], Path(sys.argv[2]))
    else:
        asyncio.run(main())
