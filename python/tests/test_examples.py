"""The examples run, and the stores lose nothing among real processes."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"
DEMOS = sorted(EXAMPLES.glob("demo_*.py"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_there_are_five_demonstrations() -> None:
    assert len(DEMOS) == 5


@pytest.mark.parametrize("demo", DEMOS, ids=lambda path: path.stem)
def test_a_demonstration_runs(demo: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "error", str(demo)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout


BOTH = pytest.mark.parametrize("folder", [EXAMPLES / "before", EXAMPLES], ids=["before", "now"])


@BOTH
async def test_episodic_memory(folder: Path, tmp_path: Path) -> None:
    store = load(folder / "memory_architecture.py").EpisodicMemoryStore(tmp_path / "episodic_memory.db")
    await store.setup()
    numbers = await asyncio.gather(*(store.add_episode(f"task {each}", "done") for each in range(10)))
    assert sorted(numbers) == list(range(1, 11))
    assert [number for number, _, _ in await store.recent(3)] == [10, 9, 8]


@BOTH
async def test_semantic_memory(folder: Path, tmp_path: Path) -> None:
    store = load(folder / "memory_architecture.py").SemanticMemoryStore(tmp_path / "semantic_memory.db")
    await store.setup()
    await asyncio.gather(*(store.add_fact(f"fact {each % 2}") for each in range(10)))
    assert await store.query("fact") == {"fact 0": 5, "fact 1": 5}


@BOTH
def test_skill_memory(folder: Path, tmp_path: Path) -> None:
    store = load(folder / "memory_architecture.py").SkillMemoryStore(tmp_path / "skill_memory.db")
    store.setup()
    assert store.success_rate("log in") == 0.0
    for success in (True, True, False, True):
        store.record_use("log in", success)
    assert store.success_rate("log in") == 0.75


@BOTH
async def test_skill_library(folder: Path, tmp_path: Path) -> None:
    module = load(folder / "skill_library.py")
    library = module.SkillLibrary(tmp_path / "skills.json")
    await library.load()
    await library.add("log in", "fill a form")
    await library.add("pay", "fill another form")
    await library.record_use("log in", True)
    await library.deprecate("pay")
    assert await library.search("form") == ["log in"]
    again = module.SkillLibrary(tmp_path / "skills.json")
    await again.load()
    assert (await again.get("log in")).uses == 1
    assert (await again.get("pay")).deprecated


@BOTH
async def test_skill_retriever(folder: Path) -> None:
    retriever = load(folder / "skill_library.py").SkillRetriever("test")
    steps: list[Any] = [
        retriever.index("log in", "fill the form of a web site with a password"),
        retriever.index("pay", "pay with a card"),
    ]
    for step in steps:
        await step if step is not None else None
    found = retriever.retrieve("a form, a password")
    found = await found if asyncio.iscoroutine(found) else found
    assert found[0][0] == "log in" and 0.3 < found[0][1] <= 1.0


@BOTH
async def test_site_memory(folder: Path, tmp_path: Path) -> None:
    memory = load(folder / "site_memory.py").SiteMemory(tmp_path / "site_memory.json")
    assert (await memory.notes("example.org"), await memory.visits("example.org")) == ([], 0)
    await asyncio.gather(*(memory.learn("example.org", f"note {each}") for each in range(10)))
    assert await memory.visits("example.org") == 10
    assert len(await memory.notes("example.org")) == 5
    if folder == EXAMPLES:
        assert "write: 10 times" in memory.lock_report()


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


@pytest.mark.parametrize("agents", [4])
def test_processes_lose_nothing(tmp_path: Path, agents: int, operations: int = 25) -> None:
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
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
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
