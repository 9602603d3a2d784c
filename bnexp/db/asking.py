"""One statement of anybody's, which may read and nothing else: for so long, and as many rows as are wanted.

SQLite: the file is open for reading only, and an authorizer sees the statement first. PostgreSQL: the statement is
that of a cursor in a read-only transaction, so the server's own parser holds it to one `select`, `values`, `table` or
`with`; `show` and `explain` go as one prepared statement. What neither can stop are functions with effects of their
own, such as pg_terminate_backend: what the role may call, a query may call. Give it a role that may only select.
"""

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from bnexp.errors import DatabaseError, UsageError

LONGEST_VALUE = 10_000_000
"""Bytes of a text or blob that SQLite may make."""
BATCH = 1000
INSTRUCTIONS = 10_000
"""Of SQLite between two looks at the clock."""
SQLITE_REFUSALS = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_RANGE,
}
"""Codes of errors that are the statement's fault, and not the database's."""
SERVER_TROUBLE = ("08", "53", "57", "58", "XX")
"""Classes of PostgreSQL's errors that are not the statement's fault."""
MISSING_PARAMETERS = "08P01"


@dataclass(frozen=True)
class Answer:
    """What a statement says. Rows come as they are taken."""

    columns: list[str]
    rows: Iterator[Sequence[Any]]


class _Clock:
    """How long the database may still take; what is done with its rows meanwhile does not count."""

    def __init__(self, seconds: float) -> None:
        self.seconds = self.left = seconds
        self._began = time.monotonic()

    @contextmanager
    def running(self) -> Iterator[None]:
        self._began = time.monotonic()
        yield
        self.left -= time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        return time.monotonic() - self._began > self.left

    def refusal(self) -> DatabaseError:
        return DatabaseError(f"query: no answer within {self.seconds:g} s; --timeout SECONDS gives it longer")


@contextmanager
def ask(engine: Engine, sql: str, seconds: float) -> Iterator[Answer]:
    """The answer to `sql`, as long as the context lasts. Raises UsageError where it is not one statement that reads,
    or is wrong; DatabaseError where it takes the database more than `seconds`."""
    if not sql.strip():
        raise UsageError("query: the statement is empty")
    asked = {"sqlite": _ask_sqlite, "postgresql": _ask_postgresql}.get(engine.dialect.name)
    if asked is None or engine.dialect.driver not in ("pysqlite", "psycopg"):
        raise UsageError("query: only SQLite and PostgreSQL (psycopg) can be held to reading")
    connection = engine.raw_connection()
    try:
        with asked(connection.driver_connection, sql, _Clock(seconds)) as answer:
            yield answer
    finally:
        connection.invalidate()  # what is set on it for the statement goes with it


@contextmanager
def _ask_sqlite(connection: Any, sql: str, clock: _Clock) -> Iterator[Answer]:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.set_progress_handler(lambda: clock.is_over, INSTRUCTIONS)
    cursor = connection.cursor()

    @contextmanager
    def explained() -> Iterator[None]:
        try:
            with clock.running():
                yield
        except (sqlite3.Warning, sqlite3.ProgrammingError, UnicodeEncodeError) as error:  # several statements, say
            raise UsageError(f"query: {error}") from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_INTERRUPT:
                # SQLite ended it since the handler failed: of Ctrl-C, where time is left.
                raise (clock.refusal() if clock.is_over else KeyboardInterrupt) from error
            if code in SQLITE_REFUSALS:
                hint = "; `query` is for reading" if code == sqlite3.SQLITE_AUTH else ""
                raise UsageError(f"query: {error}{hint}") from error
            raise

    def rows() -> Iterator[Sequence[Any]]:
        while True:
            with explained():
                batch = cursor.fetchmany(BATCH)
            if not batch:
                return
            yield from batch

    with explained():
        cursor.execute(sql)
    yield Answer(_columns(cursor.description), rows())


@contextmanager
def _ask_postgresql(connection: Any, sql: str, clock: _Clock) -> Iterator[Answer]:
    import psycopg

    connection.read_only = True
    unparted = re.match(r"\s*(show|explain)\b", sql, re.IGNORECASE)
    cursor = connection.cursor() if unparted else connection.cursor("bnexp_query")

    @contextmanager
    def explained() -> Iterator[None]:
        try:
            milliseconds = max(1, round(clock.left * 1000))
            connection.execute("select set_config('statement_timeout', %s, true)", [f"{milliseconds}ms"])
            with clock.running():
                yield
        except psycopg.errors.QueryCanceled as error:
            raise clock.refusal() from error
        except psycopg.Error as error:
            said = (error.diag.message_primary or str(error)).partition("\n")[0]
            code = error.sqlstate or SERVER_TROUBLE[0]
            trouble = code.startswith(SERVER_TROUBLE) and code != MISSING_PARAMETERS
            raise (DatabaseError if trouble else UsageError)(f"query: {said}") from error
        except UnicodeEncodeError as error:
            raise UsageError(f"query: {error}") from error
        if clock.left <= 0:
            raise clock.refusal()

    def rows() -> Iterator[Sequence[Any]]:
        while True:
            with explained():
                batch = cursor.fetchmany(BATCH)
            if not batch:
                return
            yield from batch

    try:
        with explained():
            # Prepared, or declared as a cursor: either way the server takes a single statement.
            cursor.execute(sql, prepare=True) if unparted else cursor.execute(sql)
        yield Answer(_columns(cursor.description), rows())
    finally:
        connection.close()  # first: a cursor that is closed says so to the server, which may have no time left for us
        cursor.close()


def _columns(description: Sequence[Any] | None) -> list[str]:
    if description is None:
        raise UsageError("query: the statement returns no rows; `query` is for reading")
    return [column[0] for column in description]
