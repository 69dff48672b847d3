"""Measures the package against what people use instead, in one run.

python bench/python/bench.py            # about two minutes
python bench/python/bench.py --quick    # some seconds, for a look
python bench/python/bench.py --only async --only tasks
"""

from __future__ import annotations

import argparse
import os
import platform
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

os.environ.pop("CONCURRENT_LOCKS_URL", None)
os.environ["LOCKS_SPACE"] = f"bench-{os.getpid()}"

from processes import between_processes
from rounds import Group
from tasks import between_tasks
from uncontended import across_processes, decorated, with_asyncio, with_threads

OURS = "ours, manager.read_lock(name)"


Aim = tuple[str, str, float, bool]
"""What is measured, what is wanted, what was found, and whether that is met."""


def aims(groups: dict[str, Group]) -> Iterator[Aim]:
    """What the project wants, and what this run measured."""
    if "async" in groups:
        free = groups["async"].ratio(OURS)
        yield "async with manager.read_lock(name) / asyncio.Lock", "<= 0.60", free, free <= 0.6
        yield "the same, in the long run", "<= 0.45", free, free <= 0.45
    if "decorated" in groups:
        call = groups["decorated"].ratio("ours, a constant name")
        yield "a decorated call / one with asyncio.Lock inside", "<= 0.90", call, call <= 0.9
    if "threads" in groups:
        thread = groups["threads"].ratio(OURS)
        yield "with manager.read_lock(name) / threading.Lock", "<= 1.20", thread, thread <= 1.2
    if "free" in groups:
        distributed = groups["free"].figure("ours, distributed_lock") / 1e3
        yield "distributed_lock, uncontended, us", "<= 10", distributed, distributed <= 10
    if "tasks" in groups:
        contended = groups["tasks"].ratio("ours, write_lock(name, timeout=30)")
        yield "contended with a time-out / asyncio.Lock without", "<= 1.00", contended, contended <= 1.0
    if "processes" in groups:
        faster = 1 / groups["processes"].ratio("ours, host:, write_lock")
        yield "hand-off between processes: times faster than filelock", ">= 300", faster, faster >= 300
        distributed = groups["processes"].figure("ours, distributed_lock")
        yield "hand-off of a distributed_lock, us", "<= 150", distributed, distributed <= 150


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.chdir(folder)  # the folder of the distributed locks is relative
        stack.callback(os.chdir, "/")
        tables: dict[str, Callable[[], Group]] = {
            "async": with_asyncio,
            "decorated": decorated,
            "threads": with_threads,
            "free": lambda: across_processes(folder),
            "tasks": between_tasks,
            "processes": lambda: between_processes(folder, stack),
        }
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true", help="few and short rounds")
        parser.add_argument("--only", action="append", choices=tables, help="only this table; may be repeated")
        chosen = parser.parse_args()
        flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
        built = "with" if "--enable-optimizations" in flags else "without"
        print(f"Python {platform.python_version()} built {built} PGO, {platform.machine()}, {os.cpu_count()} CPUs\n")
        groups = {name: make() for name, make in tables.items() if name in (chosen.only or tables)}
        for group in groups.values():
            if chosen.quick:
                group.rounds, group.quietest, group.times = 5, min(5, group.quietest), max(1, group.times // 10)
            group.measure()
            print(group.table(), end="\n\n", flush=True)
    print("Aims, and this run:")
    for what, aim, found, met in aims(groups):
        print(f"  {what:56} {aim:>8} {found:9.3g}  {'met' if met else 'MISSED'}")
    Path(f"/dev/shm/concurrent-locks-{os.getuid()}/{os.environ['LOCKS_SPACE']}.table").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
