"""Stores behind fences, and a process that writes to them and stops itself before it does.

    python late_writer.py PLACE LOCKS

Its first command is a line `plain` or `fenced`: it takes the lock, says its token, and waits for the second,
`write TEXT` or `late TEXT`: the latter stops the process first. Then it says `written` or `refused WHY`.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

RESOURCE = "the-store"


class File:
    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def write(self, token: int | None, text: str) -> None:
        from concurrent_locks import fencing

        if token is None:
            self.path.write_text(text)
        else:
            fencing.write_file(self.path, token, text)

    def read(self) -> str:
        return self.path.read_text()


class Sqlite:
    def __init__(self, path: str) -> None:
        from concurrent_locks import fencing

        self.path = path
        with closing(self.connect()) as connection:
            connection.executescript(fencing.SQLITE_SCHEMA)
            connection.execute("CREATE TABLE IF NOT EXISTS store (id INTEGER PRIMARY KEY, text TEXT)")

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60)

    def write(self, token: int | None, text: str) -> None:
        from concurrent_locks import fencing

        with closing(self.connect()) as connection, connection:
            if token is not None:
                fencing.sqlite_check(connection, RESOURCE, token)
            connection.execute("INSERT OR REPLACE INTO store VALUES (1, ?)", (text,))

    def read(self) -> str:
        with closing(self.connect()) as connection:
            return str(connection.execute("SELECT text FROM store").fetchone()[0])


class Postgres:
    def __init__(self, url: str) -> None:
        from concurrent_locks import fencing

        self.url = url
        with self.connect() as connection:
            connection.execute(fencing.POSTGRES_SETUP)
            connection.execute("SELECT pg_advisory_xact_lock(1)")
            connection.execute("CREATE TABLE IF NOT EXISTS store (id int PRIMARY KEY, text text)")

    def connect(self, **options: Any) -> Any:
        import psycopg

        return psycopg.connect(self.url, **options)

    def write(self, token: int | None, text: str) -> None:
        from concurrent_locks import fencing

        with self.connect() as connection:
            if token is not None:
                fencing.postgres_check(connection, RESOURCE, token)
            connection.execute(
                "INSERT INTO store VALUES (1, %s) ON CONFLICT (id) DO UPDATE SET text = %s", (text, text)
            )

    def read(self) -> str:
        with self.connect() as connection:
            return str(connection.execute("SELECT text FROM store").fetchone()[0])


class Redis:
    """The place is a URL with `#` and the prefix of the keys behind it."""

    def __init__(self, place: str) -> None:
        self.url, prefix = place.split("#")
        self.fence, self.key = f"{{{prefix}}}:fence", f"{{{prefix}}}:text"

    def connect(self) -> Any:
        import redis

        return redis.Redis.from_url(self.url, decode_responses=True)

    def write(self, token: int | None, text: str) -> None:
        from concurrent_locks import fencing

        with self.connect() as client:
            if token is None:
                client.set(self.key, text)
            else:
                assert fencing.redis_call(client, self.fence, token, "SET", self.key, text) == "OK"

    def read(self) -> str:
        with self.connect() as client:
            return str(client.get(self.key))


STORES = {"file": File, "sqlite": Sqlite, "postgres": Postgres, "postgresql": Postgres, "redis": Redis}


def open_store(place: str) -> Any:
    """The store at `file:PATH`, `sqlite:PATH`, `postgres://...` or `redis://...#PREFIX`."""
    kind, path = place.split(":", 1)
    return STORES[kind](path if kind in ("file", "sqlite") else place)


def main(place: str, locks: str) -> None:
    from concurrent_locks import LockLostError, LockManager

    store = open_store(place)
    way = sys.stdin.readline().strip()
    guard = LockManager(locks).write_lock(RESOURCE, timeout=60)
    guard.acquire()
    token = guard.token
    print(token, flush=True)
    for line in sys.stdin:
        when, text = line.split()
        if when == "late":
            assert guard.locked()
            os.kill(os.getpid(), signal.SIGSTOP)
        try:
            store.write(token if way == "fenced" else None, text)
            print("written", flush=True)
        except LockLostError as error:
            print("refused", error, flush=True)
    os._exit(0)  # the lock may be lost: there is nobody to tell


if __name__ == "__main__":
    main(*sys.argv[1:])
