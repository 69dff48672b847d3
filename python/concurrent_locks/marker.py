"""Marker files: they show people and monitoring the holder of a distributed lock. No code relies on them."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from typing import Any

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0)


def write(path: str, told: dict[str, Any]) -> None:
    """Put a file in its place, and its folder if it is missing. Concurrent readers see all or nothing of it."""
    # By descriptor: it is on the way of every distributed lock, and a text file costs more than the rest.
    new = f"{path}.{os.getpid()}.{threading.get_ident()}.new"
    try:
        file = os.open(new, _FLAGS, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        file = os.open(new, _FLAGS, 0o666)
    try:
        try:
            os.write(file, json.dumps(told).encode())
        finally:
            os.close(file)
        os.replace(new, path)
    except OSError:
        with suppress(OSError):
            os.unlink(new)
        raise


def remove(path: str) -> None:
    """Remove a file, if it exists."""
    with suppress(FileNotFoundError):
        os.unlink(path)
