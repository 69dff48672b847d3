"""Measures the package against what people use instead, in one run.

python bench/python/bench.py            # about two minutes
python bench/python/bench.py --quick    # some seconds, for a look
"""

from __future__ import annotations

import argparse
import os
import platform
import sysconfig
import tempfile
from contextlib import ExitStack
from pathlib import Path

os.environ.pop("CONCURRENT_LOCKS_URL", None)
os.environ["LOCKS_SPACE"] = f"bench-{os.getpid()}"

from processes import between_processes
from rounds import Group
from tasks import between_tasks
from uncontended import across_processes, decorated, with_asyncio, with_threads

OURS = "ours, manager.read_lock(name)"


def aims(groups: dict[str, Group]) -> list[tuple[str, str, float, bool]]:
    """What the project wants, and what this run measured."""
    free = groups["async"].ratio(OURS)
    contended = groups["tasks"].ratio("ours, write_lock(name, timeout=30)")
    faster = 1 / groups["processes"].ratio("ours, host:, write_lock")
    return [
        ("async with manager.read_lock(name) / asyncio.Lock", "<= 0.75", free, free <= 0.75),
        ("the same, by a hand-made type", "<= 0.45", free, free <= 0.45),
        ("contended with a time-out / asyncio.Lock without", "<= 1.00", contended, contended <= 1.0),
        ("hand-off between processes: times faster than filelock", ">= 300", faster, faster >= 300),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    quick: bool = parser.parse_args().quick
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    built = "with" if "--enable-optimizations" in flags else "without"
    print(f"Python {platform.python_version()} built {built} PGO, {platform.machine()}, {os.cpu_count()} CPUs\n")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.chdir(folder)  # the folder of the distributed locks is relative
        stack.callback(os.chdir, "/")
        groups = {
            "async": with_asyncio(),
            "decorated": decorated(),
            "threads": with_threads(),
            "processes, free": across_processes(folder),
            "tasks": between_tasks(),
            "processes": between_processes(folder, stack),
        }
        for group in groups.values():
            if quick:
                group.rounds, group.quietest, group.times = 5, min(5, group.quietest), max(1, group.times // 10)
            group.measure()
            print(group.table(), end="\n\n", flush=True)
    print("Aims, and this run:")
    for what, aim, found, met in aims(groups):
        print(f"  {what:56} {aim:>8} {found:9.3g}  {'met' if met else 'MISSED'}")
    Path(f"/dev/shm/concurrent-locks-{os.getuid()}/{os.environ['LOCKS_SPACE']}.table").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
