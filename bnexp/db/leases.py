"""Cohorts under lease, inside the store's transactions: taken, renewed, given back, and known to be lost.

A lease is told from any other by its worker and by how often its cohort had been taken (`Job.taken`), so that a worker
which lost a cohort, and perhaps took it again, cannot write under the lease that it lost.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    DateTime,
    Row,
    TextClause,
    bindparam,
    exists,
    select,
    text,
    true,
    update,
)

from bnexp.db import rows
from bnexp.db.rows import Job, Worker, now
from bnexp.db.tables import AttemptRow, CohortRow, TrialRow
from bnexp.errors import DatabaseError
from bnexp.records import Started

LEASE_SECONDS = 60.0
ENDED = ("finished", "diverged", "failed")

HOLDS_WORK = (
    "(select true from trials t where t.cohort_id = c.id and t.status not in ('finished', 'diverged', 'failed') and "
    "(select true from experiment_trials e where e.trial_id = t.id and e.experiment_id in :experiments limit 1) "
    "limit 1)"
)
"""Whether cohort c holds work of some experiment instances. It is asked of one cohort after the other, until one does:
a query that is one value is asked as it stands, where `exists` is made a join of all trials by PostgreSQL."""


class LeaseLostError(DatabaseError):
    """Another worker has taken the cohort over; what was computed here is not stored."""


@dataclass(frozen=True)
class Lease:
    """A running cohort's."""

    cohort_id: int
    worker: str
    taken: int
    until: float


def _of_experiments(statement: str) -> TextClause:
    return text(statement).bindparams(bindparam("experiments", expanding=True))


FREE = "select * from (select c.id from cohorts c where {is_so} and {holds_work} order by c.id limit 1 {lock}) {name}"


def _take(lock: str) -> TextClause:
    kinds = {"unheld": "c.status = 'pending'", "stale": "c.status = 'running' and coalesce(c.lease_until, 0) < :now"}
    found = [FREE.format(name=name, is_so=so, holds_work=HOLDS_WORK, lock=lock) for name, so in kinds.items()]
    return _of_experiments(
        "update cohorts set status = 'running', worker = :worker, lease_until = :until, taken = taken + 1, step = 0 "
        f"where id = (select min(id) from ({' union all '.join(found)}) free) "
        "and (status = 'pending' or coalesce(lease_until, 0) < :now) returning id, taken, checkpoint"
    )


TAKE = {"sqlite": _take(""), "postgresql": _take("for update of c skip locked")}
"""By dialect. On a server others write at the same time: what they hold is passed over, and looked at once more when it
is written."""

LEASES = _of_experiments(
    "select c.id, coalesce(c.worker, ''), c.taken, coalesce(c.lease_until, 0) from cohorts c "
    f"where c.status = 'running' and {HOLDS_WORK} order by c.id"
)
BEGIN = _of_experiments(
    "update trials set status = 'running' where cohort_id = :cohort "
    "and status not in ('finished', 'diverged', 'failed') "
    "returning id, key, config, fingerprint, classes, seed, member, "
    "exists (select 1 from experiment_trials e where e.trial_id = trials.id and e.experiment_id in :experiments) ours"
).columns(config=JSON)
"""What has not ended of a cohort begins, and is read by the same statement."""
ATTEMPTS = text(
    "insert into attempts (trial_id, cohort_id, slot, worker, host, precision, bnexp_version, git_commit, "
    "python_version, started_at) select id, cohort_id, row_number() over (order by seed, member, id) - 1, :worker, "
    ":host, precision, :bnexp_version, :git_commit, :python_version, :now from trials "
    "where cohort_id = :cohort and status = 'running' order by seed, member, id returning id, slot"
).bindparams(bindparam("now", type_=DateTime))
"""An attempt for each of its trials, in slot order."""

HELD = (
    select(CohortRow.id)
    .where(CohortRow.id == bindparam("cohort"), CohortRow.taken == bindparam("nth"))
    .where(CohortRow.status == "running", CohortRow.worker == bindparam("holder"))
    .with_for_update()
)
"""The cohort of a lease, unless that was lost."""
DONE = {"status": "done", "worker": None, "lease_until": None, "checkpoint": None}
FINISH = (
    update(CohortRow)
    .where(CohortRow.id == bindparam("cohort"))
    .where(~exists().where(TrialRow.cohort_id == bindparam("cohort"), TrialRow.status.not_in(ENDED)))
    .values(DONE)
)
"""These two are made of each cohort, and building them takes longer than running them."""

BEGUN = text(
    "update attempts set device = :device, threads = :threads, torch_version = :torch_version "
    "where cohort_id = :cohort and outcome is null"
)


