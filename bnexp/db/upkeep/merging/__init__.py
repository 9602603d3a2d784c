"""Joining another database into one: by trial key, whole or not at all. What has ended here stays as it is."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, event, select, text
from sqlalchemy.engine import URL, ExceptionContext

from bnexp.db.connection import explained, open_engine
from bnexp.db.folders import folder_of
from bnexp.db.tables import ExperimentRow, ExperimentTrialRow, VerdictRow
from bnexp.db.upkeep.merging.attempts import copy_attempts
from bnexp.db.upkeep.merging.files import copy_files
from bnexp.db.upkeep.merging.instances import (
    copy_claims,
    copy_instances,
    copy_links,
    copy_verdicts,
    match_instances,
)
from bnexp.db.upkeep.merging.matching import match
from bnexp.db.upkeep.merging.trials import copy_measurements, copy_trials
from bnexp.db.upkeep.writing import alone, parts
from bnexp.db.url import parse_url
from bnexp.errors import UsageError

IDENTITY = text(
    "select pg_postmaster_start_time(), oid, current_schema() from pg_database where datname = current_database()"
)
"""Of a PostgreSQL database, by whatever URL it was reached."""


@dataclass(frozen=True)
class Merged:
    """What came, and what did not."""

    instances: int
    """Unknown here before."""
    trials: int
    """Unknown here before."""
    results: int
    """Of these, and of trials that had no result here."""
    curves: int
    """Rows of curves that came with them."""
    probes: int
    """Rows of probes."""
    files: int
    """That are kept of these trials."""
    missing: list[str]
    """The names of those that are gone or damaged in the other database's folder."""
    conflicts: dict[str, float]
    """Keys of trials that ended in both databases with different numbers, and the largest relative difference, which is
    infinite where they did not end alike; those here were kept."""
    busy: list[str]
    """Keys of trials that a worker trains here; they were left to it."""
    unjudged: list[tuple[str, str]]
    """Name and overrides of instances whose verdicts, if they had any, no longer speak of all their results."""


def merge(database: str, other: str, root: Path | None = None) -> Merged:
    """Join `other` into `database`, which is made or upgraded first where need be; both are paths or URLs. Kept files
    go under `root` if given, and come from there if the other database's are there.

    Raises UsageError where they are one, DatabaseError where they cannot be joined."""
    here, there = parse_url(database), parse_url(other)
    _refuse_same_file(here, there)
    with _snapshot(there) as source, alone(here, create=True) as target:
        _refuse_same_database(source, target)
        theirs = folder_of(there, "files", root)
        if not theirs.is_dir():
            theirs = folder_of(there, "files")
        return _join(source, target, theirs, folder_of(here, "files", root))


@contextmanager
def _snapshot(url: URL) -> Iterator[Connection]:
    """The database for reading, as it is at one moment."""
    with explained(url):
        engine = open_engine(url, create=False)

    def name_it(context: ExceptionContext) -> None:
        with explained(url):  # what goes wrong here is not the other database's
            raise context.sqlalchemy_exception or context.original_exception

    event.listen(engine, "handle_error", name_it)
    isolation = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    try:
        with engine.connect().execution_options(**isolation) as connection:
            yield connection
    finally:
        engine.dispose()


def _refuse_same_file(here: URL, there: URL) -> None:
    if {here.get_backend_name(), there.get_backend_name()} == {"sqlite"}:
        ours, theirs = Path(here.database or ""), Path(there.database or "")
        if ours.exists() and theirs.exists() and ours.samefile(theirs):
            raise UsageError(f"{theirs} and --db {ours} are the same database; name another to merge into it")


def _refuse_same_database(source: Connection, target: Connection) -> None:
    if source.dialect.name == target.dialect.name == "postgresql":
        ours, theirs = (tuple(connection.execute(IDENTITY).one()) for connection in (target, source))
        if ours == theirs:
            raise UsageError("OTHER and --db are the same database; name another to merge into it")


def _join(source: Connection, target: Connection, theirs: Path, ours: Path) -> Merged:
    instances = match_instances(source, target)
    shared = set(target.execute(select(ExperimentRow.id)).scalars())
    matched = match(source, target)
    copy_trials(source, target, matched)
    copy_attempts(source, target, matched)
    curves, probes = copy_measurements(source, target, matched)
    files = copy_files(source, target, matched, theirs, ours)
    copy_instances(source, target, instances)
    copy_links(source, target, instances, matched.here)
    unlike = copy_verdicts(source, target, instances, matched, copy_claims(source, target))
    return Merged(
        instances=len(instances.new),
        trials=len(matched.new),
        results=len(matched.ended),
        curves=curves,
        probes=probes,
        files=files.rows,
        missing=files.missing,
        conflicts=matched.conflicts,
        busy=matched.busy,
        unjudged=_unjudge(target, shared, [matched.here[number] for number in matched.ended], unlike),
    )


def _unjudge(
    target: Connection, shared: set[int], trials: Collection[int], unlike: Collection[int]
) -> list[tuple[str, str]]:
    """Remove the verdicts of instances that were here and now have more results, those of `trials`."""
    more: set[int] = set()
    for part in parts(trials):
        wanting = select(ExperimentTrialRow.experiment_id).where(ExperimentTrialRow.trial_id.in_(part)).distinct()
        more |= shared & set(target.execute(wanting).scalars())
    for part in parts(more):
        target.execute(delete(VerdictRow).where(VerdictRow.experiment_id.in_(part)))
    columns = select(ExperimentRow.id, ExperimentRow.name, ExperimentRow.overrides).order_by(ExperimentRow.id)
    return [(name, overrides) for number, name, overrides in target.execute(columns) if number in {*more, *unlike}]
