"""One statement of anybody's, which may read and nothing else: for so long, and as many rows as are wanted.

SQLite: the file is open for reading only, and an authorizer sees the statement first. PostgreSQL: the statement is
that of a cursor in a read-only transaction, so the server's own parser holds it to one `select`, `values`, `table` or
`with`; `show` and `explain` go as one prepared statement. What neither can stop are functions with effects of their
own, such as pg_terminate_backend: what the role may call, a query may call. Give it a role that may only select.
"""

import math
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from bnexp.errors import DatabaseError, UsageError, did_you_mean

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

    def names(self) -> list[str]:
        """The columns, none of which may be called as another is. Raises UsageError where one is."""
        twice = next((name for name in self.columns if self.columns.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"query: two columns are called {twice!r}; rename one with `as`")
        return self.columns


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
def ask(engine: Engine, sql: str, seconds: float, parameters: Mapping[str, Any] | None = None) -> Iterator[Answer]:
    """The answer to `sql`, as long as the context lasts; `:name` in it stands for one of `parameters`, where there are
    any. Raises UsageError where it is not one statement that reads, or is wrong; DatabaseError where it takes the
    database more than `seconds`, which may be infinite."""
    if not sql.strip():
        raise UsageError("query: the statement is empty")
    asked = {"sqlite": _ask_sqlite, "postgresql": _ask_postgresql}.get(engine.dialect.name)
    if asked is None or engine.dialect.driver not in ("pysqlite", "psycopg"):
        raise UsageError("query: only SQLite and PostgreSQL (psycopg) can be held to reading")
    connection = engine.raw_connection()
    try:
        with asked(connection.driver_connection, *_bound(engine, sql, parameters), _Clock(seconds)) as answer:
            yield answer
    finally:
        connection.invalidate()  # what is set on it for the statement goes with it


def _bound(engine: Engine, sql: str, parameters: Mapping[str, Any] | None) -> tuple[str, Mapping[str, Any] | None]:
    """A statement and its parameters as the driver has them. Without any, the statement is given as it is: a colon or
    a percent sign in it means what it means to the database."""
    if not parameters:
        return sql, None
    style = {"sqlite": "named", "postgresql": "pyformat"}[engine.dialect.name]
    make: Any = type(engine.dialect)
    dialect = make(paramstyle=style)
    compiled = dialect.statement_compiler(dialect, text(sql))
    missing = next((name for name in compiled.params if name not in parameters), None)
    if missing is not None:
        raise UsageError(f"query: no value for the parameter {missing!r} ({did_you_mean(missing, parameters)})")
    return str(compiled), {name: parameters[name] for name in compiled.params}


@contextmanager
def _ask_sqlite(connection: Any, sql: str, values: Mapping[str, Any] | None, clock: _Clock) -> Iterator[Answer]:
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
        cursor.execute(sql, values or {})
    yield Answer(_columns(cursor.description), rows())


@contextmanager
def _ask_postgresql(connection: Any, sql: str, values: Mapping[str, Any] | None, clock: _Clock) -> Iterator[Answer]:
    import psycopg

    connection.read_only = True
    unparted = re.match(r"\s*(show|explain)\b", sql, re.IGNORECASE)
    cursor = connection.cursor() if unparted else connection.cursor("bnexp_query")

    @contextmanager
    def explained() -> Iterator[None]:
        try:
            limit = f"{max(1, round(clock.left * 1000))}ms" if math.isfinite(clock.left) else "0"
            connection.execute("select set_config('statement_timeout', %s, true)", [limit])
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
            cursor.execute(sql, values, prepare=True) if unparted else cursor.execute(sql, values)
        yield Answer(_columns(cursor.description), rows())
    finally:
        connection.close()  # first: a cursor that is closed says so to the server, which may have no time left for us
        cursor.close()


def _columns(description: Sequence[Any] | None) -> list[str]:
    if description is None:
        raise UsageError("query: the statement returns no rows; `query` is for reading")
    return [column[0] for column in description]