def clock(connection: Connection) -> float:
    """Seconds since the epoch, by the one clock that all users of the database share: a server's own; this machine's,
    of a file."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(text("select extract(epoch from clock_timestamp())")).scalar_one())
    return time.time()


def take(connection: Connection, experiment_ids: Sequence[int], worker: Worker) -> Job | None:
    """Take a cohort that holds work of these instances, and that nobody works on or whose lease has run out, in one
    compare-and-set statement; None where there is none. Its trials begin a new attempt each."""
    moment = clock(connection)
    values = {"worker": worker.name, "until": moment + LEASE_SECONDS, "now": moment, "experiments": experiment_ids}
    while taken := connection.execute(TAKE[connection.dialect.name], values).one_or_none():
        job = _begin(connection, taken, experiment_ids, worker)
        if job.configs:
            return job
        leave(connection, taken.id, "done")  # whoever had it stored the last of it while we looked
    return None


def _begin(connection: Connection, taken: Row[Any], experiment_ids: Sequence[int], worker: Worker) -> Job:
    """What has not ended of a cohort that was just taken, and begins."""
    if taken.taken > 1:
        end_attempts(connection, taken.id, true(), {"outcome": "interrupted"})
    found = connection.execute(BEGIN, {"cohort": taken.id, "experiments": experiment_ids}).all()
    found = sorted(found, key=lambda row: (row.seed, row.member, row.id))
    begun = connection.execute(ATTEMPTS, {"cohort": taken.id, "now": now(), **vars(worker), "worker": worker.name})
    return Job(
        cohort_id=taken.id,
        taken=taken.taken,
        trial_ids=[row.id for row in found],
        keys=[row.key for row in found],
        configs=[rows.config(row.config) for row in found],
        wanted=[bool(row.ours) for row in found],
        classes=found[0].classes if found else 0,
        checkpoint=taken.checkpoint,
        fingerprint=found[0].fingerprint if found else None,
        attempts=[row.id for row in sorted(begun, key=lambda row: row.slot)],
    )


def held(connection: Connection, experiment_ids: Sequence[int]) -> list[Lease]:
    """The leases of running cohorts that hold work of these instances, whoever has them."""
    return [Lease(*row) for row in connection.execute(LEASES, {"experiments": experiment_ids})]


def expire(connection: Connection, lease: Lease) -> None:
    """Give a cohort back for its worker, who is known to be gone, unless its lease was renewed or taken over since, or
    somebody is about to."""
    same = (CohortRow.id == lease.cohort_id) & (CohortRow.worker == lease.worker) & (CohortRow.taken == lease.taken)
    unmoved = (CohortRow.status == "running") & (CohortRow.lease_until == lease.until)
    if connection.execute(select(CohortRow.id).where(same, unmoved).with_for_update(skip_locked=True)).scalar():
        give_back(connection, lease.cohort_id)


def give_back(connection: Connection, cohort_id: int) -> None:
    """Let a cohort be taken again: whoever trained it has stopped, and its running attempts with him."""
    leave(connection, cohort_id, "pending")
    running = (TrialRow.cohort_id == cohort_id) & (TrialRow.status == "running")
    connection.execute(update(TrialRow).where(running).values(status="pending"))
    end_attempts(connection, cohort_id, true(), {"outcome": "interrupted"})


def holds(connection: Connection, job: Job, worker: Worker) -> bool:
    """Whether the job's lease is this worker's, from whom nobody can take it then until the transaction has ended."""
    names = {"cohort": job.cohort_id, "nth": job.taken, "holder": worker.name}
    return connection.execute(HELD, names).scalar() is not None


def check(connection: Connection, job: Job, worker: Worker) -> None:
    """Raise LeaseLostError where the job's lease is no longer this worker's. Else nobody can take it until the
    transaction has ended."""
    if not holds(connection, job, worker):
        raise lost(job)


def renew(connection: Connection, job: Job, worker: Worker, step: int) -> None:
    """Renew a lease and write down the step that its cohort has come to."""
    values = {"lease_until": clock(connection) + LEASE_SECONDS, "step": step}
    if connection.execute(update(CohortRow).where(_lease(job, worker)).values(values)).rowcount == 0:
        raise lost(job)


def begin(connection: Connection, job: Job, started: Started) -> None:
    """The cohort's attempts run on this machine."""
    connection.execute(BEGUN, {"cohort": job.cohort_id, **rows.machine(started)})


def keep(connection: Connection, job: Job, checkpoint: str) -> None:
    """The cohort can go on from the file of this name."""
    connection.execute(update(CohortRow).where(CohortRow.id == job.cohort_id).values(checkpoint=checkpoint))


def leave(connection: Connection, cohort_id: int, status: str) -> None:
    """End the lease; the cohort is `status` then: done or pending."""
    left = DONE if status == "done" else {"status": status, "worker": None, "lease_until": None}
    connection.execute(update(CohortRow).where(CohortRow.id == cohort_id).values(left))


def finish(connection: Connection, cohort_id: int) -> None:
    """End the lease of a cohort of which all has ended; else it goes on."""
    connection.execute(FINISH, {"cohort": cohort_id})


def end_attempts(connection: Connection, cohort_id: int, which: ColumnElement[bool], values: dict[str, Any]) -> None:
    """End those of the cohort's running attempts that are `which`."""
    running = (AttemptRow.cohort_id == cohort_id) & AttemptRow.outcome.is_(None)
    connection.execute(update(AttemptRow).where(running, which).values(ended_at=now(), **values))


def lost(job: Job) -> LeaseLostError:
    """What is raised where the job's lease is gone."""
    return LeaseLostError(f"cohort {job.cohort_id} was taken over by another worker")


def _lease(job: Job, worker: Worker) -> ColumnElement[bool]:
    ours = (CohortRow.id == job.cohort_id) & (CohortRow.worker == worker.name) & (CohortRow.taken == job.taken)
    return ours & (CohortRow.status == "running")
