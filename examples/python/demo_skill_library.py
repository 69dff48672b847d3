"""Four agent processes share one skill library: a JSON file that each reads, changes and writes.

python demo_skill_library.py
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from pathlib import Path

from skill_library import SkillLibrary, SkillRetriever

AGENTS, USES = 4, 50


def agent(path: Path, number: int) -> None:
    """One process: adds a skill of its own and uses the one that all share."""

    async def work() -> None:
        library = SkillLibrary(path)
        await library.add(f"skill of agent {number}", "what only this agent knew")
        for use in range(USES):
            await library.record_use("log in", success=use % 2 == 0)

    asyncio.run(work())


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "skills.json"
        library = SkillLibrary(path)
        await library.add("log in", "fill the form of a web site with name and password")

        context = multiprocessing.get_context("spawn")
        agents = [context.Process(target=agent, args=(path, number)) for number in range(AGENTS)]
        for each in agents:
            each.start()
        for each in agents:
            await asyncio.to_thread(each.join)
            assert each.exitcode == 0, "an agent failed"

        await library.load()
        shared = await library.get("log in")
        assert shared is not None
        assert (shared.uses, shared.successes) == (AGENTS * USES, AGENTS * USES // 2), "uses were lost"
        assert len(await library.search("only this agent")) == AGENTS, "skills were lost"
        print(f"{AGENTS} processes recorded {shared.uses} uses and {AGENTS} skills; none was lost")

        retriever = SkillRetriever()
        await retriever.index("log in", "fill the form of a web site with name and password")
        await retriever.index("book a flight", "search flights and pay with a card")
        found = await retriever.retrieve("which form wants my password?")
        print(f"Found for a question about passwords: {found[0][0]!r} ({found[0][1]:.2f})")
        assert found[0][0] == "log in"


if __name__ == "__main__":
    asyncio.run(main())
