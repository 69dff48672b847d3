"""Fences: a write that comes too late lands without its token, and is refused with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import late_writer
import pytest
from concurrent_locks import LockLostError, LockManager, fencing
from conftest import server_url
from late_writer import RESOURCE, Postgres, Redis, Sqlite, open_store

STORES = ["file", "sqlite", "postgres", "redis"]


def server(variable: str, client: str) -> str:
    """The URL of the server that the whole run shares, if there is also the client that the test needs."""
    url = server_url(variable)
    pytest.importorskip(client)
    return url


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of the test's own, of the kind that it names."""
    return make_place(request.param, tmp_path)


def make_place(kind: str, folder: Path) -> str:
    unique = uuid.uuid4().hex
    if kind == "redis":
        return f"{server('LOCKS_TEST_REDIS', 'redis')}#{unique}"
    if kind == "postgres":
        url = server("LOCKS_TEST_POSTGRES", "psycopg")
        with connect_postgres(url) as connection:
            connection.execute(f"CREATE DATABASE test_{unique}")
        return url.rsplit("/", 1)[0] + f"/test_{unique}"
    return f"{kind}:{folder / 'store'}"


def connect_postgres(url: str) -> Any:
    import psycopg

    return psycopg.connect(url, autocommit=True)


class Writer:
    """A process with the lock."""

    def __init__(self, place: str, locks: str, way: str) -> None:
        command = [sys.executable, "-W", "error", late_writer.__file__, place, locks]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.send(way)
        self.token = int(self.answer())

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        self.send(line)
        return self.answer()

    def until_it_stops(self) -> None:
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)


@contextmanager
def writer(place: str, locks: str, way: str) -> Iterator[Writer]:
    started = Writer(place, locks, way)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def late_write(place: str, locks: str, way: str) -> tuple[str, str]:
    """The answer to the late one, and what the store holds."""
    store = open_store(place)
    with writer(place, locks, way) as a:
        a.send("late from-a")
        a.until_it_stops()
        LockManager(locks).break_lock(RESOURCE, a.token)
        with writer(place, locks, way) as b:
            assert b.token > a.token
            assert b.ask("write from-b") == "written"
            assert store.read() == "from-b"
            os.kill(a.process.pid, signal.SIGCONT)
            told, left = a.answer(), store.read()
            assert b.ask("write again-from-b") == "written", "a grant may write as often as it likes"
            assert store.read() == "again-from-b"
    return told, left


@pytest.fixture
def locks(tmp_path: Path) -> str:
    """A table of the test's own."""
    return f"host:{tmp_path / 'locks.table'}"


@pytest.mark.parametrize("place", STORES, indirect=True)
def test_a_late_write_lands_without_its_token(place: str, locks: str) -> None:
    """Nothing stops it: this is what the other test would see if the fence were open."""
    assert late_write(place, locks, "plain") == ("written", "from-a")


@pytest.mark.parametrize("place", STORES, indirect=True)
def test_a_late_write_is_refused_with_its_token(place: str, locks: str) -> None:
    told, left = late_write(place, locks, "fenced")
    assert told.startswith("refused too late to write"), told
    assert left == "from-b"


@pytest.mark.parametrize("place", STORES, indirect=True)
def test_equal_and_greater_tokens_pass(place: str) -> None:
    store = open_store(place)
    for token, text in [(7, "a"), (7, "b"), (2**53 - 2, "c"), (2**53 - 1, "d")]:
        store.write(token, text)
        assert store.read() == text
    with pytest.raises(LockLostError, match=f"{2**53 - 2}") as caught:
        store.write(2**53 - 2, "late")
    assert store.read() == "d"
    if not place.startswith("file:"):
        assert caught.value.resource_name in (RESOURCE, getattr(store, "fence", None))


def test_text_and_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    fencing.write_file(tmp_path / "a", 1, "grün\n")
    assert (tmp_path / "a").read_bytes() == "grün\n".encode()
    fencing.write_file(str(tmp_path / "a"), 1, b"\xff\r\n")
    assert (tmp_path / "a").read_bytes() == b"\xff\r\n"


def test_passing_gives_the_path_and_holds_others_back(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "log")
    (tmp_path / "log").touch()
    wrote = threading.Event()

    def other() -> None:
        fencing.write_file(tmp_path / "log", 8, "other")
        wrote.set()

    thread = threading.Thread(target=other)
    with fencing.passing(tmp_path / "link", 7) as path:
        assert path == (tmp_path / "log").resolve()
        thread.start()
        for _ in range(100):
            path.write_text("mine")
            assert path.read_text() == "mine"
        assert not wrote.is_set()
    thread.join(60)
    assert path.read_text() == "other"
    with pytest.raises(LockLostError, match="token 7 is older than 8"), fencing.passing(path, 7):
        pytest.fail("passed")


