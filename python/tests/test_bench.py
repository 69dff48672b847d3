"""The benchmark runs; what it measures is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "python" / "bench.py"


def test_it_runs_and_tells_its_aims() -> None:
    for peer in ("aiorwlock", "anyio", "fasteners", "filelock", "portalocker", "readerwriterlock"):
        pytest.importorskip(peer)
    done = subprocess.run([sys.executable, str(BENCH), "--quick"], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    tables, aims = done.stdout.split("Aims, and this run:")
    assert tables.count("rounds\n") == 6
    assert len(aims.strip().splitlines()) == 8
