"""Copying attempts, which tell where results come from, and the cohorts that they need."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from bnexp.db.inserts import ids_by_key
from bnexp.db.tables import AttemptRow, Base, CohortRow, TrialRow
from bnexp.db.upkeep.merging.matching import Matched
from bnexp.db.upkeep.writing import parts

ENDED = TrialRow.status.in_(("finished", "diverged", "failed"))

Execution = tuple[int, str, datetime]
"""What makes an attempt the same attempt: the trial's number, the worker, the moment it started."""


def copy_attempts(source: Connection, target: Connection, matched: Matched) -> None:
    """Copy the attempts of trials that have ended, and of cohorts that have. Their cohorts come along, as done: they
    tell in which company a trial was trained."""
    cohorts: dict[int, int] = {}
    for part in parts([*matched.new, *matched.taken]):
        query = (
            select(AttemptRow.__table__)
            .join(TrialRow, TrialRow.id == AttemptRow.trial_id)
            .join(CohortRow, CohortRow.id == AttemptRow.cohort_id)
            .where(AttemptRow.trial_id.in_(part), ENDED | (CohortRow.status == "done"))
            .order_by(AttemptRow.id)
        )
        found = source.execute(query).mappings().all()
        cohorts |= _copy_cohorts(source, target, {row["cohort_id"] for row in found} - cohorts.keys())
        known = _executions(target, [matched.here[number] for number in part])
        places = ({"trial_id": matched.here[row["trial_id"]], "cohort_id": cohorts[row["cohort_id"]]} for row in found)
        moved = [{**_unnumbered(row), **place} for row, place in zip(found, places, strict=True)]
        new = [row for row in moved if (row["trial_id"], row["worker"], row["started_at"]) not in known]
        if new:
            target.execute(insert(AttemptRow), new)
        _place(source, target, part, matched.here, cohorts)


def _copy_cohorts(source: Connection, target: Connection, numbers: Collection[int]) -> dict[int, int]:
    """The numbers here of the cohorts there. One of which an attempt has come before is here already."""
    found: dict[int, int] = {}
    for part in parts(numbers):
        found |= _known_cohorts(source, target, part)
        query = select(CohortRow.__table__).where(CohortRow.id.in_(part))
        new = [row for row in source.execute(query).mappings() if row["id"] not in found]
        ended = {"status": "done", "worker": None, "lease_until": None, "checkpoint": None}
        if new:
            adding = insert(CohortRow).returning(CohortRow.id, sort_by_parameter_order=True)
            made = target.execute(adding, [_unnumbered(row) | ended for row in new]).scalars()
            found |= dict(zip((row["id"] for row in new), made, strict=True))
    return found


def _known_cohorts(source: Connection, target: Connection, numbers: list[int]) -> dict[int, int]:
    query = (
        select(TrialRow.key, AttemptRow.worker, AttemptRow.started_at, AttemptRow.cohort_id)
        .join(TrialRow, TrialRow.id == AttemptRow.trial_id)
        .where(AttemptRow.cohort_id.in_(numbers))
    )
    attempts = source.execute(query).all()
    ids = ids_by_key(target, [*{row.key for row in attempts}])
    known: dict[Execution, int] = {}
    for some in parts(ids.values()):
        known |= _executions(target, some)
    executions = ((cohort, known.get((ids[key], worker, at))) for key, worker, at, cohort in attempts)
    return {there: here for there, here in executions if here is not None}


def _executions(target: Connection, trial_ids: list[int]) -> dict[Execution, int]:
    """The attempts that are here already of these trials, and their cohorts."""
    query = select(AttemptRow.trial_id, AttemptRow.worker, AttemptRow.started_at, AttemptRow.cohort_id)
    found = target.execute(query.where(AttemptRow.trial_id.in_(trial_ids))).all()
    return {(row.trial_id, row.worker, row.started_at): row.cohort_id for row in found}


def _place(
    source: Connection, target: Connection, numbers: list[int], here: Mapping[int, int], cohorts: Mapping[int, int]
) -> None:
    """Put those of the trials that have ended into the cohorts that came."""
    query = select(TrialRow.id, TrialRow.cohort_id).where(TrialRow.id.in_(numbers), ENDED)
    places = [
        {"of": here[row.id], "cohort": cohorts[row.cohort_id]}
        for row in source.execute(query)
        if row.cohort_id in cohorts
    ]
    placing = update(Base.metadata.tables["trials"]).where(TrialRow.id == bindparam("of"))
    if places:
        target.execute(placing.values(cohort_id=bindparam("cohort")), places)


def _unnumbered(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row without its number, which is the other database's."""
    return {name: value for name, value in row.items() if name != "id"}
