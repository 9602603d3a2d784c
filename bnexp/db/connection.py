"""Opening a results database: the engine, SQLite's settings, creation and upgrade under one lock."""

import logging
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from bnexp.db.journal import BUSY_SECONDS, choose_journal
from bnexp.db.readonly import deny_writing
from bnexp.db.retrying import PassingError, trouble
from bnexp.db.schema import REVISION, migrate, revision, unusable
from bnexp.db.url import shown
from bnexp.errors import DatabaseError, UsageError
from bnexp.stopping import heed, whole
from bnexp.text import without_passwords

TURN_MILLISECONDS = 200

SERVER: dict[str, Any] = {"pool_size": 1, "max_overflow": 4, "pool_pre_ping": True}
"""Of the pool: a run writes one thing after the other, and a connection that was lost is noticed before it is used."""
NETWORK = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Options of PostgreSQL's client, unless the URL has others: a host that has vanished is noticed within a minute."""
SESSION = {
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "120s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
"""Settings of a session that writes: whoever stops, or vanishes with his host, in the middle of a transaction, does not
hold up the others for long."""

REMEDIES = {
    "database is locked": f"another program has held its lock for {BUSY_SECONDS} seconds; end it and run again",
    "lock timeout": "another run has held a lock for long; see whether one hangs, and run again",
    "disk is full": "make room and run again: what was stored is kept",
    "disk I/O error": "see whether the disk is full or failing, and run again: what was stored is kept",
    "malformed": "restore a copy, or save what can still be read with `sqlite3 PATH .recover`",
    "not a database": "name another with --db",
}
"""What to do, by words in SQLite's errors."""


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn the database library's errors into ours: PassingError where it is the server's, and may pass. Passwords in
    the URL are never shown. A stop by Ctrl-C that such an error has come in the place of is a stop still: a driver that
    is stopped in a statement tells the server so, and fails with that where nothing reaches it."""
    before = sys.exc_info()[1]
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        if stop := _stop(error, before):
            raise stop from None
        said = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
        remedy = next((f"; {what}" for words, what in REMEDIES.items() if words in said), "")
        message = f"database {shown(url)}: {without_passwords(said)}{remedy}"
        passing = trouble(error)
        raise (PassingError(message, passing) if passing else DatabaseError(message)) from error


def _stop(error: BaseException, before: BaseException | None) -> KeyboardInterrupt | None:
    """The stop during which `error` was raised, unless it was under way `before`."""
    during: BaseException | None = error
    while during is not None and during is not before:
        if isinstance(during, KeyboardInterrupt):
            return during
        during = during.__context__
    return None


def make_engine(url: URL, *, read_only: bool = False) -> Engine:
    """An engine for `url`. SQLite transactions begin explicitly: with the lock for writing where
    `execution_options(writes=True)` asks, so that they wait for it instead of failing half way."""
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and read_only:
        path = Path(url.database or "").resolve()
        query = {"mode": "ro", "uri": "true"}
        if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
            query["immutable"] = "1"  # readers of the write-ahead log need a file of their own beside it
        url = URL.create("sqlite", database=path.as_uri(), query=query)
    try:
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}) if sqlite else _server_engine(url)
    except (SQLAlchemyError, ImportError, ValueError, TypeError) as error:
        hint = "; pip install 'bnexp[postgresql]', and write postgresql://..." if "postgres" in url.drivername else ""
        raise UsageError(f"--db: no driver for {url.drivername} is installed ({error}){hint}") from error
    if sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        if read_only:
            event.listen(engine, "connect", deny_writing)
    elif read_only:
        engine = engine.execution_options(postgresql_readonly=True)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _configure_session)
    if engine.dialect.driver == "psycopg":
        event.listen(engine, "before_cursor_execute", _in_binary)
    return engine


def _server_engine(url: URL) -> Engine:
    libpq = url.drivername in ("postgresql+psycopg", "postgresql+psycopg2")
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # what it warns of, such as a lost connection, it raises too
    options = {name: value for name, value in NETWORK.items() if libpq and name not in url.query}
    return create_engine(url, connect_args=options, **SERVER)


def _configure_session(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("; ".join(f"set {name} = '{value}'" for name, value in SESSION.items()))
    connection.commit()


def _in_binary(_one: Connection, cursor: Any, _statement: str, _values: Any, context: Any, _many: bool) -> None:
    """Have a server send numbers as they are, and not as text, where `execution_options(binary=True)` asks."""
    if context is not None and context.execution_options.get("binary", False):
        cursor.format = 1


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; _begin_sqlite does
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma synchronous = normal")


def _begin_sqlite(connection: Connection) -> None:
    """Begin; for writing, wait for the lock by turns so short that a signal is heard in between."""
    options = connection.get_execution_options()
    if not options.get("writes", False):
        connection.exec_driver_sql("begin")
        return
    deadline = options.get("until", time.monotonic() + BUSY_SECONDS)
    driver: Any = connection.connection.driver_connection
    driver.execute(f"pragma busy_timeout = {TURN_MILLISECONDS}")
    try:
        while True:
            try:
                driver.execute("begin immediate")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            heed()
    finally:
        driver.execute(f"pragma busy_timeout = {BUSY_SECONDS * 1000}")


@contextmanager
def writing(engine: Engine, *, shared: bool = False) -> Iterator[Connection]:
    """A transaction that writes, and is written or leaves no trace; a stop waits for its end. On a server, one that is
    not `shared` has no other such beside it: what is wanted, and which trials stand in which cohort, is written down by
    one at a time. `shared` is for what a cohort's row protects. It locks rows of cohorts first, waiting for one at most
    and passing over what others hold where it looks for any, and then rows of that cohort alone, so that two of its
    kind never wait for each other in a circle."""
    with (
        whole(),
        explained(engine.url),
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        if not shared and engine.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(hashtext('bnexp'))"))
        yield connection


def open_engine(url: URL, *, create: bool) -> Engine:
    """An engine on a database of our revision; with `create`, made or upgraded first where need be.

    Raises UsageError where the database is not there and must not be made, DatabaseError where it cannot be used."""
    if url.get_backend_name() == "sqlite":
        _check_path(Path(url.database or ""), create)
    engine = make_engine(url, read_only=not create)
    with explained(url):
        try:
            found = revision(engine)
        except ValueError as error:  # of a host or name that cannot be one
            raise UsageError(f"--db: {shown(url)}: {error}") from error
        if found is None and inspect(engine).get_table_names():
            found = revision(engine)  # another process may just have made them
        elif create and (found is None or found < REVISION):
            _migrate(engine)
            found = revision(engine)
    if found != REVISION:
        engine.dispose()
        raise unusable(url, found)
    return engine


def upgrade(url: URL) -> str:
    """Bring an older database to our revision; return the one that it had.

    Raises UsageError where there is none, DatabaseError where it is not ours, or newer."""
    if url.get_backend_name() == "sqlite":
        _check_path(Path(url.database or ""), create=False)
    engine = make_engine(url, read_only=True)
    try:
        with explained(url):
            found = revision(engine)
    finally:
        engine.dispose()
    if found is None or found > REVISION:
        raise unusable(url, found)
    if found < REVISION:
        open_engine(url, create=True).dispose()
    return found


def _check_path(path: Path, create: bool) -> None:
    if path.is_dir():
        raise UsageError(f"--db {path}: is a folder; name a file in it, such as {path / 'bnexp.db'}")
    if not path.parent.is_dir():
        raise UsageError(f"--db {path}: the folder {path.parent} does not exist; make it first")
    if path.exists() and not path.is_file():
        raise UsageError(f"--db {path}: is not a file")
    if not create and not path.exists():
        raise UsageError(f"no database at {path}; `bnexp run grid` makes one (or name another with --db)")
    if create and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--db {path}: {path if path.exists() else path.parent} is not writable")


def _migrate(engine: Engine) -> None:
    """Bring the schema to our revision. Whoever comes while another migrates waits, then finds it done."""
    if engine.dialect.name == "sqlite":
        choose_journal(Path(engine.url.database or "").resolve())
    with writing(engine) as connection:
        migrate(connection)
