"""Fences: a protected resource refuses the late write of a process that no longer holds the lock.

A process can be stopped after its last check of the lock and before its write; meanwhile the lock is granted
to another, which writes. So each write carries the token of its grant (``guard.token``), and the store
compares: it remembers the greatest and refuses smaller ones, with :class:`LockLostError`.
A token equal to the greatest passes: one grant may write many times.

All writers of a resource must go through its fence, with tokens of the same lock. ``docs/fencing.md``
has the details, including what to do when tokens restart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from . import _core
from .errors import LockLostError

SQLITE_SCHEMA = _core.FENCE_SQLITE_SCHEMA
"""Statements that create the table ``fence`` and its trigger if they are missing: ``connection.executescript``."""
SQLITE_CHECK = _core.FENCE_SQLITE_CHECK
"""The statement of :func:`sqlite_check`: ``?1`` is the resource, ``?2`` the token."""
POSTGRES_SETUP = _core.FENCE_POSTGRES_SETUP
"""One statement that creates the table and the function ``concurrent_locks.fence`` if they are missing."""
POSTGRES_CHECK = _core.FENCE_POSTGRES_CHECK
"""The check for clients with numbered parameters (asyncpg): ``$1`` is the resource, ``$2`` the token."""
POSTGRES_SQLSTATE = _core.FENCE_POSTGRES_SQLSTATE
"""The SQLSTATE of a refusal."""
REDIS_GUARD = _core.FENCE_REDIS_GUARD
"""The script of :func:`redis_call`: ``EVAL REDIS_GUARD 1 FENCE TOKEN COMMAND [ARGUMENT ...]``."""

_POSTGRES_CHECK = "SELECT concurrent_locks.fence(%s::text, %s::bigint)"
_IN_TRANSACTION = 2
"""What ``info.transaction_status`` is in psycopg within a transaction that has not failed."""


def write_file(path: str | PathLike[str], token: int, contents: bytes | str) -> None:
    """Replace a file's content, unless a greater token has written it. Text becomes UTF-8.

    Readers see the complete old or new content, without a lock; when the call returns, the content is on
    disk. The greatest token is in ``NAME.fence`` beside the file. The call waits for the disk: on an event
    loop, use ``await asyncio.to_thread(write_file, ...)``.
    """
    _core.fence_write_file(path, token, contents.encode() if isinstance(contents, str) else contents)


@contextmanager
def passing(path: str | PathLike[str], token: int) -> Generator[Path, None, None]:
    """Pass the fence beside a file or folder exclusively, for writes that :func:`write_file` does not fit.

    ``with passing("events.log", guard.token) as log:`` yields the path, without symbolic links. Others wait
    until the block ends, so it should be short.
    """
    passage = _core.FencePassage(path, token)
    try:
        yield passage.path
    finally:
        passage.end()


def sqlite_check(connection: sqlite3.Connection, resource: str, token: int) -> None:
    """Check the token, in the transaction that is going to write, before its first write.

    The database needs :data:`SQLITE_SCHEMA`. Raises :class:`LockLostError` if a greater token has written;
    then roll back, as ``with connection:`` does.
    """
    try:
        connection.execute(SQLITE_CHECK, (resource, token)).close()
    except sqlite3.IntegrityError as error:
        _raise_if_refused(error, str(error).startswith(_core.FENCE_SQLITE_REFUSAL), resource, token)
    if not connection.in_transaction:
        _refuse_autocommit()


async def sqlite_check_async(connection: Any, resource: str, token: int) -> None:
    """:func:`sqlite_check` for a connection of aiosqlite."""
    try:
        await (await connection.execute(SQLITE_CHECK, (resource, token))).close()
    except sqlite3.IntegrityError as error:
        _raise_if_refused(error, str(error).startswith(_core.FENCE_SQLITE_REFUSAL), resource, token)
    if not connection.in_transaction:
        _refuse_autocommit()


def postgres_check(connection: Any, resource: str, token: int) -> None:
    """Check the token, in the transaction that is going to write, before its first write.

    For connections of psycopg (2 and 3). The database needs :data:`POSTGRES_SETUP`. Raises
    :class:`LockLostError` if a greater token has written; the transaction has failed then.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(_POSTGRES_CHECK, (resource, token))
    except Exception as error:
        _raise_if_refused(error, _sqlstate(error) == POSTGRES_SQLSTATE, resource, token)
    if connection.info.transaction_status != _IN_TRANSACTION:
        _refuse_autocommit()


async def postgres_check_async(connection: Any, resource: str, token: int) -> None:
    """:func:`postgres_check` for an ``AsyncConnection`` of psycopg 3."""
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(_POSTGRES_CHECK, (resource, token))
    except Exception as error:
        _raise_if_refused(error, _sqlstate(error) == POSTGRES_SQLSTATE, resource, token)
    if connection.info.transaction_status != _IN_TRANSACTION:
        _refuse_autocommit()


def redis_call(client: Any, fence_key: str, token: int, *command: str | bytes | int | float) -> Any:
    """Run one command, unless a greater token has passed the fence. Returns what the command returns.

    ``redis_call(client, "{skills}:fence", guard.token, "SET", "{skills}:data", data)``, with a client of
    redis-py, or any that has its ``eval``. In a cluster, the fence and the keys of the command must be in one
    slot, by a hash tag as here. The fence must not expire or be evicted.
    """
    try:
        return client.eval(REDIS_GUARD, 1, fence_key, token, *command)
    except Exception as error:
        _raise_if_refused(error, _is_redis_refusal(error), fence_key, token)


async def redis_call_async(client: Any, fence_key: str, token: int, *command: str | bytes | int | float) -> Any:
    """:func:`redis_call` for a client of ``redis.asyncio``."""
    try:
        return await client.eval(REDIS_GUARD, 1, fence_key, token, *command)
    except Exception as error:
        _raise_if_refused(error, _is_redis_refusal(error), fence_key, token)


def _sqlstate(error: Exception) -> object:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def _is_redis_refusal(error: Exception) -> bool:
    return str(error).startswith(f"{_core.FENCE_REDIS_REFUSAL} ")


def _raise_if_refused(error: Exception, refused: bool, resource: str, token: int) -> NoReturn:
    """Raise a refusal as :class:`LockLostError`, and any other error unchanged."""
    if not refused:
        raise error
    told = str(error).splitlines()[0]
    raise LockLostError(
        f"too late to write to {resource!r} with fencing token {token}: {told}", resource_name=resource
    ) from error


def _refuse_autocommit() -> NoReturn:
    raise RuntimeError("the fence was checked outside a transaction: the write that follows would not be protected")
