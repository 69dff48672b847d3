"""The documents are true: their code runs, what they name exists, the reference is current."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import concurrent_locks
import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "docs" / "python").glob("*.md"))
BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, kind: str) -> list[str]:
    return [code for label, code in BLOCK.findall(document.read_text()) if label == kind]


ELSEWHERE = [ROOT / "README.md", ROOT / "docs" / "fencing.md"]
WITH_CODE = [document for document in [*DOCUMENTS, *ELSEWHERE] if blocks(document, "python")]


@pytest.mark.parametrize("document", WITH_CODE, ids=lambda path: path.stem)
def test_the_code_runs(document: Path) -> None:
    """The blocks of a document are one program."""
    if document.stem == "migration":
        for peer in ("filelock", "fasteners", "aiorwlock"):
            pytest.importorskip(peer)
    namespace = {"__name__": "document"}
    for code in blocks(document, "python"):
        exec(compile(code, str(document), "exec"), namespace)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if not link.startswith("http"):
            assert (document.parent / link).exists(), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_what_documents_name_exists(document: Path) -> None:
    """Names after `locks.` and `guard.` are methods that are there."""
    text = document.read_text()
    for holder, owner in (("locks", concurrent_locks.LockManager), ("guard", concurrent_locks.Guard)):
        for name in re.findall(rf"\b{holder}\.([a-z_]+)", text):
            assert hasattr(owner, name) or name in ("table", "local", "items"), f"{holder}.{name}"
    for name in re.findall(r"`([A-Z][A-Za-z]+Error)`", text):
        assert hasattr(concurrent_locks, name) or name in dir(__builtins__) or eval(name), name


def test_the_api_reference_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "python"))
    reference = importlib.import_module("generate_api").reference(concurrent_locks)
    found = (ROOT / "docs/python/api.md").read_text()
    assert found == reference, f"run {Path(sys.executable).name} docs/python/generate_api.py"


def test_everything_public_has_a_docstring() -> None:
    bare = []
    for name in concurrent_locks.__all__:
        value = getattr(concurrent_locks, name)
        if callable(value) and not getattr(value, "__doc__", None):
            bare.append(name)
    assert bare == []
