"""Changing a database as a whole: one transaction, which is written or leaves no trace, and no writer beside it."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from bnexp.db.connection import make_engine, open_engine, writing
from bnexp.db.leases import give_back
from bnexp.errors import UsageError

PART = 500
"""Numbers in one statement; SQLite may allow no more than 999."""


@contextmanager
def alone(url: URL, *, create: bool) -> Iterator[Connection]:
    """A connection inside the transaction. With `create`, the database is made or upgraded first where need be."""
    open_engine(url, create=create).dispose()
    if url.get_backend_name() == "sqlite" and not os.access(url.database or "", os.W_OK):
        raise UsageError(f"--db {url.database}: is not writable")
    engine = make_engine(url)
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                # A worker stores results beside others that write, but not without a lock on its cohort.
                connection.execute(text("lock table cohorts in exclusive mode"))
            yield connection
    finally:
        engine.dispose()


def take_away(connection: Connection, cohort_ids: Collection[int]) -> None:
    """Give cohorts whose leases have run out back, so that a worker that wakes up writes nothing into them."""
    for cohort_id in cohort_ids:
        give_back(connection, cohort_id)


def parts(numbers: Collection[int], size: int = PART) -> Iterator[list[int]]:
    """The numbers, so many at a time."""
    listed = list(numbers)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]
