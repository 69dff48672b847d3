"""The five phases lead from the stores as they were to the stores as they are, and each phase works."""

from __future__ import annotations

import asyncio
import re
import subprocess
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
