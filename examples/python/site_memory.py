"""What agents learnt about web sites: one JSON file under named locks.

`before/site_memory.py` is how it was; `docs/python/migration-phases.md` goes from there to here step by step.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from concurrent_locks import get_lock_manager


class SiteMemory:
    """Notes on web sites in a JSON file. Locks: `site_memory:<file name>`, and the same with `:file`."""

    READ_TIMEOUT = 10.0
    WRITE_TIMEOUT = 30.0

    def __init__(self, path: Path = Path("memory/site_memory.json")) -> None:
        self.path = path
        self._lock_manager = get_lock_manager()
        self._resource_name = f"site_memory:{path.name}"

    async def notes(self, site: str) -> list[str]:
        async with self._lock_manager.read_lock(self._resource_name, timeout=self.READ_TIMEOUT):
            return list(self._load().get(site, {}).get("notes", []))

    async def visits(self, site: str) -> int:
        async with self._lock_manager.read_lock(self._resource_name, timeout=self.READ_TIMEOUT):
            return int(self._load().get(site, {}).get("visits", 0))

    async def learn(self, site: str, note: str) -> None:
        async with (
            self._lock_manager.write_lock(self._resource_name, timeout=self.WRITE_TIMEOUT, note=f"learn {site}"),
            self._lock_manager.distributed_lock(f"{self._resource_name}:file"),
        ):
            sites = self._load()
            await asyncio.sleep(0)  # as an agent that thinks while it holds
            known = sites.setdefault(site, {"visits": 0, "notes": []})
            known["visits"] += 1
            known["notes"] = [*known["notes"], note][-5:]
            self._save(sites)

    def lock_report(self) -> str:
        """How long agents wait for this memory, to choose the time-outs by."""
        locks = self._lock_manager.get_statistics(self._resource_name).get("locks", {})
        lines = [
            f"{mode}: {each['total_acquisitions']} times, waited {each['avg_wait_time_ms']:.1f} ms on average and "
            f"{each['max_wait_time_ms']:.1f} ms at most, {each['total_timeouts']} time-outs"
            for mode, each in locks.items()
        ]
        return "\n".join(lines)

    def _load(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        sites: dict[str, Any] = json.loads(self.path.read_text())
        return sites

    def _save(self, sites: dict[str, Any]) -> None:
        written = self.path.with_suffix(f".{os.getpid()}.tmp")
        written.write_text(json.dumps(sites))
        written.replace(self.path)
