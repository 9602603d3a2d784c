"""Many rows at a time, inside the store's transactions."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from bnexp.db.tables import Base, TrialRow


def inserting(connection: Connection, table: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """An insert that may say what to do with rows that are there already."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_new(connection: Connection, table: type[Base], values: Sequence[dict[str, Any]]) -> None:
    """Insert the rows that are not there yet."""
    if values:
        connection.execute(inserting(connection, table).on_conflict_do_nothing(), values)


def insert_rows(connection: Connection, table: str, columns: Sequence[str], values: list[tuple[Any, ...]]) -> None:
    """Insert rows by the driver itself, where they are many: SQLAlchemy's own way takes longer than SQLite's
    writing, and PostgreSQL reads a table's rows as one stream faster than as statements."""
    if not values:
        return
    if connection.dialect.driver == "psycopg":
        _copy(connection, table, columns, values)
        return
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    marks = ", ".join(mark for _ in columns)
    connection.exec_driver_sql(f"insert into {table} ({', '.join(columns)}) values ({marks})", values)


def _copy(connection: Connection, table: str, columns: Sequence[str], values: list[tuple[Any, ...]]) -> None:
    statement = f"copy {table} ({', '.join(columns)}) from stdin"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in values:
                copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as error:  # SQLAlchemy does not see what goes past it
        raise DBAPIError(statement, None, error, connection_invalidated=bool(driver.closed)) from error


def ids_by_key(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    """The numbers of the trials that have these keys."""
    found: dict[str, int] = {}
    for start in range(0, len(keys), 500):
        query = select(TrialRow.key, TrialRow.id).where(TrialRow.key.in_(keys[start : start + 500]))
        found |= {row.key: row.id for row in connection.execute(query)}
    return found
