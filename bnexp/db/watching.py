"""What a database says of runs that go on, whoever runs them: read again and again, so what is dear is asked seldom."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from bnexp.db import leases
from bnexp.db.connection import explained
from bnexp.db.results import Results
from bnexp.records import Working

COHORTS = text(
    "select c.id, c.worker, c.step, c.lease_until, count(t.id) as trials, coalesce(max(t.steps), 0) as steps, "
    "coalesce(sum(case when t.status in ('pending', 'running') then 1 else 0 end), 0) as left_, "
    "coalesce(sum(case when t.status = 'diverged' then 1 else 0 end), 0) as diverged "
    "from cohorts c left join trials t on t.cohort_id = c.id where c.status = 'running' "
    "group by c.id, c.worker, c.step, c.lease_until order by c.id"
)
COUNTS = text(
    "select status, count(*) as trials, coalesce(sum(steps), 0) as steps, "
    "coalesce(sum(case when diverged_at_step < steps then diverged_at_step else steps end), 0) as taken "
    "from trials group by status"
)
UNFINISHED = text(
    "select distinct e.experiment_id from trials t join experiment_trials e on e.trial_id = t.id "
    "where t.status in ('pending', 'running')"
)
BETWEEN = text(
    "select distinct e.experiment_id from experiment_trials e where e.stage = 'tune' and not exists "
    "(select 1 from experiment_trials c where c.experiment_id = e.experiment_id and c.stage = 'confirm') "
    "and not exists (select 1 from experiment_trials f join trials t on t.id = f.trial_id "
    "where f.experiment_id = e.experiment_id and t.status = 'failed')"
)
"""Instances that are to confirm what they tune. Where a tuning trial has failed nothing confirms."""


@dataclass(frozen=True)
class Held:
    """A cohort under lease."""

    working: Working
    host: str
    """The worker's."""
    process: str
    """The worker's number on its host; empty where it has none."""
    lease: float
    """Seconds until it ends, by the database's clock; negative where it has ended."""


@dataclass(frozen=True)
class Count:
    """How the trials of a database stand."""

    at: float
    """When it was counted, by the monotonic clock."""
    statuses: Mapping[str, int]
    """Status to number of trials."""
    taken: int
    """Trial-steps taken by those that have ended, and, as far as is known, by those that run."""
    left: int
    """Trial-steps to be taken, as far as is known."""
    unfinished: frozenset[int]
    """The instances of which something is left to run."""

    @property
    def trials(self) -> int:
        return sum(self.statuses.values())

    @property
    def ended(self) -> int:
        return sum(self.statuses.get(status, 0) for status in leases.ENDED)


def held(results: Results) -> list[Held]:
    """The cohorts under lease, in order of their numbers. It reads their trials, and no others."""
    with explained(results.url), results.engine.connect() as connection:
        return _held(connection)


def count(results: Results) -> Count:
    """How all trials stand. It reads every one of them."""
    with explained(results.url), results.engine.connect() as connection:
        rows = connection.execute(COUNTS).all()
        unfinished = {*connection.execute(UNFINISHED).scalars(), *connection.execute(BETWEEN).scalars()}
        running = _taken(_held(connection))
    taken = sum(int(row.taken) for row in rows if row.status in leases.ENDED)
    left = sum(int(row.steps) for row in rows if row.status not in leases.ENDED)
    statuses = {row.status: int(row.trials) for row in rows}
    return Count(time.monotonic(), statuses, taken + running, left - running, frozenset(unfinished))


def _held(connection: Connection) -> list[Held]:
    now = leases.clock(connection)
    return [
        Held(
            Working(row.id, row.step, int(row.steps), row.trials, int(row.left_), int(row.diverged)),
            *_whose(row.worker or ""),
            (row.lease_until or 0.0) - now,
        )
        for row in connection.execute(COHORTS)
    ]


def _taken(cohorts: Sequence[Held]) -> int:
    return sum(min(held.working.step, held.working.steps) * held.working.left for held in cohorts)


def _whose(worker: str) -> tuple[str, str]:
    """Host and process of a worker's name (`bnexp.db.rows.Worker`)."""
    parts = worker.rsplit(":", 4)
    return (parts[0], parts[2]) if len(parts) == 5 else (worker, "")
