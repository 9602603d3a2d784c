"""Which database is meant by `--db`: a path, or a URL. And how it is named to people: without its password."""

import os
import re
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from bnexp.errors import UsageError
from bnexp.text import without_passwords

PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
"""Where a server listens unless its URL says otherwise."""

WRITE = "write a path, or dialect://user@host/name"
DRIVER = "postgresql+psycopg"
"""What postgresql:// means here."""
PLACE = ("host", "hostaddr", "port", "service", "dbname", "user")
"""The options of PostgreSQL's client that say which database it is."""


def parse_url(database: str) -> URL:
    """The URL of `database`: a path means SQLite. Raises UsageError where it is neither."""
    if "://" not in database:
        if re.match(r"(postgres|postgresql|mysql|mariadb|sqlite|file)(\+\w+)?:", database):
            raise UsageError(f"--db: not a database URL; {WRITE}")
        return _sqlite(URL.create("sqlite", database=database))
    try:
        database.encode()
        url = make_url(database)
    except (ArgumentError, ValueError) as error:  # a ValueError is of a port that is no number, or of no UTF-8
        raise UsageError(f"--db: not a database URL; {WRITE}") from error
    if url.get_backend_name() != "sqlite" and "@" in f"{url.host}{url.database}":
        # What stands in front of it may be a part of the password, which would be shown as a host or name.
        raise UsageError("--db: an @ in a user's name or password is written %40")
    if "\0" in database or any("\0" in (part or "") for part in (url.username, str(url.password or ""))):
        raise UsageError("--db: has a NUL character")
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    return url.set(drivername=DRIVER) if url.drivername == "postgresql" else url


def _sqlite(url: URL) -> URL:
    """A SQLite database is a file, and nothing else may be said of it: not that it lives in memory, where it would be
    gone with the process, nor what the driver should do."""
    path = url.database or ""
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise UsageError(f"--db: {url.drivername} is not supported; write sqlite:///path, or the path alone")
    if url.host or url.username or url.password or url.query or path in ("", ":memory:") or path.startswith("file:"):
        raise UsageError("--db: a SQLite database is a file; write sqlite:///path, or the path alone")
    if "\0" in path:
        raise UsageError("--db: has a NUL character")
    return URL.create("sqlite", database=os.path.expanduser(path))  # noqa: PTH111 (a user's home that is not there stays)


def shown(url: URL) -> str:
    """The database as it may be printed and stored, and as people write it: with what says which one is meant, without
    the driver that we chose. No password stands in it, wherever the URL has one."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    name = "postgresql" if url.drivername == DRIVER else url.drivername
    where = {option: value for option, value in url.query.items() if option in PLACE}
    plain = URL.create(name, url.username, None, url.host, url.port, url.database, where)
    address, mark, options = plain.render_as_string().partition("?")
    return without_passwords(address + mark + options.replace("%2F", "/"))


def place(url: URL) -> str:
    """The server and the database, however they are spelled: not who opens it, nor by which driver or options. A file
    is its real path."""
    if url.get_backend_name() == "sqlite":
        return os.path.realpath(url.database or "")
    backend = url.get_backend_name()
    host = str(url.query.get("host") or url.host or "localhost").lower()
    port = url.query.get("port") or url.port or PORTS.get(backend, "")
    return f"{backend}://{host}:{port}/{url.query.get('dbname') or url.database or url.username or ''}"


def exists(database: str) -> bool:
    """Whether there may be something to open."""
    url = parse_url(database)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()
