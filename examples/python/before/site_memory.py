"""What agents learnt about web sites, as it was: one asyncio.Lock over one JSON file."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any


class SiteMemory:
    """Notes on web sites in a JSON file."""

    def __init__(self, path: Path = Path("memory/site_memory.json")) -> None:
        self.path = path
        self._lock = asyncio.Lock()

    async def notes(self, site: str) -> list[str]:
        async with self._lock:
            return list(self._load().get(site, {}).get("notes", []))

    async def visits(self, site: str) -> int:
        async with self._lock:
            return int(self._load().get(site, {}).get("visits", 0))

    async def learn(self, site: str, note: str) -> None:
        async with self._lock:
            sites = self._load()
            await asyncio.sleep(0)  # as an agent that thinks while it holds
            known = sites.setdefault(site, {"visits": 0, "notes": []})
            known["visits"] += 1
            known["notes"] = [*known["notes"], note][-5:]
            self._save(sites)

    def _load(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        sites: dict[str, Any] = json.loads(self.path.read_text())
        return sites

    def _save(self, sites: dict[str, Any]) -> None:
        written = self.path.with_suffix(f".{os.getpid()}.tmp")
        written.write_text(json.dumps(sites))
        written.replace(self.path)
