"""Opening a results database: the engine, SQLite's settings, creation and upgrade under one lock."""

import os
import shlex
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from bnexp.errors import DatabaseError, UsageError

REVISION = "0004"
"""The schema that this program reads and writes."""

BUSY_SECONDS = 60
NETWORK_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "9p",
    "fuse.sshfs",
}


READING_ACTIONS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_PRAGMA,
    sqlite3.SQLITE_TRANSACTION,
}


def parse_url(database: str) -> URL:
    """The URL of `database`: a path means SQLite. Raises UsageError where it is neither."""
    if "://" not in database:
        return URL.create("sqlite", database=str(Path(database).expanduser()))
    try:
        return make_url(database)
    except ArgumentError as error:
        raise UsageError("--db: not a database URL; write a path, or dialect://user@host/name") from error


def exists(database: str) -> bool:
    """Whether there may be something to open."""
    url = parse_url(database)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn the database library's errors into ours. Passwords in the URL are never shown."""
    shown = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    try:
        yield
    except DBAPIError as error:
        raise DatabaseError(f"database {shown}: {str(error.orig).splitlines()[0]}") from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise DatabaseError(f"database {shown}: {str(error).splitlines()[0]}") from error


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
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS} if sqlite else {})
    except (NoSuchModuleError, ImportError) as error:
        raise UsageError(f"--db: no driver for {url.drivername} is installed ({error})") from error
    if sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        if read_only:
            event.listen(engine, "connect", _deny_writing)
    return engine.execution_options(postgresql_readonly=True) if read_only and not sqlite else engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; _begin_sqlite does
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma synchronous = normal")


def _deny_writing(connection: Any, _record: Any) -> None:
    """Refuse everything but reading, the attaching of other files included, which read-only mode allows."""
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in READING_ACTIONS else sqlite3.SQLITE_DENY
    )


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("begin immediate" if writes else "begin")


def open_engine(url: URL, *, create: bool) -> Engine:
    """An engine on a database of our revision; with `create`, made or upgraded first where need be.

    Raises UsageError where the database is not there and must not be made, DatabaseError where it cannot be used."""
    if url.get_backend_name() == "sqlite":
        _check_path(Path(url.database or ""), create)
    engine = make_engine(url, read_only=not create)
    with explained(url):
        found = _revision(engine)
        if found is None and inspect(engine).get_table_names():
            found = _revision(engine)  # another process may just have made them
        elif create and (found is None or found < REVISION):
            _migrate(engine)
            found = _revision(engine)
    if found != REVISION:
        engine.dispose()
        raise _unusable(url, found)
    return engine


def upgrade(url: URL) -> str:
    """Bring an older database to our revision; return the one that it had.

    Raises UsageError where there is none, DatabaseError where it is not ours, or newer."""
    if url.get_backend_name() == "sqlite":
        _check_path(Path(url.database or ""), create=False)
    engine = make_engine(url, read_only=True)
    try:
        with explained(url):
            found = _revision(engine)
    finally:
        engine.dispose()
    if found is None or found > REVISION:
        raise _unusable(url, found)
    if found < REVISION:
        open_engine(url, create=True).dispose()
    return found


def shown(url: URL) -> str:
    """The database as a person may read it: the path, or the URL without its password."""
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def _unusable(url: URL, found: str | None) -> DatabaseError:
    """What to do about a database without a schema of ours, or with that of an older or newer bnexp."""
    name = shown(url)
    if found is None or not found.isdigit():  # other programs name their revisions otherwise
        return DatabaseError(f"{name}: not a bnexp database")
    if found > REVISION:
        newer = f"written by a newer bnexp (schema {found}; this one reads {REVISION})"
        return DatabaseError(f"{name}: {newer}: pip install --upgrade bnexp")
    return DatabaseError(
        f"{name}: its schema is revision {found}, this bnexp reads {REVISION}; "
        f"`bnexp db upgrade --db {shlex.quote(name)}` upgrades it"
    )


def _check_path(path: Path, create: bool) -> None:
    if path.is_dir():
        raise UsageError(f"--db {path}: is a folder; name a file in it, such as {path / 'bnexp.db'}")
    if not path.parent.is_dir():
        raise UsageError(f"--db {path}: the folder {path.parent} does not exist; make it first")
    if not create and not path.exists():
        raise UsageError(f"no database at {path}; `bnexp run grid` makes one (or name another with --db)")
    if create and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--db {path}: {path if path.exists() else path.parent} is not writable")


def _revision(engine: Engine) -> str | None:
    """The schema's revision; None where there is no schema of ours."""
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None
        return connection.execute(text("select version_num from alembic_version")).scalar()


def _migrate(engine: Engine) -> None:
    """Bring the schema to our revision. Whoever comes while another migrates waits, then finds it done."""
    if engine.dialect.name == "sqlite":
        _choose_journal(engine)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(hashtext('bnexp migration'))"))
        migrate(connection)


def migrate(connection: Connection) -> None:
    """Bring the schema to our revision, inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _choose_journal(engine: Engine) -> None:
    """Write-ahead logging, which lets readers and a writer work at once; the rollback journal where the file lies on a
    network file system, which cannot carry the log's shared memory. SQLite does not wait for its lock here."""
    path = Path(engine.url.database or "").resolve()
    mode = "delete" if _file_system(path.parent) in NETWORK_FILE_SYSTEMS else "wal"
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        try:
            connection.execute(f"pragma journal_mode = {mode}")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()


def _file_system(folder: Path) -> str:
    """The type of the file system that holds `folder`; empty where the system does not tell."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    holding = [(point, kind) for point, kind in mounts if folder.is_relative_to(point.replace("\\040", " "))]
    return max(holding, key=lambda mount: len(mount[0]), default=("", ""))[1]
