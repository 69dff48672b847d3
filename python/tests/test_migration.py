"""The five phases lead from the stores as they were to the stores as they are, and each phase works."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from stores import EXAMPLES, USES, load

PHASES = ["1-prepare", "2-reads", "3-writes", "4-processes", "5-adjust"]
DOCUMENT = EXAMPLES.parents[1] / "docs" / "python" / "migration-phases.md"


def changes(module: str) -> list[str]:
    """What each phase changes: `site_memory` in the document, the others in files."""
    if module == "site_memory":
        return re.findall(r"^```diff\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    folder = EXAMPLES / "migration" / module
    assert {patch.stem for patch in folder.iterdir()} <= set(PHASES)
    return [patch.read_text() for patch in sorted(folder.iterdir())]


@pytest.mark.parametrize("module", USES)
def test_the_phases(module: str, tmp_path: Path) -> None:
    path = tmp_path / f"{module}.py"
    path.write_text((EXAMPLES / "before" / path.name).read_text())
    for number, change in enumerate(changes(module)):
        done = subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=change, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        folder = tmp_path / str(number)
        folder.mkdir()
        asyncio.run(USES[module](load(path), folder))
    assert path.read_text() == (EXAMPLES / path.name).read_text()


def test_the_document_shows_five() -> None:
    assert len(changes("site_memory")) == len(PHASES)


def test_the_shim(tmp_path: Path) -> None:
    """Modules that import from `.concurrent_locks` go on to do so."""
    (shim,) = re.findall(r"^```python shim\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    package = tmp_path / "agent"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "concurrent_locks.py").write_text(shim)
    (package / "store.py").write_text(
        "from .concurrent_locks import LOCK_DIR, LockType, get_lock_manager, read_lock, write_lock\n"
        "from . import concurrent_locks as shim\n"
        "import concurrent_locks as package\n"
        "assert all(getattr(shim, name) is getattr(package, name) for name in package.__all__)\n"
        "@write_lock('notes')\n"
        "def add(): return 'added'\n"
        "print(add())\n"
    )
    run = {"capture_output": True, "text": True, "env": {**os.environ, "PYTHONSAFEPATH": ""}}
    done = subprocess.run([sys.executable, "-m", "agent.store"], cwd=tmp_path, **run)
    assert done.stdout == "added\n", done.stderr
    inside = subprocess.run([sys.executable, "concurrent_locks.py"], cwd=package, **run)
    assert "ImportError" in inside.stderr, "the document says that it cannot be started inside its folder"
