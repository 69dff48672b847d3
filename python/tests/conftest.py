"""What every test has: a working directory, a lock space and resource names of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before the package is imported: distributed locks of a test run meet those of no other run.
SPACE = f"pytest-{os.getpid()}-{uuid.uuid4().hex[:8]}"
os.environ["LOCKS_SPACE"] = SPACE
os.environ.pop("CONCURRENT_LOCKS_URL", None)

from concurrent_locks import LockManager  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def space() -> Iterator[str]:
    """The lock space of this run; its table is removed at the end."""
    yield SPACE
    table = Path(f"/dev/shm/concurrent-locks-{os.getuid()}/{SPACE}.table")
    table.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`LOCK_DIR` is relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def name() -> str:
    """A resource name that no other test uses."""
    return f"resource-{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def host_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A table that other processes can reach."""
    return f"host:{tmp_path_factory.mktemp('table')}/tests.table"


def server_url(variable: str) -> str:
    """The URL of the server that the whole run shares."""
    url = os.environ.get(variable)
    if url is None:
        if os.environ.get("CI"):
            pytest.fail(f"{variable} is not set")
        pytest.skip(f"needs a server: set {variable}, or run `cargo xtask test`")
    return url


@pytest.fixture(params=["local", "host", "redis", "postgres"])
def manager(request: pytest.FixtureRequest, host_url: str) -> LockManager:
    """A manager of each engine: the promises are the same."""
    match request.param:
        case "local":
            return LockManager("local:tests")
        case "host":
            return LockManager(host_url)
        case kind:
            return LockManager(f"{server_url(f'LOCKS_TEST_{kind.upper()}')}?space={SPACE}")


@pytest.fixture(params=["local", "host"])
def table_manager(request: pytest.FixtureRequest, host_url: str) -> LockManager:
    """A manager of an engine without a server: a free lock is taken at once, and has no lease."""
    return LockManager(host_url if request.param == "host" else "local:tests")


@pytest.fixture
def empty_manager() -> LockManager:
    """A manager whose space nobody has used yet."""
    return LockManager(f"local:{uuid.uuid4().hex}")
