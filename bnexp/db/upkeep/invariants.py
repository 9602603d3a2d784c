"""What must be true of the rows of every results database, one question to the database each."""

from collections.abc import Iterator
from dataclasses import dataclass

from bnexp.db.tables import Base

FINAL = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")

ENDED = "t.status in ('finished', 'diverged')"
TRIAL = "'trial ' || substr(t.key, 1, 12)"


@dataclass(frozen=True)
class Invariant:
    """Of the rows of `source`, none may be `wrong`."""

    title: str
    rows: str
    """What they are, in the plural."""
    name: str
    """SQL that names a row."""
    source: str
    """SQL after `from`, with a condition."""
    wrong: str
    """A condition in SQL."""


def _trials(title: str, which: str, wrong: str) -> Invariant:
    return Invariant(title, "trials", TRIAL, f"trials t where {which}", wrong)


def _unexplained(number: str) -> str:
    """That the number is missing, and `nonfinite` ("train_loss=inf test_loss=nan") does not say what it was."""
    return f"t.{number} is null and ' ' || coalesce(t.nonfinite, '') not like '% {number}=%'"


OWN = (
    _trials(
        "finished trials have their numbers",
        "t.status = 'finished'",
        " or ".join([*map(_unexplained, FINAL), "t.trained is null", "t.diverged_at_step is not null"]),
    ),
    _trials(
        "diverged trials have their step",
        "t.status = 'diverged'",
        "t.diverged_at_step is null or t.diverged_at_step not between 1 and t.steps",
    ),
    _trials(
        "trials that have not ended have no results",
        f"not {ENDED}",
        f"{' or '.join(f't.{number} is not null' for number in (*FINAL, 'diverged_at_step'))} "
        "or exists (select 1 from curves c where c.trial_id = t.id)",
    ),
    _trials(
        "one attempt ended each trial that has ended",
        f"{ENDED} and exists (select 1 from attempts a where a.trial_id = t.id)",
        "(select count(*) from attempts a where a.trial_id = t.id and a.outcome in ('finished', 'diverged')) <> 1 "
        "or not exists (select 1 from attempts a where a.trial_id = t.id and a.outcome = t.status)",
    ),
    _trials(
        "running trials are in running cohorts",
        "t.status = 'running'",
        "not exists (select 1 from cohorts c where c.id = t.cohort_id and c.status = 'running')",
    ),
    _trials(
        "no trial that has ended is being trained",
        ENDED,
        "exists (select 1 from attempts a join cohorts c on c.id = a.cohort_id where a.trial_id = t.id "
        "and a.outcome is null and c.status = 'running' and c.worker = a.worker)",
    ),
    Invariant(
        "running cohorts have a worker and a lease",
        "cohorts",
        "'cohort ' || c.id",
        "cohorts c where c.status = 'running'",
        "c.worker is null or c.lease_until is null",
    ),
    _trials(
        "curves and probes end within the steps",
        ENDED,
        " or ".join(
            f"exists (select 1 from {table} p where p.trial_id = t.id and p.step > t.steps)"
            for table in ("curves", "probes")
        ),
    ),
    _trials(
        "finished trials have what they keep",
        "t.keep <> '[]' and t.status = 'finished' or exists (select 1 from files f where f.trial_id = t.id)",
        "exists (select 1 from files f where f.trial_id = t.id) and t.status <> 'finished' or "
        + " or ".join(
            f"""t.status = 'finished' and t.keep like '%"{kind}"%' and """
            f"not exists (select 1 from files f where f.trial_id = t.id and f.kind = '{kind}')"
            for kind in ("weights", "predictions")
        ),
    ),
    _trials(
        "every trial is wanted by an experiment",
        "true",
        "not exists (select 1 from experiment_trials e where e.trial_id = t.id)",
    ),
)


def references() -> Iterator[tuple[str, str, str]]:
    """Table, column and the table that it names a row of, by its number."""
    for table in Base.metadata.sorted_tables:
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
            assert key.column.name == "id"
            yield table.name, key.parent.name, key.column.table.name


def reference(table: str, column: str, parent: str) -> Invariant:
    """That the rows which a column names are there."""
    name = " || ' ' || ".join(f"'{own.name} ' || r.{own.name}" for own in Base.metadata.tables[table].primary_key)
    return Invariant(
        f"every {column} of {table} is there",
        "rows",
        f"'{table}, ' || {name} || ': no {column} ' || r.{column}",
        f"{table} r where r.{column} is not null",
        f"not exists (select 1 from {parent} p where p.id = r.{column})",
    )
