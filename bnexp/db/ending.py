"""Trials that have ended: their results, curves, probes and the names of kept files, and the attempts that ended them.
Inside the store's transactions."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Update, bindparam, func, select, update
from sqlalchemy.orm import aliased

from bnexp.db import leases, rows
from bnexp.db.inserts import insert_rows
from bnexp.db.rows import Job, Worker
from bnexp.db.tables import AttemptRow, Base, TrialRow
from bnexp.records import Outcome, Started


def stands(connection: Connection, job: Job, worker: Worker, slots: Sequence[int], error: str | None = None) -> bool:
    """Whether what is to be written of the trials in `slots`, that they have ended or else have failed with `error`,
    stands there already under a lease that is gone: their own attempts tell. It is asked of a transaction that was
    made again, as nobody knew whether it had been committed. Raises LeaseLostError where the lease is gone and it does
    not stand."""
    if leases.holds(connection, job, worker):
        return False
    told: ColumnElement[bool] = AttemptRow.outcome.in_(("finished", "diverged"))
    if error is not None:
        told |= (AttemptRow.outcome == "failed") & (AttemptRow.error == error)
    ours = [job.attempts[slot] for slot in slots]
    query = select(func.count()).where(AttemptRow.id.in_(ours), told)
    if connection.execute(query).scalar_one() < len(ours):
        raise leases.lost(job)
    return True


def given_up(connection: Connection, job: Job) -> list[int]:
    """The slots of the trials that this job was the last to try, and that are not tried again."""
    later = aliased(AttemptRow)
    tried_later = select(later.id).where(later.trial_id == AttemptRow.trial_id, later.id > AttemptRow.id).exists()
    query = select(AttemptRow.slot).join(TrialRow, TrialRow.id == AttemptRow.trial_id)
    last = AttemptRow.id.in_(job.attempts) & (TrialRow.status == "failed") & ~tried_later
    return list(connection.execute(query.where(last).order_by(AttemptRow.slot)).scalars())


def end(connection: Connection, job: Job, outcomes: Sequence[Outcome], started: Started, seconds: float) -> None:
    """Write down how trials of a cohort have ended, but for those that had before. `seconds` is what each cost."""
    unfinished = _running(connection, [job.trial_ids[outcome.slot] for outcome in outcomes])
    new = [(outcome, job.trial_ids[outcome.slot]) for outcome in outcomes]
    new = [(outcome, trial) for outcome, trial in new if trial in unfinished]
    if not new:
        return
    results = [rows.result(job, outcome) | {"seconds": seconds} for outcome, _ in new]
    connection.execute(_ending(tuple(results[0])), results)
    points = [row for outcome, trial in new for row in rows.points(trial, outcome.curve)]
    probes = [row for outcome, trial in new for row in rows.probes(trial, outcome.probes)]
    insert_rows(connection, "curves", rows.POINT, points)
    insert_rows(connection, "probes", rows.PROBE, probes)
    files = [row for outcome, trial in new for row in rows.files(trial, outcome.kept)]
    insert_rows(connection, "files", rows.FILE, files)
    for status, resumed in {(outcome.status, outcome.resumed_at_step) for outcome, _ in new}:
        alike = [trial for o, trial in new if (o.status, o.resumed_at_step) == (status, resumed)]
        ended = {"outcome": status, "seconds": seconds, "resumed_at_step": resumed, **rows.machine(started)}
        leases.end_attempts(connection, job.cohort_id, AttemptRow.trial_id.in_(alike), ended)


@cache
def _ending(columns: tuple[str, ...]) -> Update:
    """What ends a running trial: sets `columns`, of which `trial` is its number. Building it takes longer than running
    it."""
    unfinished = (TrialRow.id == bindparam("trial")) & (TrialRow.status == "running")
    values: dict[str, BindParameter[Any]] = {column: bindparam(column) for column in columns if column != "trial"}
    return update(Base.metadata.tables["trials"]).where(unfinished).values(values)


def _running(connection: Connection, trials: Sequence[int]) -> set[int]:
    query = select(TrialRow.id).where(TrialRow.id.in_(trials), TrialRow.status == "running")
    return set(connection.execute(query).scalars())
