"""Memories of agents, as they were: a lock of asyncio or threading in each store.

Such a lock lets one reader in at a time, waits without limit, tells nobody who holds it, belongs to one
event loop, and does not exist for other processes. `../memory_architecture.py` is the same with named locks.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import aiosqlite


class EpisodicMemoryStore:
    """What happened: one row per episode."""

    def __init__(self, db_path: Path = Path("memory/episodic_memory.db")) -> None:
        self.db_path = db_path
        self._lock = asyncio.Lock()

    async def setup(self) -> None:
        async with self._lock, aiosqlite.connect(self.db_path) as db:
            await db.execute("CREATE TABLE IF NOT EXISTS episodes (id INTEGER PRIMARY KEY, task TEXT, outcome TEXT)")

    async def add_episode(self, task: str, outcome: str) -> int:
        """Numbers an episode by how many there are: two that count at once would give one number twice."""
        async with self._lock, aiosqlite.connect(self.db_path) as db:
            row = await (await db.execute("SELECT COUNT(*) FROM episodes")).fetchone()
            assert row is not None
            number: int = row[0] + 1
            await db.execute("INSERT INTO episodes VALUES (?, ?, ?)", (number, task, outcome))
            await db.commit()
            return number

    async def recent(self, limit: int = 10) -> list[tuple[int, str, str]]:
        async with self._lock, aiosqlite.connect(self.db_path) as db:
            rows = await db.execute_fetchall("SELECT * FROM episodes ORDER BY id DESC LIMIT ?", (limit,))
            return [(row[0], row[1], row[2]) for row in rows]


class SemanticMemoryStore:
    """What is known: facts, and how often they were seen."""

    def __init__(self, db_path: Path = Path("memory/semantic_memory.db")) -> None:
        self.db_path = db_path
        self._lock = asyncio.Lock()

    async def setup(self) -> None:
        async with self._lock, aiosqlite.connect(self.db_path) as db:
            await db.execute("CREATE TABLE IF NOT EXISTS facts (fact TEXT PRIMARY KEY, seen INTEGER)")

    async def add_fact(self, fact: str) -> None:
        """Counts how often a fact was seen."""
        async with self._lock, aiosqlite.connect(self.db_path) as db:
            row = await (await db.execute("SELECT seen FROM facts WHERE fact = ?", (fact,))).fetchone()
            seen = row[0] if row else 0
            await db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (fact, seen + 1))
            await db.commit()

    async def query(self, text: str) -> dict[str, int]:
        async with self._lock, aiosqlite.connect(self.db_path) as db:
            rows = await db.execute_fetchall("SELECT fact, seen FROM facts WHERE instr(fact, ?)", (text,))
            return {row[0]: row[1] for row in rows}


class SkillMemoryStore:
    """What can be done: skills, and how often they helped. Called from threads."""

    def __init__(self, db_path: Path = Path("memory/skill_memory.db")) -> None:
        self.db_path = db_path
        self._lock = threading.Lock()

    def setup(self) -> None:
        with self._lock, closing(sqlite3.connect(self.db_path)) as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS skills (skill TEXT PRIMARY KEY, uses INTEGER, successes INTEGER)")

    def record_use(self, skill: str, success: bool) -> None:
        with self._lock, closing(sqlite3.connect(self.db_path)) as db, db:
            row = db.execute("SELECT uses, successes FROM skills WHERE skill = ?", (skill,)).fetchone()
            uses, successes = row or (0, 0)
            db.execute("INSERT OR REPLACE INTO skills VALUES (?, ?, ?)", (skill, uses + 1, successes + success))

    def success_rate(self, skill: str) -> float:
        with self._lock, closing(sqlite3.connect(self.db_path)) as db, db:
            row = db.execute("SELECT uses, successes FROM skills WHERE skill = ?", (skill,)).fetchone()
            return row[1] / row[0] if row else 0.0
