"""Whether a database is whole: its file, its schema, and what must be true of its rows. Nothing is written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, inspect, text

from bnexp.db.connection import explained, open_engine
from bnexp.db.folders import folder_of
from bnexp.db.kept import fault
from bnexp.db.schema import migrate
from bnexp.db.upkeep.invariants import OWN, Invariant, reference, references
from bnexp.db.url import parse_url
from bnexp.errors import DatabaseError

NAMED = 3
"""So many of what is wrong are named."""


@dataclass(frozen=True)
class Found:
    """What a check has found."""

    looked_at: int
    what: str
    """Was looked at, in the plural."""
    wrong: int
    named: Sequence[str] = ()
    """Some of what is wrong."""


Check = Callable[[Connection], Found]


def check(database: str, root: Path | None = None) -> Iterator[tuple[str, Found]]:
    """Make every check, one after the other: what should be true, and what was found. Kept files are looked for under
    `root` if given, else where they are then.

    Raises UsageError where there is no database, DatabaseError where it cannot be opened."""
    url = parse_url(database)
    engine = open_engine(url, create=False)
    try:
        for title, one in _checks(engine, folder_of(url, "files", root)):
            try:
                with explained(url), engine.connect() as connection:
                    yield title, one(connection)
            except DatabaseError as error:  # such as a damaged page, which other checks need not meet
                yield title, Found(0, "", 1, [str(error)])
    finally:
        engine.dispose()


def _checks(engine: Engine, folder: Path) -> Iterator[tuple[str, Check]]:
    if engine.dialect.name == "sqlite":
        yield "the file is undamaged", _file
    tables, views = _fresh()
    yield "every table has its columns", partial(_columns, tables, "tables")
    yield "every view has its columns", partial(_columns, views, "views")
    yield "foreign keys are declared", _declared
    yield "foreign keys hold", _referred
    for invariant in OWN:
        yield invariant.title, partial(_ask, invariant)
    yield "kept files are there and whole", partial(_kept, folder)


def _file(connection: Connection) -> Found:
    """SQLite's own check of every page."""
    answers = connection.exec_driver_sql("pragma integrity_check").scalars().all()
    wrong = [line for answer in answers for line in str(answer).splitlines() if line != "ok"]
    return Found(1, "files", len(wrong), wrong[:NAMED])


def _fresh() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The columns of each table, and of each view, of a freshly made database."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
        found = inspect(connection)
        tables, views = (
            {name: [str(column["name"]) for column in found.get_columns(name)] for name in names}
            for names in (found.get_table_names(), found.get_view_names())
        )
    engine.dispose()
    return tables, views


def _columns(expected: Mapping[str, list[str]], what: str, connection: Connection) -> Found:
    """Whether each can be selected from, and has its columns."""
    found = inspect(connection)
    there = {*found.get_table_names(), *found.get_view_names()}
    wrong = [f"{name} is missing" for name in expected if name not in there]
    for name in sorted(expected.keys() & there):
        columns = connection.execute(text(f"select * from {name} limit 1")).keys()
        wrong += [f"{name} has no column {column}" for column in expected[name] if column not in columns]
    return Found(len(expected), what, len(wrong), wrong[:NAMED])


def _declared(connection: Connection) -> Found:
    """Whether the database itself minds its foreign keys."""
    declared = {
        (table, column, key["referred_table"])
        for (_, table), keys in inspect(connection).get_multi_foreign_keys().items()
        for key in keys
        for column in key["constrained_columns"]
    }
    expected = list(references())
    missing = [key for key in expected if key not in declared]
    wrong = [f"{table}.{column} to {parent}" for table, column, parent in missing]
    return Found(len(expected), "keys", len(wrong), wrong[:NAMED])


def _referred(connection: Connection) -> Found:
    found = [_ask(reference(*names), connection) for names in references()]
    named = [name for one in found for name in one.named]
    return Found(sum(one.looked_at for one in found), "rows", sum(one.wrong for one in found), named[:NAMED])


def _kept(folder: Path, connection: Connection) -> Found:
    """Whether each file that is named is there, has its size, and is what its hash says."""
    found = connection.execute(text("select distinct sha256, bytes from files order by 1")).all()
    wrong = [words for row in found if (words := fault(folder, row.sha256, row.bytes))]
    return Found(len(found), "files", len(wrong), wrong[:NAMED])


def _ask(asked: Invariant, connection: Connection) -> Found:
    """Count the rows that are wrong, and name some."""
    counted = f"select count(*), coalesce(sum(case when {asked.wrong} then 1 else 0 end), 0) from {asked.source}"
    looked_at, wrong = connection.execute(text(counted)).one()
    named: Sequence[str] = ()
    if wrong:
        query = f"select {asked.name} from {asked.source} and ({asked.wrong}) order by 1 limit {NAMED}"
        named = connection.execute(text(query)).scalars().all()
    return Found(looked_at, asked.rows, wrong, named)
