"""Types: the package and what its users write pass strict checkers, and wrong use is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import concurrent_locks
import pytest

EXPECTATIONS = Path(__file__).parent / "typing_expectations.py"
ALLOWED = Path(__file__).parents[1] / "stubtest-allow.txt"


def wrong_lines() -> list[int]:
    lines = EXPECTATIONS.read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=300)


@pytest.mark.timeout(400)
def test_mypy_sees_what_is_expected() -> None:
    done = run("mypy", "--strict", "--no-incremental", "--follow-imports=silent", str(EXPECTATIONS))
    found = {int(number) for number in re.findall(r"expectations\.py:(\d+): error", done.stdout)}
    assert sorted(found) == wrong_lines(), done.stdout + done.stderr


@pytest.mark.timeout(400)
def test_pyright_sees_what_is_expected() -> None:
    done = run("pyright", "--outputjson", "--pythonpath", sys.executable, str(EXPECTATIONS))
    shown = json.loads(done.stdout)["generalDiagnostics"]
    errors = [each for each in shown if each["severity"] == "error"]
    found = {each["range"]["start"]["line"] + 1 for each in errors}
    assert sorted(found) == wrong_lines(), errors


@pytest.mark.timeout(400)
def test_the_package_passes_mypy_strict() -> None:
    done = run("mypy", "--strict", "--no-incremental", "-p", "concurrent_locks")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(400)
def test_the_stubs_are_what_is_there() -> None:
    done = run("mypy.stubtest", "concurrent_locks._core", "--allowlist", str(ALLOWED))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed() -> None:
    assert concurrent_locks.__file__ is not None
    assert (Path(concurrent_locks.__file__).parent / "py.typed").exists()
