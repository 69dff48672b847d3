"""Marker files of distributed locks: what readers see, and what they are made of."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from concurrent_locks import LOCK_DIR, DistributedLock, get_lock_manager, marker


def shown(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DistributedLock(name).lock_file_path.read_text())
    return found


def test_of_each_hold_its_own(name: str) -> None:
    manager = get_lock_manager()
    for note in ("short", 'a note with \N{SNOWMAN} and "quotes"', "n" * 80, None):
        with manager.distributed_lock(name, note=note) as guard:
            told = shown(name)
            assert told["note"] == (note or "")
            assert (told["token"], told["resource_name"]) == (guard.token, name)
            assert told["requester"] == guard.owner
            assert told["acquired_at"] > 1e9


def test_of_several_at_a_time(name: str) -> None:
    manager = get_lock_manager()
    for _ in range(3):
        with manager.distributed_lock(f"{name}-a"), manager.distributed_lock(f"{name}-b"):
            assert [shown(f"{name}-{each}")["resource_name"] for each in "ab"] == [f"{name}-a", f"{name}-b"]
            assert len(list(LOCK_DIR.iterdir())) == 2
        assert list(LOCK_DIR.iterdir()) == []


def test_where_names_cannot_be_added(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(marker, "_links", True)
    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        with get_lock_manager().distributed_lock(name):
            assert shown(name)["pid"] == os.getpid()
            assert len(list(LOCK_DIR.iterdir())) == 1
        assert not DistributedLock(name).lock_file_path.exists()


def test_of_a_kept_file_that_somebody_deleted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marker, "_links", True)
    manager = get_lock_manager()
    for _ in range(3):
        with manager.distributed_lock(name):
            assert shown(name)["pid"] == os.getpid()
        for kept in list(marker._free):
            Path(kept.path).unlink()


IN_A_FORK = """
import json, os, sys
from concurrent_locks import DistributedLock, get_lock_manager
manager = get_lock_manager()
def pid(name):
    return json.loads(DistributedLock(name).lock_file_path.read_text())["pid"]
for _ in range(2):
    with manager.distributed_lock("parent"):
        pass
with manager.distributed_lock("parent"):
    child = os.fork()
    if child == 0:
        for _ in range(2):
            with manager.distributed_lock("child"):
                assert (pid("child"), pid("parent")) == (os.getpid(), os.getppid())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert pid("parent") == os.getpid()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_files_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FORK], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_process_leaves_nothing(tmp_path: Path) -> None:
    program = "from concurrent_locks import *\nget_lock_manager().distributed_lock('x').acquire()"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == []
    assert [each.name for each in tmp_path.iterdir()] == ["memory"]


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no modes")
def test_others_do_not_see_it_in_the_folder_for_temporary_files(name: str) -> None:
    with get_lock_manager().distributed_lock(name):
        pass
    folder = marker._folder
    if folder is not None:
        assert Path(folder).parent == Path(tempfile.gettempdir())
        assert Path(folder).stat().st_mode & 0o077 == 0
