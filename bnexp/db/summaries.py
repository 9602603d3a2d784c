"""What a report says of several instances at once, and when claims were fixed and data began to exist."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, TextClause, bindparam, text

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


TOGETHER = text(
    "select 0 as instance, t.status, w.tunes, count(*) as trials from trials t join ("
    "select trial_id, min(case when stage = 'tune' then 1 else 0 end) as tunes from experiment_trials "
    "where experiment_id in :ids group by trial_id) w on w.trial_id = t.id group by 1, 2, 3 order by 2"
).bindparams(bindparam("ids", expanding=True))
EACH = text(
    "select w.instance, t.status, w.tunes, count(*) as trials from trials t join ("
    "select experiment_id as instance, trial_id, min(case when stage = 'tune' then 1 else 0 end) as tunes "
    "from experiment_trials group by 1, 2) w on w.trial_id = t.id group by 1, 2, 3 order by 2"
)


@dataclass(frozen=True)
class Counts:
    """Trials of one or several instances, of both stages. One that several want, or both stages, counts once."""

    statuses: dict[str, int]
    """Trial status to number of trials."""
    tuning: int = 0
    """How many of them are there to tune only."""


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


def count_trials(results: Results, experiment_ids: Sequence[int]) -> Counts:
    """The trials of these instances together."""
    found = _count(results, TOGETHER, ids=list(experiment_ids))
    return found.get(0, Counts({}))


def count_each(results: Results) -> dict[int, Counts]:
    """The trials of every instance, by its number; of one without trials there is nothing."""
    return _count(results, EACH)


def _count(results: Results, query: TextClause, **parameters: Any) -> dict[int, Counts]:
    statuses: dict[int, Counter[str]] = {}
    tuning: Counter[int] = Counter()
    with explained(results.url), results.engine.connect() as connection:
        for row in connection.execute(query, parameters):
            statuses.setdefault(row.instance, Counter())[row.status] += row.trials
            tuning[row.instance] += row.tunes * row.trials
    return {instance: Counts(dict(found), tuning[instance]) for instance, found in statuses.items()}
