"""Forgetting an experiment: its instances, and the trials that no other instance wants. Claims stay: when they were
fixed is part of the record."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, text

from bnexp.db.connection import explained
from bnexp.db.leases import clock
from bnexp.db.results import InstanceInfo, Results
from bnexp.db.upkeep.writing import alone, parts, take_away
from bnexp.db.url import parse_url
from bnexp.db.wishes import END_EMPTY_COHORTS
from bnexp.errors import DatabaseError


@dataclass(frozen=True)
class Forgotten:
    """What goes, or would."""

    instances: list[InstanceInfo]
    trials: int
    finished: int
    """Of the trials, as are those that diverged."""
    diverged: int
    curves: int
    """Rows of curves."""
    probes: int
    """Rows of probes."""
    files: int
    """That are kept of the trials; they are orphans then, which `bnexp db prune` removes."""
    attempts: int
    verdicts: int
    choices: int
    shared: int
    """Trials that stay, since other instances want them."""


def _of(query: str, name: str = "ids") -> TextClause:
    return text(query).bindparams(bindparam(name, expanding=True))


WANTED = _of(
    "select e.trial_id, max(case when o.experiment_id is null then 0 else 1 end) as shared from experiment_trials e "
    "left join experiment_trials o on o.trial_id = e.trial_id and o.experiment_id not in :ids "
    "where e.experiment_id in :ids group by e.trial_id"
)
TRAINING = _of(
    "select distinct c.worker, c.lease_until from cohorts c join trials t on t.cohort_id = c.id "
    "join experiment_trials e on e.trial_id = t.id where c.status = 'running' and c.lease_until >= :now "
    "and t.status not in ('finished', 'diverged', 'failed') and e.experiment_id in :ids order by 1"
)
COHORTS = _of(
    "select cohort_id from trials where id in :ids union select cohort_id from attempts where trial_id in :ids"
)
RUNNING = _of("select id from cohorts where status = 'running' and lease_until < :now and id in :ids")
LEFT_EMPTY = _of(
    "delete from cohorts where id in :ids and not exists (select 1 from trials t where t.cohort_id = cohorts.id) "
    "and not exists (select 1 from attempts a where a.cohort_id = cohorts.id)"
)
OF_TRIALS = ("curves", "probes", "files", "attempts")
OF_INSTANCES = ("verdicts", "choices")


def instances_of(database: str, name: str, number: int | None) -> list[InstanceInfo]:
    """The instances of an experiment, or the one with this number. Raises UsageError where there is none."""
    results = Results(database)
    try:
        found = results.latest(name, number)
        return [info for info in results.instances() if info.name == name and (number is None or info == found)]
    finally:
        results.close()


def foresee(database: str, instances: Sequence[InstanceInfo]) -> Forgotten:
    """What would go with these instances. Raises DatabaseError where a worker trains them."""
    results = Results(database)
    try:
        with explained(results.url), results.engine.connect() as connection:
            return _count(connection, instances, *_wanted(connection, instances))
    finally:
        results.close()


def forget(database: str, instances: Sequence[InstanceInfo]) -> Forgotten:
    """Delete the instances and what only they want; what went. Raises DatabaseError where a worker trains them."""
    with alone(parse_url(database), create=False) as connection:
        own, shared = _wanted(connection, instances)
        going = _count(connection, instances, own, shared)
        cohorts = _gather(connection, COHORTS, own)
        _delete(connection, own, [info.id for info in instances])
        take_away(connection, _gather(connection, RUNNING, cohorts, now=clock(connection)))
        for part in parts(cohorts):
            connection.execute(LEFT_EMPTY, {"ids": part})
        connection.execute(END_EMPTY_COHORTS)
    return going


def _wanted(connection: Connection, instances: Sequence[InstanceInfo]) -> tuple[list[int], int]:
    """The trials that these instances alone want, and how many others want too."""
    numbers = [info.id for info in instances]
    moment = clock(connection)
    for worker, until in connection.execute(TRAINING, {"ids": numbers, "now": moment}):
        raise DatabaseError(
            f"nothing was deleted: a worker on {worker.partition(':')[0]} ({worker}) trains {instances[0].name!r}; "
            f"stop it with Ctrl-C, or, if it is gone, wait {until - moment:.0f} seconds until its lease has run out"
        )
    wanted = connection.execute(WANTED, {"ids": numbers}).all()
    own = [row.trial_id for row in wanted if not row.shared]
    return own, len(wanted) - len(own)


def _count(connection: Connection, instances: Sequence[InstanceInfo], own: Sequence[int], shared: int) -> Forgotten:
    def rows(table: str, column: str, numbers: Sequence[int], more: str = "") -> int:
        query = _of(f"select count(*) from {table} where {column} in :ids{more}")
        return sum(int(connection.execute(query, {"ids": part}).scalar_one()) for part in parts(numbers))

    ended = {status: rows("trials", "id", own, f" and status = '{status}'") for status in ("finished", "diverged")}
    measured = {table: rows(table, "trial_id", own) for table in OF_TRIALS}
    said = {table: rows(table, "experiment_id", [info.id for info in instances]) for table in OF_INSTANCES}
    return Forgotten(list(instances), len(own), **ended, **measured, **said, shared=shared)


def _gather(connection: Connection, query: TextClause, numbers: Collection[int], **values: Any) -> set[int]:
    """The numbers that a query finds for these numbers."""
    found: set[int | None] = set()
    for part in parts(numbers):
        found |= set(connection.execute(query, {"ids": part, **values}).scalars())
    return {number for number in found if number is not None}


def _delete(connection: Connection, trials: Sequence[int], instances: Sequence[int]) -> None:
    """Delete rows before those that they refer to."""

    def delete(table: str, column: str, numbers: Sequence[int]) -> None:
        for part in parts(numbers):
            connection.execute(_of(f"delete from {table} where {column} in :ids"), {"ids": part})

    for table in OF_TRIALS:
        delete(table, "trial_id", trials)
    for table in (*OF_INSTANCES, "experiment_trials"):
        delete(table, "experiment_id", instances)
    delete("trials", "id", trials)
    delete("experiments", "id", instances)
