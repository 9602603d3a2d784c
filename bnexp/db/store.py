"""Writing to the results database: experiments, cohorts under lease, and the results of trials.

Every method is one short transaction. A worker's writes name it and its cohort, and do nothing once it has lost the
lease. Nothing that has ended is ever written again.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Engine,
    Update,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)

from bnexp.config import TrialConfig
from bnexp.db import registering, rows, wishes
from bnexp.db.connection import explained, open_engine, parse_url
from bnexp.db.inserts import insert_new, insert_rows
from bnexp.db.rows import Instance, Job, Judged, WantedTrial, Worker, now
from bnexp.db.tables import (
    AttemptRow,
    Base,
    ClaimRow,
    CohortRow,
    ExperimentTrialRow,
    TrialRow,
    VerdictRow,
)
from bnexp.errors import DatabaseError
from bnexp.records import Choice, Outcome, Started

LEASE_SECONDS = 60.0
ENDED = ("finished", "diverged", "failed")

HOLDS_WORK = (
    "exists (select 1 from trials t cross join experiment_trials e where t.cohort_id = c.id and e.trial_id = t.id "
    "and e.experiment_id in :experiments and t.status not in ('finished', 'diverged', 'failed'))"
)
"""Whether cohort c holds work of some experiment instances. It is asked of one cohort after the other, until one does.
(SQLite keeps the order of a cross join: a cohort's few trials first.)"""


class LeaseLostError(DatabaseError):
    """Another worker has taken the cohort over; what was computed here is not stored."""


Group = Callable[[Sequence[tuple[TrialConfig, str]]], Iterator[list[int]]]
"""Cuts trials (configuration and dataset fingerprint) into cohorts, as lists of indices."""


class Store:
    """A results database, open for writing."""

    def __init__(self, database: str) -> None:
        """Open `database`, made or upgraded where need be."""
        self.database = database
        self.url = parse_url(database)
        self.engine: Engine = open_engine(self.url, create=True)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with (
            explained(self.url),
            self.engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            yield connection

    def register(self, instance: Instance) -> int:
        """Write down an experiment instance and the trials it wants at once (those of its tune stage if it has one,
        else all); return its number. Trials that are known already, from whichever experiment, are only linked."""
        with self._write() as connection:
            return registering.register(connection, instance)

    def confirm(self, experiment_id: int, trials: Sequence[WantedTrial]) -> None:
        """Write down the confirming trials of an instance with a tune stage, once its levels are chosen."""
        with self._write() as connection:
            registering.want(connection, experiment_id, trials, "confirm")

    def choose(self, experiment_id: int, choices: Sequence[Choice]) -> list[Choice]:
        """Freeze the levels chosen for the instance's arms. Return those that stand, which may be another process's."""
        with self._write() as connection:
            return registering.choose(connection, experiment_id, choices)

    def widen(self, experiment_id: int, trials: Sequence[WantedTrial]) -> Counter[str]:
        """Let trials of the instance that are still to be trained record what `trials` want of them; return what those
        that are trained lack, in words, and how many lack it."""
        with self._write() as connection:
            return wishes.widen(connection, experiment_id, trials)

    def retry(self, experiment_id: int) -> None:
        """Let the instance's failed trials be wanted again."""
        wanted = select(ExperimentTrialRow.trial_id).where(ExperimentTrialRow.experiment_id == experiment_id)
        failed = TrialRow.id.in_(wanted) & (TrialRow.status == "failed")
        with self._write() as connection:
            connection.execute(update(TrialRow).where(failed).values(status="pending"))

    def failed(self, experiment_ids: Sequence[int]) -> int:
        """How many trials of the instances have failed, now or before."""
        wanted = select(ExperimentTrialRow.trial_id).where(ExperimentTrialRow.experiment_id.in_(experiment_ids))
        query = select(func.count()).where(TrialRow.id.in_(wanted), TrialRow.status == "failed")
        with explained(self.url), self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def plan(self, experiment_id: int, group: Group) -> None:
        """Put every trial that the instance still needs, and that no unfinished cohort holds, into a new cohort."""
        needed = text(
            "select t.id, t.config, t.fingerprint from trials t "
            "join experiment_trials e on e.trial_id = t.id left join cohorts c on c.id = t.cohort_id "
            "where e.experiment_id = :experiment and t.status in ('pending', 'running') "
            "and (c.id is null or c.status = 'done') group by t.id order by t.id"
        ).columns(TrialRow.id, TrialRow.config, TrialRow.fingerprint)
        with self._write() as connection:
            found = connection.execute(needed, {"experiment": experiment_id}).all()
            cohorts = list(group([(rows.config(row.config), row.fingerprint) for row in found]))
            if not cohorts:
                return
            new = insert(CohortRow).returning(CohortRow.id, sort_by_parameter_order=True)
            blank = {"status": "pending", "taken": 0, "step": 0}
            ids = connection.execute(new, [blank | {"size": len(members)} for members in cohorts]).scalars().all()
            placing = update(Base.metadata.tables["trials"]).where(TrialRow.id == bindparam("trial"))
            places = zip(ids, cohorts, strict=True)
            connection.execute(
                placing.values(cohort_id=bindparam("cohort")),
                [{"trial": found[index].id, "cohort": cohort} for cohort, members in places for index in members],
            )

    def take(self, experiment_ids: Sequence[int], worker: Worker) -> Job | None:
        """Take a cohort of these instances that nobody works on, or whose worker let its lease run out, in one
        compare-and-set statement; None where there is none. Its trials begin a new attempt each."""
        pending, stale = (
            f"select c.id from cohorts c where {free} and {HOLDS_WORK} order by c.id limit 1"
            for free in ("c.status = 'pending'", "c.status = 'running' and c.lease_until < :now")
        )
        take = text(
            "update cohorts set status = 'running', worker = :worker, lease_until = :until, taken = taken + 1, "
            f"step = 0 where id = (select min(id) from (select * from ({pending}) pending union all "
            f"select * from ({stale}) stale) free) returning id"
        ).bindparams(bindparam("experiments", expanding=True))
        moment = time.time()
        values = {"worker": worker.name, "until": moment + LEASE_SECONDS, "now": moment, "experiments": experiment_ids}
        with self._write() as connection:
            cohort_id = connection.execute(take, values).scalar()
            if cohort_id is None:
                return None
            members = (TrialRow.cohort_id == cohort_id) & TrialRow.status.not_in(ENDED)
            columns = select(TrialRow.id, TrialRow.config, TrialRow.classes)
            found = connection.execute(columns.where(members).order_by(TrialRow.seed, TrialRow.id)).all()
            connection.execute(update(TrialRow).where(members).values(status="running"))
            job = Job(
                cohort_id, [row.id for row in found], [rows.config(row.config) for row in found], found[0].classes
            )
            connection.execute(insert(AttemptRow), rows.attempts(job, worker))
        return job

    def left(self, experiment_ids: Sequence[int]) -> tuple[int, int]:
        """How many trials of the instances have not ended, and how many steps they take."""
        query = text(
            "select count(*), coalesce(sum(steps), 0) from trials where status in ('pending', 'running') "
            "and id in (select trial_id from experiment_trials where experiment_id in :experiments)"
        ).bindparams(bindparam("experiments", expanding=True))
        with explained(self.url), self.engine.connect() as connection:
            trials, steps = connection.execute(query, {"experiments": experiment_ids}).one()
            return int(trials), int(steps)

    def running(self, experiment_ids: Sequence[int]) -> list[str]:
        """The workers of the instances' running cohorts, whoever they are, one entry a cohort."""
        query = text(f"select c.worker from cohorts c where c.status = 'running' and {HOLDS_WORK}").bindparams(
            bindparam("experiments", expanding=True)
        )
        with explained(self.url), self.engine.connect() as connection:
            return [row.worker for row in connection.execute(query, {"experiments": experiment_ids})]

    def expire(self, worker: str) -> None:
        """End the leases of a worker that is known to be gone."""
        with self._write() as connection:
            connection.execute(update(CohortRow).where(CohortRow.worker == worker).values(lease_until=0.0))

    def renew(self, worker: Worker, steps: dict[int, int]) -> None:
        """Renew the leases of the cohorts in `steps`, and write down the step each has come to."""
        renewal = (
            update(CohortRow)
            .where(CohortRow.id == bindparam("cohort"), CohortRow.worker == worker.name)
            .values(lease_until=time.time() + LEASE_SECONDS, step=bindparam("at"))
        )
        if steps:
            with self._write() as connection:
                connection.execute(renewal, [{"cohort": cohort, "at": step} for cohort, step in steps.items()])

    def store(self, job: Job, worker: Worker, outcomes: Sequence[Outcome], started: Started, seconds: float) -> None:
        """Write the results of trials that have ended, curves and probes included: all of them or none. `seconds` is
        what each cost. Raises LeaseLostError where the cohort is no longer this worker's."""
        results = [rows.result(job, outcome) | {"seconds": seconds} for outcome in outcomes]
        points = [row for o in outcomes for row in rows.points(job.trial_ids[o.slot], o.curve)]
        probes = [row for o in outcomes for row in rows.probes(job.trial_ids[o.slot], o.probes)]
        with self._write() as connection:
            _check_lease(connection, job, worker)
            connection.execute(_ending(tuple(results[0])), results)
            insert_rows(connection, "curves", rows.POINT, points)
            insert_rows(connection, "probes", rows.PROBE, probes)
            for status in {outcome.status for outcome in outcomes}:
                ids = [job.trial_ids[outcome.slot] for outcome in outcomes if outcome.status == status]
                ended = {"outcome": status, "seconds": seconds, **rows.machine(started)}
                _end_attempts(connection, job, worker, AttemptRow.trial_id.in_(ids), ended)

    def finish(self, job: Job, worker: Worker) -> None:
        """All trials of the cohort have ended."""
        self._leave(job, worker, cohort="done", trials=None, outcome=None)

    def release(self, job: Job, worker: Worker) -> None:
        """Give the cohort back unfinished; what has not ended of it will be taken again."""
        self._leave(job, worker, cohort="pending", trials="pending", outcome="interrupted")

    def fail(self, job: Job, worker: Worker, error: str) -> None:
        """The cohort cannot be trained: its trials have failed with `error`."""
        self._leave(job, worker, cohort="done", trials="failed", outcome="failed", error=error)

    def _leave(
        self,
        job: Job,
        worker: Worker,
        cohort: str,
        trials: str | None,
        outcome: str | None,
        error: str | None = None,
    ) -> None:
        with self._write() as connection:
            _check_lease(connection, job, worker)
            left = {"status": cohort, "worker": None, "lease_until": None}
            connection.execute(update(CohortRow).where(CohortRow.id == job.cohort_id).values(left))
            if trials:
                running = (TrialRow.cohort_id == job.cohort_id) & (TrialRow.status == "running")
                connection.execute(update(TrialRow).where(running).values(status=trials))
                values = {"outcome": outcome, "error": error}
                _end_attempts(connection, job, worker, AttemptRow.outcome.is_(None), values)

    def lock_claims(self, claims: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
        """Write down claims (key, name, definition) as they stand now; those known keep their time."""
        moment = now()
        with self._write() as connection:
            insert_new(
                connection,
                ClaimRow,
                [{"key": k, "name": name, "definition": d, "locked_at": moment} for k, name, d in claims],
            )

    def store_verdicts(self, experiment_id: int, verdicts: Sequence[Judged]) -> None:
        """Replace the instance's verdicts. Their claims must be locked already."""
        with self._write() as connection:
            connection.execute(text("delete from verdicts where experiment_id = :id"), {"id": experiment_id})
            for judged in verdicts:
                claim = select(ClaimRow.id).where(ClaimRow.key == judged.claim_key).scalar_subquery()
                values = {name: value for name, value in vars(judged).items() if name != "claim_key"}
                connection.execute(
                    insert(VerdictRow).values(experiment_id=experiment_id, claim_id=claim, judged_at=now(), **values)
                )


@cache
def _ending(columns: tuple[str, ...]) -> Update:
    """What ends a running trial: sets `columns`, of which `trial` is its number. Building it takes longer than running
    it."""
    unfinished = (TrialRow.id == bindparam("trial")) & (TrialRow.status == "running")
    values: dict[str, BindParameter[Any]] = {column: bindparam(column) for column in columns if column != "trial"}
    return update(Base.metadata.tables["trials"]).where(unfinished).values(values)


def _check_lease(connection: Connection, job: Job, worker: Worker) -> None:
    query = select(CohortRow.worker).where(CohortRow.id == job.cohort_id, CohortRow.status == "running")
    if connection.execute(query).scalar() != worker.name:
        raise LeaseLostError(f"cohort {job.cohort_id} was taken over by another worker")


def _end_attempts(
    connection: Connection, job: Job, worker: Worker, which: ColumnElement[bool], values: dict[str, Any]
) -> None:
    ours = (AttemptRow.cohort_id == job.cohort_id) & (AttemptRow.worker == worker.name)
    connection.execute(
        update(AttemptRow).where(ours, AttemptRow.outcome.is_(None), which).values(ended_at=now(), **values)
    )
