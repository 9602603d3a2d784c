"""Opening a results database: the engine, SQLite's settings, creation and upgrade under one lock."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from bnexp.db.readonly import deny_writing
from bnexp.db.url import exists as exists
from bnexp.db.url import parse_url as parse_url
from bnexp.db.url import shown
from bnexp.errors import DatabaseError, UsageError
from bnexp.text import without_passwords

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


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn the database library's errors into ours. Passwords in the URL are never shown."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        said = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
        raise DatabaseError(f"database {shown(url)}: {without_passwords(said)}") from error


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
    except (SQLAlchemyError, ImportError, ValueError, TypeError) as error:
        raise UsageError(f"--db: no driver for {url.drivername} is installed ({error})") from error
    if sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        if read_only:
            event.listen(engine, "connect", deny_writing)
    return engine.execution_options(postgresql_readonly=True) if read_only and not sqlite else engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; _begin_sqlite does
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma synchronous = normal")


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
        try:
            found = _revision(engine)
        except ValueError as error:  # of a host or name that cannot be one
            raise UsageError(f"--db: {shown(url)}: {error}") from error
        if found is None and inspect(engine).get_table_names():
            found = _revision(engine)  # another process may just have made them
        elif create and (found is None or found < REVISION):
            _migrate(engine)
            found = _revision(engine)
    if found is None:
        raise DatabaseError(f"{shown(url)}: not a bnexp database")
    if found != REVISION:
        raise DatabaseError(
            f"{shown(url)}: its schema is revision {found}, this bnexp reads {REVISION}; install a newer bnexp"
            if found > REVISION
            else f"{shown(url)}: its schema is older; `bnexp run` with this database upgrades it"
        )
    return engine


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


def _revision(engine: Engine) -> str | None:
    """The schema's revision; None where there is no schema of ours."""
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None
        found = connection.execute(text("select version_num from alembic_version")).scalar()
        return None if found is None else str(found)


def _migrate(engine: Engine) -> None:
    """Bring the schema to our revision. Whoever comes while another migrates waits, then finds it done."""
    from alembic import command
    from alembic.config import Config

    if engine.dialect.name == "sqlite":
        _choose_journal(engine)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(hashtext('bnexp migration'))"))
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
