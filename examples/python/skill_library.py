"""Skills of agents: in memory and in one JSON file, and an index to find them, under named locks.

The file is shared by processes: who changes it holds `skill_library:file`, reads it again, changes it and
writes it again. `before/skill_library.py` is how it was.
"""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from concurrent_locks import get_lock_manager, read_lock, write_lock


@dataclass
class Skill:
    """A skill that agents may use."""

    name: str
    description: str
    uses: int = 0
    successes: int = 0
    deprecated: bool = False


class SkillLibrary:
    """Skills in memory and in one JSON file. Locks: `skill_library`, `skill_library:file`."""

    def __init__(self, path: Path = Path("memory/skills.json")) -> None:
        self.path = path
        self._skills: dict[str, Skill] = {}
        self._lock_manager = get_lock_manager()

    @write_lock("skill_library")
    async def load(self) -> None:
        self._read_file()  # without the lock of the file: it is replaced as a whole, never half written

    async def add(self, name: str, description: str) -> None:
        async with self._change():
            self._skills[name] = Skill(name, description)

    async def record_use(self, name: str, success: bool) -> None:
        async with self._change():
            skill = self._skills[name]
            skill.uses += 1
            skill.successes += success

    async def deprecate(self, name: str) -> None:
        async with self._change():
            self._skills[name].deprecated = True

    @read_lock("skill_library")
    async def search(self, text: str) -> list[str]:
        return [each.name for each in self._skills.values() if text in each.description and not each.deprecated]

    @read_lock("skill_library")
    async def get(self, name: str) -> Skill | None:
        return self._skills.get(name)

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        """Alone in this process and among all that share the file; what others wrote meanwhile is seen."""
        locks = self._lock_manager
        async with (
            locks.write_lock("skill_library", timeout=15.0, note="a change of the file"),
            locks.distributed_lock("skill_library:file", timeout=10.0),
        ):
            self._read_file()
            yield
            self._write_file()

    def _read_file(self) -> None:
        if self.path.exists():
            self._skills = {name: Skill(**fields) for name, fields in json.loads(self.path.read_text()).items()}

    def _write_file(self) -> None:
        written = self.path.with_suffix(f".{os.getpid()}.tmp")
        written.write_text(json.dumps({name: asdict(skill) for name, skill in self._skills.items()}))
        written.replace(self.path)


Vector = dict[int, float]
"""A sparse vector of length one."""


def embed(text: str, dimensions: int = 4096) -> Vector:
    """Words hashed into dimensions, counted, and made a vector of length one."""
    counts = Counter(zlib.crc32(word.encode()) % dimensions for word in re.findall(r"\w+", text.lower()))
    length = math.sqrt(sum(count * count for count in counts.values()))
    return {dimension: count / length for dimension, count in counts.items()}


class SkillRetriever:
    """Finds skills whose description is like a question: a vector index, searched by cosine.

    Lock: `skill_retriever:<collection>`.
    """

    def __init__(self, collection: str = "skills") -> None:
        self.collection = collection
        self._vectors: dict[str, Vector] = {}

    @write_lock("skill_retriever:{self.collection}")
    async def index(self, name: str, description: str) -> None:
        self._vectors[name] = embed(description)

    @write_lock("skill_retriever:{self.collection}")
    async def remove(self, name: str) -> None:
        self._vectors.pop(name, None)

    @read_lock("skill_retriever:{self.collection}")
    async def retrieve(self, question: str, limit: int = 3) -> list[tuple[str, float]]:
        wanted = embed(question)
        scores = [
            (name, sum(weight * vector.get(dimension, 0.0) for dimension, weight in wanted.items()))
            for name, vector in self._vectors.items()
        ]
        return sorted((each for each in scores if each[1] > 0), key=lambda each: -each[1])[:limit]
