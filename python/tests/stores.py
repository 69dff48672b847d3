"""The example stores, before and after the migration, and what each must be able to do."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"


def load(path: Path) -> ModuleType:
    """The module in a file, loaded again."""
    name = f"loaded_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


async def use_memory_architecture(module: ModuleType, folder: Path) -> None:
    """Each store, by several tasks or threads at once."""
    episodic = module.EpisodicMemoryStore(folder / "episodic_memory.db")
    await episodic.setup()
    numbers = await asyncio.gather(*(episodic.add_episode(f"task {each}", "done") for each in range(10)))
    assert sorted(numbers) == list(range(1, 11))
    assert [number for number, _, _ in await episodic.recent(3)] == [10, 9, 8]

    semantic = module.SemanticMemoryStore(folder / "semantic_memory.db")
    await semantic.setup()
    await asyncio.gather(*(semantic.add_fact(f"fact {each % 2}") for each in range(10)))
    assert await semantic.query("fact") == {"fact 0": 5, "fact 1": 5}

    skills = module.SkillMemoryStore(folder / "skill_memory.db")
    skills.setup()
    assert skills.success_rate("log in") == 0.0
    await asyncio.gather(*(asyncio.to_thread(skills.record_use, "log in", each != 0) for each in range(4)))
    assert skills.success_rate("log in") == 0.75


async def use_skill_library(module: ModuleType, folder: Path) -> None:
    """The library with its file, and the retriever."""
    library = module.SkillLibrary(folder / "skills.json")
    await library.load()
    await library.add("log in", "fill a form")
    await library.add("pay", "fill another form")
    await asyncio.gather(*(library.record_use("log in", True) for _ in range(10)))
    await library.deprecate("pay")
    assert await library.search("form") == ["log in"]
    assert await library.get("nothing") is None
    again = module.SkillLibrary(folder / "skills.json")
    await again.load()
    assert (await again.get("log in")).uses == 10
    assert (await again.get("pay")).deprecated

    retriever = module.SkillRetriever("test")
    await retriever.index("log in", "fill the form of a web site with a password")
    await retriever.index("pay", "pay with a card")
    found = await retriever.retrieve("a form, a password")
    assert found[0][0] == "log in"
    assert 0.3 < found[0][1] <= 1.0
    await retriever.remove("log in")
    assert await retriever.retrieve("password") == []


async def use_site_memory(module: ModuleType, folder: Path) -> None:
    """Notes of several tasks at once."""
    memory = module.SiteMemory(folder / "site_memory.json")
    assert (await memory.notes("example.org"), await memory.visits("example.org")) == ([], 0)
    await asyncio.gather(*(memory.learn("example.org", f"note {each}") for each in range(10)))
    assert await memory.visits("example.org") == 10
    assert len(await memory.notes("example.org")) == 5


USES = {
    "memory_architecture": use_memory_architecture,
    "skill_library": use_skill_library,
    "site_memory": use_site_memory,
}