def test_a_passage_ends_with_an_exception(tmp_path: Path) -> None:
    with pytest.raises(KeyError), fencing.passing(tmp_path / "a", 1):
        raise KeyError
    fencing.write_file(tmp_path / "a", 1, "")


@pytest.mark.parametrize("options", [{"isolation_level": None}, {"autocommit": True}], ids=["old", "new"])
def test_sqlite_refuses_a_check_outside_a_transaction(tmp_path: Path, options: dict[str, Any]) -> None:
    if "autocommit" in options and sys.version_info < (3, 12):
        pytest.skip("Python 3.12 has it")
    store = Sqlite(str(tmp_path / "a.db"))
    with closing(sqlite3.connect(store.path, **options)) as connection:
        with pytest.raises(RuntimeError, match="outside a transaction"):
            fencing.sqlite_check(connection, RESOURCE, 1)
        connection.execute("BEGIN IMMEDIATE")
        fencing.sqlite_check(connection, RESOURCE, 2)
        connection.execute("ROLLBACK")


def test_other_errors_of_sqlite_stay_what_they_are(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            fencing.sqlite_check(connection, RESOURCE, 1)
        connection.executescript(fencing.SQLITE_SCHEMA)
        with pytest.raises(sqlite3.IntegrityError):
            fencing.sqlite_check(connection, RESOURCE, "one")  # type: ignore[arg-type]
        with pytest.raises(OverflowError):
            fencing.sqlite_check(connection, RESOURCE, 2**63)


async def test_sqlite_async(tmp_path: Path) -> None:
    async with aiosqlite.connect(tmp_path / "a.db") as connection:
        await connection.executescript(fencing.SQLITE_SCHEMA)
        await fencing.sqlite_check_async(connection, RESOURCE, 7)
        await connection.commit()
        with pytest.raises(LockLostError, match="token 6"):
            await fencing.sqlite_check_async(connection, RESOURCE, 6)
        await connection.rollback()
    async with aiosqlite.connect(tmp_path / "a.db", isolation_level=None) as connection:
        with pytest.raises(RuntimeError, match="outside a transaction"):
            await fencing.sqlite_check_async(connection, RESOURCE, 7)


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_postgres_refuses_a_check_outside_a_transaction(place: str) -> None:
    store = Postgres(place)
    with store.connect(autocommit=True) as connection:
        with pytest.raises(RuntimeError, match="outside a transaction"):
            fencing.postgres_check(connection, RESOURCE, 1)
        with connection.transaction():
            fencing.postgres_check(connection, RESOURCE, 2)


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_postgres_async(place: str) -> None:
    import psycopg

    Postgres(place).write(7, "seven")

    async def check(token: int, **options: Any) -> None:
        async with await psycopg.AsyncConnection.connect(place, **options) as connection:
            await fencing.postgres_check_async(connection, RESOURCE, token)

    asyncio.run(check(7))
    with pytest.raises(LockLostError, match="token 6 is older than 7"):
        asyncio.run(check(6))
    with pytest.raises(RuntimeError, match="outside a transaction"):
        asyncio.run(check(8, autocommit=True))


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_other_errors_of_postgres_stay_what_they_are(place: str) -> None:
    import psycopg

    with connect_postgres(place) as connection, pytest.raises(psycopg.errors.InvalidSchemaName):
        fencing.postgres_check(connection, RESOURCE, 1)


@pytest.mark.parametrize("place", ["redis"], indirect=True)
async def test_redis_async(place: str) -> None:
    import redis.asyncio

    store = Redis(place)
    async with redis.asyncio.Redis.from_url(store.url) as client:
        assert await fencing.redis_call_async(client, store.fence, 7, "INCRBY", store.key, 5) == 5
        with pytest.raises(LockLostError, match="7 has passed"):
            await fencing.redis_call_async(client, store.fence, 6, "INCRBY", store.key, 5)
        with pytest.raises(redis.ResponseError, match="below 2\\^53"):
            await fencing.redis_call_async(client, store.fence, 2**53, "INCRBY", store.key, 5)
        assert int(await client.get(store.key)) == 5


@pytest.mark.parametrize("place", ["redis"], indirect=True)
def test_other_errors_of_redis_stay_what_they_are(place: str) -> None:
    import redis

    store = Redis(place)
    store.write(1, "text")
    with store.connect() as client, pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        fencing.redis_call(client, store.fence, 1, "RPUSH", store.key, "x")
