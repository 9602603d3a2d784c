"""Which trials stand in which cohort: what is missing, what failed and is tried again. Inside the store's
transactions."""

from collections.abc import Callable, Iterator, Sequence

from sqlalchemy import Connection, bindparam, insert, select, text, update

from bnexp.config import TrialConfig
from bnexp.db import rows
from bnexp.db.rows import Job
from bnexp.db.tables import Base, CohortRow, ExperimentTrialRow, TrialRow

MOST_FAILURES = 3
"""A trial that has failed so often is not tried again, unless asked for."""

Group = Callable[[Sequence[tuple[TrialConfig, str]]], Iterator[list[int]]]
"""Cuts trials (configuration and dataset fingerprint) into cohorts, as lists of indices."""

MOST_PLANNED = 10_000
"""Trials put into cohorts in one transaction."""

NEEDED = text(
    "select t.id, t.config, t.fingerprint, t.failures from trials t "
    "where t.id > :after and t.status in ('pending', 'running') "
    "and coalesce((select c.status from cohorts c where c.id = t.cohort_id), 'done') = 'done' and "
    "(select true from experiment_trials e where e.trial_id = t.id and e.experiment_id = :experiment limit 1) "
    "order by t.id limit :most"
).columns(TrialRow.id, TrialRow.config, TrialRow.fingerprint, TrialRow.failures)
"""Asked of one trial after the other, from a number on: of a million, each part costs what it finds."""
ANY_NEEDED = text(
    "select t.id from trials t join experiment_trials e on e.trial_id = t.id left join cohorts c on c.id = t.cohort_id "
    "where e.experiment_id = :experiment and t.status in ('pending', 'running') "
    "and (c.id is null or c.status = 'done') limit 1"
)
"""Where there are none, joining is faster."""


def is_needed(connection: Connection, experiment_id: int) -> bool:
    """Whether the instance needs trials that no unfinished cohort holds."""
    return connection.execute(ANY_NEEDED, {"experiment": experiment_id}).first() is not None


def plan(connection: Connection, experiment_id: int, group: Group, after: int) -> int:
    """Put trials that the instance still needs, and that no unfinished cohort holds, into new cohorts: some of those
    with numbers greater than `after`. Return the greatest of them, 0 where there are none. Those that have their last
    try before them get a cohort each."""
    asked = {"experiment": experiment_id, "most": MOST_PLANNED, "after": after}
    needed = connection.execute(NEEDED, asked).all()
    found = [row for row in needed if row.failures < MOST_FAILURES - 1]
    cohorts = list(group([(rows.config(row.config), row.fingerprint) for row in found])) if found else []
    last = [[row.id] for row in needed if row.failures >= MOST_FAILURES - 1]
    _place(connection, [*([found[index].id for index in members] for members in cohorts), *last])
    return max((int(row.id) for row in needed), default=0)


def retry(connection: Connection, experiment_id: int) -> None:
    """Let the instance's failed trials be wanted again, as if they had never failed."""
    wanted = select(ExperimentTrialRow.trial_id).where(ExperimentTrialRow.experiment_id == experiment_id)
    failed = TrialRow.id.in_(wanted) & (TrialRow.status == "failed")
    connection.execute(update(TrialRow).where(failed).values(status="pending", failures=0, cohort_id=None))


def fail(connection: Connection, job: Job) -> str:
    """The job's running trials have failed once more, and some of them may not be tried again. Return what becomes of
    the cohort: pending where it is tried again as it is, else done.

    For its last try a trial gets a cohort of its own, which begins at the beginning: one that kills its worker takes no
    other with it, and neither does a checkpoint."""
    running = (TrialRow.cohort_id == job.cohort_id) & (TrialRow.status == "running")
    found = select(TrialRow.id, TrialRow.failures).where(running).order_by(TrialRow.seed, TrialRow.id)
    failures = {row.id: row.failures + 1 for row in connection.execute(found)}
    given_up = [trial for trial, count in failures.items() if count >= MOST_FAILURES]
    connection.execute(update(TrialRow).where(running).values(status="pending", failures=TrialRow.failures + 1))
    connection.execute(update(TrialRow).where(TrialRow.id.in_(given_up)).values(status="failed"))
    alone = [trial for trial, count in failures.items() if count == MOST_FAILURES - 1]
    _place(connection, [[trial] for trial in alone])
    return "pending" if len(given_up) + len(alone) < len(failures) else "done"


def _place(connection: Connection, cohorts: Sequence[Sequence[int]]) -> None:
    """Put trials, by their numbers, into new cohorts."""
    if not cohorts:
        return
    new = insert(CohortRow).returning(CohortRow.id, sort_by_parameter_order=True)
    blank = {"status": "pending", "taken": 0, "step": 0}
    ids = connection.execute(new, [blank | {"size": len(members)} for members in cohorts]).scalars().all()
    placing = update(Base.metadata.tables["trials"]).where(TrialRow.id == bindparam("trial"))
    connection.execute(
        placing.values(cohort_id=bindparam("cohort")),
        [{"trial": trial, "cohort": cohort} for cohort, members in zip(ids, cohorts, strict=True) for trial in members],
    )
