"""Memories of agents: three stores, each over its own SQLite file, under named read/write locks.

The three show three ways to say it: decorators on async methods, `async with`, decorators on plain methods.
Readers enter together, a time-out names the holder, and with `CONCURRENT_LOCKS_URL=host:` the same locks
hold between processes. `before/memory_architecture.py` is how it was.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import aiosqlite
from concurrent_locks import get_lock_manager, read_lock, write_lock


class EpisodicMemoryStore:
    """What happened: one row per episode. Lock: `episodic_db:<file name>`."""

    def __init__(self, db_path: Path = Path("memory/episodic_memory.db")) -> None:
        self.db_path = db_path

    @write_lock("episodic_db:{self.db_path.name}")
    async def setup(self) -> None:
        async with aiosqlite.connect(self.db_path) as db:
            await db.execute("CREATE TABLE IF NOT EXISTS episodes (id INTEGER PRIMARY KEY, task TEXT, outcome TEXT)")

    @write_lock("episodic_db:{self.db_path.name}", timeout=15.0, note="add_episode")
    async def add_episode(self, task: str, outcome: str) -> int:
        """Numbers an episode by how many there are: two that count at once would give one number twice."""
        async with aiosqlite.connect(self.db_path) as db:
            row = await (await db.execute("SELECT COUNT(*) FROM episodes")).fetchone()
            assert row is not None
            number: int = row[0] + 1
            await db.execute("INSERT INTO episodes VALUES (?, ?, ?)", (number, task, outcome))
            await db.commit()
            return number

    @read_lock("episodic_db:{self.db_path.name}")
    async def recent(self, limit: int = 10) -> list[tuple[int, str, str]]:
        async with aiosqlite.connect(self.db_path) as db:
            rows = await db.execute_fetchall("SELECT * FROM episodes ORDER BY id DESC LIMIT ?", (limit,))
            return [(row[0], row[1], row[2]) for row in rows]


class SemanticMemoryStore:
    """What is known: facts, and how often they were seen. Lock: `semantic_db:<file name>`."""

    def __init__(self, db_path: Path = Path("memory/semantic_memory.db")) -> None:
        self.db_path = db_path
        self._lock_manager = get_lock_manager()
        self._resource_name = f"semantic_db:{db_path.name}"

    async def setup(self) -> None:
        async with self._lock_manager.write_lock(self._resource_name), aiosqlite.connect(self.db_path) as db:
            await db.execute("CREATE TABLE IF NOT EXISTS facts (fact TEXT PRIMARY KEY, seen INTEGER)")

    async def add_fact(self, fact: str) -> None:
        """Counts how often a fact was seen."""
        async with (
            self._lock_manager.write_lock(self._resource_name, timeout=15.0, note="add_fact"),
            aiosqlite.connect(self.db_path) as db,
        ):
            row = await (await db.execute("SELECT seen FROM facts WHERE fact = ?", (fact,))).fetchone()
            seen = row[0] if row else 0
            await db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (fact, seen + 1))
            await db.commit()

    async def query(self, text: str) -> dict[str, int]:
        async with self._lock_manager.read_lock(self._resource_name), aiosqlite.connect(self.db_path) as db:
            rows = await db.execute_fetchall("SELECT fact, seen FROM facts WHERE instr(fact, ?)", (text,))
            return {row[0]: row[1] for row in rows}


class SkillMemoryStore:
    """What can be done: skills, and how often they helped. Lock: `skill_db:<file name>`. Called from threads."""

    def __init__(self, db_path: Path = Path("memory/skill_memory.db")) -> None:
        self.db_path = db_path

    @write_lock("skill_db:{self.db_path.name}")
    def setup(self) -> None:
        with closing(sqlite3.connect(self.db_path)) as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS skills (skill TEXT PRIMARY KEY, uses INTEGER, successes INTEGER)")

    @write_lock("skill_db:{self.db_path.name}", timeout=15.0, note="record_use")
    def record_use(self, skill: str, success: bool) -> None:
        with closing(sqlite3.connect(self.db_path)) as db, db:
            row = db.execute("SELECT uses, successes FROM skills WHERE skill = ?", (skill,)).fetchone()
            uses, successes = row or (0, 0)
            db.execute("INSERT OR REPLACE INTO skills VALUES (?, ?, ?)", (skill, uses + 1, successes + success))

    @read_lock("skill_db:{self.db_path.name}")
    def success_rate(self, skill: str) -> float:
        with closing(sqlite3.connect(self.db_path)) as db, db:
            row = db.execute("SELECT uses, successes FROM skills WHERE skill = ?", (skill,)).fetchone()
            return row[1] / row[0] if row else 0.0
