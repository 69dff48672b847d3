"""Skills of agents, as they were: an asyncio.Lock over memory and file, another over the index."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Skill:
    """A skill that agents may use."""

    name: str
    description: str
    uses: int = 0
    successes: int = 0
    deprecated: bool = False


class SkillLibrary:
    """Skills in memory and in one JSON file."""

    def __init__(self, path: Path = Path("memory/skills.json")) -> None:
        self.path = path
        self._skills: dict[str, Skill] = {}
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        async with self._lock:
            self._read_file()

    async def add(self, name: str, description: str) -> None:
        async with self._lock:
            self._skills[name] = Skill(name, description)
            self._write_file()

    async def record_use(self, name: str, success: bool) -> None:
        async with self._lock:
            skill = self._skills[name]
            skill.uses += 1
            skill.successes += success
            self._write_file()

    async def deprecate(self, name: str) -> None:
        async with self._lock:
            self._skills[name].deprecated = True
            self._write_file()

    async def search(self, text: str) -> list[str]:
        async with self._lock:
            return [each.name for each in self._skills.values() if text in each.description and not each.deprecated]

    async def get(self, name: str) -> Skill | None:
        async with self._lock:
            return self._skills.get(name)

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
    """Finds skills whose description is like a question: a vector index, searched by cosine."""

    def __init__(self, collection: str = "skills") -> None:
        self.collection = collection
        self._vectors: dict[str, Vector] = {}
        self._lock = asyncio.Lock()

    async def index(self, name: str, description: str) -> None:
        async with self._lock:
            self._vectors[name] = embed(description)

    async def remove(self, name: str) -> None:
        async with self._lock:
            self._vectors.pop(name, None)

    async def retrieve(self, question: str, limit: int = 3) -> list[tuple[str, float]]:
        async with self._lock:
            wanted = embed(question)
            scores = [
                (name, sum(weight * vector.get(dimension, 0.0) for dimension, weight in wanted.items()))
                for name, vector in self._vectors.items()
            ]
            return sorted((each for each in scores if each[1] > 0), key=lambda each: -each[1])[:limit]
