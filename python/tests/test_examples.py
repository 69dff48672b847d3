"""The examples run, and the stores lose nothing among real processes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from stores import EXAMPLES, USES, load

DEMOS = sorted(EXAMPLES.glob("demo_*.py"))


def test_there_are_five_demonstrations() -> None:
    assert len(DEMOS) == 5


@pytest.mark.parametrize("demo", DEMOS, ids=lambda path: path.stem)
def test_a_demonstration_runs(demo: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "error", str(demo)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout


@pytest.mark.parametrize("module", USES)
@pytest.mark.parametrize("folder", [EXAMPLES / "before", EXAMPLES], ids=["before", "now"])
async def test_a_store_works(folder: Path, module: str, tmp_path: Path) -> None:
    await USES[module](load(folder / f"{module}.py"), tmp_path)


async def test_the_site_memory_reports_its_locks(tmp_path: Path) -> None:
    memory = load(EXAMPLES / "site_memory.py").SiteMemory(tmp_path / f"{tmp_path.name}.json")
    await memory.learn("example.org", "note")
    assert "write: 1 times" in memory.lock_report()


AGENT = """
import asyncio, sys
from pathlib import Path
from memory_architecture import EpisodicMemoryStore, SemanticMemoryStore, SkillMemoryStore
from skill_library import SkillLibrary
from site_memory import SiteMemory

OPERATIONS = int(sys.argv[1])

async def main():
    episodic, semantic = EpisodicMemoryStore(Path("episodic.db")), SemanticMemoryStore(Path("semantic.db"))
    skill, library = SkillMemoryStore(Path("skill.db")), SkillLibrary(Path("skills.json"))
    sites = SiteMemory(Path("s.json"))
    await episodic.setup()
    await semantic.setup()
    skill.setup()
    await library.add("log in", "fill a form")
    print("ready", flush=True)
    sys.stdin.readline()
    await library.load()
    for _ in range(OPERATIONS):
        await asyncio.gather(
            episodic.add_episode("task", "done"),
            semantic.add_fact("water is wet"),
            asyncio.to_thread(skill.record_use, "log in", True),
            library.record_use("log in", True),
            sites.learn("example.org", "note"),
            episodic.recent(),
            semantic.query("water"),
        )

asyncio.run(main())
"""


@pytest.mark.parametrize(("agents", "operations"), [(4, 25)])
def test_processes_lose_nothing(tmp_path: Path, agents: int, operations: int) -> None:
    """Real processes on real SQLite and JSON files, each value read, changed and written back."""
    environment = {
        **os.environ,
        "CONCURRENT_LOCKS_URL": f"host:{tmp_path}/agents.table",
        "PYTHONPATH": str(EXAMPLES),
    }
    processes = []
    for _ in range(agents):
        process = subprocess.Popen(
            [sys.executable, "-c", AGENT, str(operations)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        processes.append(process)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        with process:
            assert process.wait(timeout=100) == 0

    expected = agents * operations
    with closing(sqlite3.connect("episodic.db")) as db:
        assert db.execute("SELECT COUNT(*), MAX(id) FROM episodes").fetchone() == (expected, expected)
    with closing(sqlite3.connect("semantic.db")) as db:
        assert db.execute("SELECT seen FROM facts").fetchall() == [(expected,)]
    with closing(sqlite3.connect("skill.db")) as db:
        assert db.execute("SELECT uses, successes FROM skills").fetchall() == [(expected, expected)]
    assert json.loads(Path("skills.json").read_text())["log in"]["uses"] == expected
    assert json.loads(Path("s.json").read_text())["example.org"]["visits"] == expected
