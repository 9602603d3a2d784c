"""The trials of another database, laid beside those here by their keys: which of them come, and which stay."""

import math
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, case, select

from bnexp.db.leases import clock
from bnexp.db.tables import CohortRow, TrialRow
from bnexp.db.upkeep.writing import PART

NUMBERS = (
    "status", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy",
    "diverged_at_step", "trained", "nonfinite",
)  # fmt: skip
"""What two results of one trial should agree in. (Seconds are the machine's, and the best of a curve depends on where
it was evaluated.)"""

RESULTS = ("finished", "diverged")


@dataclass
class Matched:
    """Every trial there, by its number there."""

    here: dict[int, int] = field(default_factory=dict)
    """The numbers here of those that are known here."""
    new: list[int] = field(default_factory=list)
    """Unknown here."""
    taken: list[int] = field(default_factory=list)
    """Known here, but ended only there: these take over the result."""
    leased: dict[int, int] = field(default_factory=dict)
    """Of those taken, the cohorts here that workers have let go of."""
    ended: list[int] = field(default_factory=list)
    """Of those new or taken, the ones that have a result."""
    alike: list[int] = field(default_factory=list)
    """Of those that ended in both, the ones with the same numbers."""
    others: set[int] = field(default_factory=set)
    """Whose state here stays another than there."""
    conflicts: dict[str, float] = field(default_factory=dict)
    """Keys of those that ended in both with different numbers, and by how much: the largest relative difference, which
    is infinite where they did not end alike."""
    busy: list[str] = field(default_factory=list)
    """Keys of those that ended there while a worker trains them here."""


def match(source: Connection, target: Connection) -> Matched:
    """Compare the trials of `source` with those of `target`."""
    matched = Matched()
    moment = clock(target)
    query = select(TrialRow.id, TrialRow.key, *_numbers()).order_by(TrialRow.id)
    for part in source.execute(query, execution_options={"yield_per": PART}).partitions(PART):
        known = _known(target, [row.key for row in part], moment)
        for there in part:
            _place(matched, there, known.get(there.key))
    return matched


def _numbers() -> list[Any]:
    return [TrialRow.__table__.c[name] for name in NUMBERS]


def _known(target: Connection, keys: list[str], moment: float) -> dict[str, Row[Any]]:
    """Those of the trials that are here; `lease` is live, over, or NULL where no worker has one."""
    running = CohortRow.status == "running"
    lease = case((running & (CohortRow.lease_until >= moment), "live"), (running, "over"))
    query = (
        select(TrialRow.id, TrialRow.key, TrialRow.cohort_id, lease.label("lease"), *_numbers())
        .outerjoin(CohortRow, CohortRow.id == TrialRow.cohort_id)
        .where(TrialRow.key.in_(keys))
    )
    return {row.key: row for row in target.execute(query)}


def _place(matched: Matched, there: Row[Any], here: Row[Any] | None) -> None:
    """Say of a trial there what becomes of it."""
    if here is None:
        matched.new.append(there.id)
        if there.status in RESULTS:
            matched.ended.append(there.id)
        return
    matched.here[there.id] = here.id
    if here.status in RESULTS and there.status in RESULTS:
        apart = max(_difference(getattr(here, name), getattr(there, name)) for name in NUMBERS)
        if apart:
            matched.conflicts[there.key] = apart
            matched.others.add(there.id)
        else:
            matched.alike.append(there.id)
    elif here.status in RESULTS or there.status not in RESULTS:
        if here.status != there.status:
            matched.others.add(there.id)
    elif here.lease == "live":
        matched.busy.append(there.key)
        matched.others.add(there.id)
    else:
        matched.taken.append(there.id)
        matched.ended.append(there.id)
        if here.lease == "over":
            matched.leased[there.id] = here.cohort_id


def _difference(here: Any, there: Any) -> float:
    """|a - b| / max(|a|, |b|) of two losses or accuracies; infinite where anything else differs."""
    if here == there:
        return 0.0
    if isinstance(here, float) and isinstance(there, float):
        return abs(here - there) / max(abs(here), abs(there))
    return math.inf
