"""Marker files: they show people and monitoring the holder of a distributed lock. No code relies on them.

To make, fill and delete a file takes thirty times as long as the lock. So a process keeps the files that it has made,
in the folder for temporary files, and a marker is one more name of such a file, for as long as the lock is held. If
names cannot be added from there (another file system), each marker is a file of its own.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass

from . import _core

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0)
_BLOCK = 512


@dataclass(slots=True)
class _Kept:
    """A file that has a name besides those of markers."""

    path: str
    descriptor: int
    size: int


Marker = tuple[str, _Kept | None]
"""Where a marker is, and the kept file that it is."""

_free: list[_Kept] = []
"""The kept files that are no marker now."""
_made: list[_Kept] = []
_folder: str | None = None
"""Where they are."""
_numbers = itertools.count()
_forks = _core.forks()
_links = hasattr(os, "link") and hasattr(os, "pwrite")
"""Whether kept files can be used here, as far as is known."""


def put(path: str, text: bytes) -> Marker:
    """Put a file with this text in its place. Concurrent readers see all or nothing of it."""
    global _links
    if _links:
        kept = _fill(text)
        try:
            if kept is not None:
                os.link(kept.path, path)
                return path, kept
        except (FileExistsError, FileNotFoundError):
            # Left behind by a killed process; or the folder is missing, or somebody cleaned up. The next one is linked.
            _drop(kept)
        except OSError:
            _links = False
            _drop(kept)
    _write(path, text)
    return path, None


def remove(marker: Marker) -> None:
    """Remove a marker, if it exists."""
    path, kept = marker
    try:  # noqa: SIM105 - a context manager takes as long as the rest
        os.unlink(path)
    except FileNotFoundError:
        pass
    if kept is not None:
        _free.append(kept)


def forget() -> None:
    """Delete the kept files of this process."""
    global _folder
    if _forks != _core.forks():
        return
    while _made:
        _drop(_made[-1])
    folder, _folder = _folder, None
    if folder is not None:
        with suppress(OSError):
            os.rmdir(folder)


def _fill(text: bytes) -> _Kept | None:
    """A kept file with this text, and blanks after it; ``None`` if there can be none."""
    global _folder, _forks, _links
    if _forks != _core.forks():
        # The files are the parent's: it goes on using them.
        _folder, _forks = None, _core.forks()
        for other in _made:
            os.close(other.descriptor)
        _made.clear()
        _free.clear()
    kept: _Kept | None
    try:
        kept = _free.pop()  # One step, so that two threads do not get one file.
    except IndexError:
        kept = None
    try:
        kept = kept or _make()
        # Blocks of one size, so that nothing of an earlier text is left.
        kept.size = max(kept.size, -(-len(text) // _BLOCK) * _BLOCK)
        os.pwrite(kept.descriptor, text.ljust(kept.size), 0)
    except OSError:
        _links = False
        if kept is not None:
            _drop(kept)
        return None
    return kept


def _make() -> _Kept:
    global _folder
    if _folder is None:
        # Nobody else's: a marker is seen by those only who may look into its own folder.
        _folder = tempfile.mkdtemp(prefix="concurrent-locks-")
    path = os.path.join(_folder, f"{next(_numbers)}.marker")
    kept = _Kept(path, os.open(path, _FLAGS | os.O_EXCL, 0o666), 0)
    _made.append(kept)
    return kept


def _drop(kept: _Kept | None) -> None:
    """Delete a kept file."""
    if kept is None or kept not in _made:
        return
    _made.remove(kept)
    os.close(kept.descriptor)
    with suppress(OSError):
        os.unlink(kept.path)


def _write(path: str, text: bytes) -> None:
    """A file of its own. Its folder is made if it is missing."""
    new = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.new"
    try:
        file = os.open(new, _FLAGS, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        file = os.open(new, _FLAGS, 0o666)
    try:
        try:
            os.write(file, text)
        finally:
            os.close(file)
        os.replace(new, path)
    except OSError:
        with suppress(OSError):
            os.unlink(new)
        raise
