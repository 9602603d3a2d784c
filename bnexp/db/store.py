"""Writing to the results database: experiments, cohorts under lease, and the results of trials.

Every method is one short transaction, or several of them. A worker's writes name it and its cohort, and do nothing
once it has lost the lease. Nothing that has ended is ever written again.

A transaction whose connection was lost is made again (`repeated`), even where nobody knows whether it was committed:
whoever only reads, writes down what is absent or sets what is to be, does the same twice; whoever ends trials knows
what he has written (`bnexp.db.ending.stands`); for the others it stands at each.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    bindparam,
    func,
    insert,
    select,
    text,
    true,
)

from bnexp.db import ending, leases, planning, registering, wishes
from bnexp.db.connection import explained, open_engine, writing
from bnexp.db.inserts import insert_new
from bnexp.db.leases import Lease
from bnexp.db.planning import Group
from bnexp.db.retrying import Patience, repeated
from bnexp.db.rows import Instance, Job, Judged, Stage, WantedTrial, Worker, now
from bnexp.db.tables import ClaimRow, ExperimentTrialRow, TrialRow, VerdictRow
from bnexp.db.url import parse_url
from bnexp.records import Choice, Outcome, Started
from bnexp.stopping import whole

PART = 2_000
"""Trials written down in one transaction."""


class Store:
    """A results database, open for writing."""

    def __init__(self, database: str, say: Callable[[str], None] = lambda sentence: None) -> None:
        """Open `database`, made or upgraded where need be. `say` is told when it does not answer."""
        self.database = database
        self.url = parse_url(database)
        self.patience = Patience(say)
        self.engine: Engine = self.patience(partial(open_engine, self.url, create=True), opening=True)

    def close(self) -> None:
        self.engine.dispose()

    def hurry(self, seconds: float) -> None:
        """From now on, try everything once, and wait no more than `seconds` in all for whoever has locked the
        database."""
        self.patience.hurry(seconds)
        self.engine = self.engine.execution_options(until=time.monotonic() + seconds)

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with whole(), explained(self.url), self.engine.connect() as connection:
            yield connection

    def register(self, instance: Instance) -> int:
        """Write down an experiment instance and the trials it wants at once (those of its tune stage if it has one,
        else all); return its number. Trials that are known already, from whichever experiment, are only linked."""
        experiment_id = self._instance(instance)
        stage: Stage = "tune" if instance.tune else "confirm"
        self._want(experiment_id, instance.tuning if instance.tune else instance.trials, stage)
        return experiment_id

    def confirm(self, experiment_id: int, trials: Sequence[WantedTrial]) -> None:
        """Write down the confirming trials of an instance with a tune stage, once its levels are chosen."""
        self._want(experiment_id, trials, "confirm")

    def _want(self, experiment_id: int, trials: Sequence[WantedTrial], stage: Stage) -> None:
        """In parts, since others must write and renew their leases meanwhile; a run writes all before it trains any.
        Hundreds of runs may begin at once with what the first has written down: they only look."""
        if self._stand(experiment_id, trials, stage):
            return
        for start in range(0, len(trials), PART):
            self._want_part(experiment_id, trials[start : start + PART], stage)

    @repeated
    def _stand(self, experiment_id: int, trials: Sequence[WantedTrial], stage: Stage) -> bool:
        with self._read() as connection:
            return registering.stand(connection, experiment_id, trials, stage)

    @repeated
    def _want_part(self, experiment_id: int, trials: Sequence[WantedTrial], stage: Stage) -> None:
        with writing(self.engine) as connection:
            registering.want(connection, experiment_id, trials, stage)

    @repeated
    def _instance(self, instance: Instance) -> int:
        with writing(self.engine) as connection:
            return registering.register(connection, instance)

    @repeated
    def choose(self, experiment_id: int, choices: Sequence[Choice]) -> list[Choice]:
        """Freeze the levels chosen for the instance's arms. Return those that stand, which may be another process's."""
        with writing(self.engine) as connection:
            return registering.choose(connection, experiment_id, choices)

    @repeated
    def widen(self, experiment_id: int, trials: Sequence[WantedTrial]) -> Counter[str]:
        """Let trials of the instance that are still to be trained record what `trials` want of them; return what those
        that are trained lack, in words, and how many lack it."""
        with self._read() as connection:
            lacking, wider = wishes.look(connection, experiment_id, trials)
        if not wider:
            return lacking
        with writing(self.engine) as connection:
            return wishes.widen(connection, experiment_id, trials)

    @repeated
    def retry(self, experiment_id: int) -> None:
        """Let the instance's failed trials be wanted again. Made twice, it may also forgive who failed in between."""
        with writing(self.engine) as connection:
            planning.retry(connection, experiment_id)

    def failed(self, experiment_ids: Sequence[int]) -> int:
        """How many trials of the instances have failed, now or before."""
        return self._count(experiment_ids, ("failed",))

    def ended(self, experiment_ids: Sequence[int]) -> int:
        """How many trials of the instances have ended, now or before."""
        return self._count(experiment_ids, leases.ENDED)

    @repeated
    def _count(self, experiment_ids: Sequence[int], statuses: Sequence[str]) -> int:
        wanted = select(ExperimentTrialRow.trial_id).where(ExperimentTrialRow.experiment_id.in_(experiment_ids))
        query = select(func.count()).where(TrialRow.id.in_(wanted), TrialRow.status.in_(statuses))
        with self._read() as connection:
            return int(connection.execute(query).scalar_one())

    def plan(self, experiment_id: int, group: Group) -> None:
        """Put every trial that the instance still needs, and that no unfinished cohort holds, into a new cohort."""
        if self._is_needed(experiment_id):
            placed = 0
            while placed := self._plan_part(experiment_id, group, placed):
                pass
            self._take_stock()

    @repeated
    def _take_stock(self) -> None:
        """A server that has not counted the new rows looks for cohorts by reading all trials; by itself it counts a
        minute later."""
        if self.engine.dialect.name == "postgresql":
            with writing(self.engine, shared=True) as connection:
                connection.execute(text("analyze cohorts, trials, experiment_trials"))

    @repeated
    def _is_needed(self, experiment_id: int) -> bool:
        with self._read() as connection:
            return planning.is_needed(connection, experiment_id)

    @repeated
    def _plan_part(self, experiment_id: int, group: Group, after: int) -> int:
        """What was placed already is not placed again."""
        with writing(self.engine) as connection:
            return planning.plan(connection, experiment_id, group, after)

    @repeated
    def take(self, experiment_ids: Sequence[int], worker: Worker) -> Job | None:
        """Take a cohort that holds work of these instances, and that nobody works on or whose lease has run out; None
        where there is none. Of one that was taken without our knowing it, the lease runs out."""
        with writing(self.engine, shared=True) as connection:
            return leases.take(connection, experiment_ids, worker)

    @repeated
    def left(self, experiment_ids: Sequence[int]) -> tuple[int, int]:
        """How many trials of the instances have not ended, and how many steps they take."""
        query = text(
            "select count(*), coalesce(sum(steps), 0) from trials where status in ('pending', 'running') "
            "and id in (select trial_id from experiment_trials where experiment_id in :experiments)"
        ).bindparams(bindparam("experiments", expanding=True))
        with self._read() as connection:
            trials, steps = connection.execute(query, {"experiments": experiment_ids}).one()
            return int(trials), int(steps)

    @repeated
    def unfinished(self) -> set[int]:
        """The numbers of the cohorts that are not done."""
        with self._read() as connection:
            return set(connection.execute(text("select id from cohorts where status <> 'done'")).scalars())

    @repeated
    def held(self, experiment_ids: Sequence[int]) -> list[Lease]:
        """The leases of running cohorts that hold work of these instances, whoever has them."""
        with self._read() as connection:
            return leases.held(connection, experiment_ids)

    @repeated
    def expire(self, lease: Lease) -> None:
        """End the lease of a worker that is known to be gone, unless it has been renewed or taken over since."""
        with writing(self.engine, shared=True) as connection:
            leases.expire(connection, lease)

    @repeated
    def renew(self, job: Job, worker: Worker, step: int) -> None:
        """Renew the lease of a cohort, and write down the step that it has come to. Raises LeaseLostError where the
        cohort is no longer this worker's, as all methods below do."""
        with writing(self.engine, shared=True) as connection:
            leases.renew(connection, job, worker, step)

    @repeated
    def begin(self, job: Job, worker: Worker, started: Started) -> None:
        """The cohort trains on this machine."""
        with writing(self.engine, shared=True) as connection:
            leases.check(connection, job, worker)
            leases.begin(connection, job, started)

    @repeated
    def keep(self, job: Job, worker: Worker, checkpoint: str) -> None:
        """The cohort can go on from the file of this name."""
        with writing(self.engine, shared=True) as connection:
            leases.check(connection, job, worker)
            leases.keep(connection, job, checkpoint)

    @repeated
    def store(self, job: Job, worker: Worker, outcomes: Sequence[Outcome], started: Started, seconds: float) -> None:
        """Write the results of trials that have ended, curves, probes and the names of kept files included: all of them
        or none. `seconds` is what each cost. What has ended before stays as it is, also where we have written it. With
        the last of its trials the cohort is done."""
        with writing(self.engine, shared=True) as connection:
            if not ending.stands(connection, job, worker, [outcome.slot for outcome in outcomes]):
                ending.end(connection, job, outcomes, started, seconds)
                leases.finish(connection, job.cohort_id)

    @repeated
    def release(self, job: Job, worker: Worker) -> None:
        """Give the cohort back unfinished; what has not ended of it will be taken again. Made twice, it finds the lease
        gone, and the cohort given back or taken again."""
        with writing(self.engine, shared=True) as connection:
            leases.check(connection, job, worker)
            leases.give_back(connection, job.cohort_id)

    @repeated
    def fail(self, job: Job, worker: Worker, error: str) -> list[int]:
        """What has not ended of the cohort has failed with `error`. Return the slots of the trials that are not tried
        again, since it was not the first time."""
        with writing(self.engine, shared=True) as connection:
            if not ending.stands(connection, job, worker, range(len(job.trial_ids)), error):
                leases.leave(connection, job.cohort_id, planning.fail(connection, job))
                leases.end_attempts(connection, job.cohort_id, true(), {"outcome": "failed", "error": error})
            return ending.given_up(connection, job)

    @repeated
    def lock_claims(
        self, claims: Sequence[tuple[str, str, dict[str, Any]]], made_from: Mapping[str, str] | None = None
    ) -> None:
        """Write down claims (key, name, definition) as they stand now; those known keep their time. What was made from
        a claim that is known has that one's time; `made_from` has its key by the other's."""
        moment, made_from = now(), made_from or {}
        of_key = select(ClaimRow.key, ClaimRow.locked_at).where(ClaimRow.key.in_(made_from.values()))
        with writing(self.engine) as connection:
            known = {row.key: row.locked_at for row in connection.execute(of_key)} if made_from else {}
            insert_new(
                connection,
                ClaimRow,
                [
                    {"key": k, "name": name, "definition": d, "locked_at": known.get(made_from.get(k), moment)}
                    for k, name, d in claims
                ],
            )

    @repeated
    def store_verdicts(self, experiment_id: int, verdicts: Sequence[Judged]) -> None:
        """Replace the instance's verdicts. Their claims must be locked already."""
        with writing(self.engine) as connection:
            connection.execute(text("delete from verdicts where experiment_id = :id"), {"id": experiment_id})
            for judged in verdicts:
                claim = select(ClaimRow.id).where(ClaimRow.key == judged.claim_key).scalar_subquery()
                values = {name: value for name, value in vars(judged).items() if name != "claim_key"}
                connection.execute(
                    insert(VerdictRow).values(experiment_id=experiment_id, claim_id=claim, judged_at=now(), **values)
                )
