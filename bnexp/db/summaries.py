"""What a report says of several instances at once, and when claims were fixed and data began to exist."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import DateTime, bindparam, text

from bnexp.db.connection import explained
from bnexp.db.results import Results

LOCKED = text("select locked_at from claims where key = :key").columns(locked_at=DateTime)
FIRST = text(
    "select min(a.started_at) as began from attempts a join experiment_trials e on e.trial_id = a.trial_id "
    "where e.experiment_id = :id"
).columns(began=DateTime)


DECIDED = text(
    "select v.claim_key, v.verdict, v.n, e.overrides from claim_verdicts v join experiments e "
    "on e.id = v.experiment_id where v.experiment = :name and v.verdict in ('supported', 'refuted') "
    "and v.n is not null order by v.n"
)


COUNTS = text(
    "select status, count(*) as trials from trials "
    "where id in (select trial_id from experiment_trials where experiment_id in :ids) group by 1 order by 1"
).bindparams(bindparam("ids", expanding=True))


@dataclass(frozen=True)
class Times:
    """Of a claim and an instance, UTC."""

    locked_at: datetime | None
    """When the claim, as it stands, was stored; None where it never was."""
    first_trial_at: datetime | None
    """When the first trial of the instance began."""


def times(results: Results, claim_key: str, experiment_id: int) -> Times:
    """When a claim was fixed, and when an instance's data began to exist."""
    with explained(results.url), results.engine.connect() as connection:
        locked = connection.execute(LOCKED, {"key": claim_key}).scalar()
        began = connection.execute(FIRST, {"id": experiment_id}).scalar()
    return Times(locked, began)


@dataclass(frozen=True)
class Decided:
    """A verdict that an instance of an experiment came to."""

    claim_key: str
    verdict: str
    n: int
    """Seeds."""
    overrides: str
    """The instance's."""


def decided(results: Results, experiment: str) -> list[Decided]:
    """The verdicts other than open ones of all the experiment's instances, those of the fewest seeds first."""
    with explained(results.url), results.engine.connect() as connection:
        return [Decided(*row) for row in connection.execute(DECIDED, {"name": experiment})]


def count_trials(results: Results, experiment_ids: Sequence[int]) -> dict[str, int]:
    """How many trials of these instances have each status; one that two of them want counts once."""
    with explained(results.url), results.engine.connect() as connection:
        rows = connection.execute(COUNTS, {"ids": list(experiment_ids)})
        return {row.status: row.trials for row in rows}
