"""Copying what is wanted and what was said of it: instances, their links and choices, claims and verdicts."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select, update

from bnexp.db.inserts import insert_new, inserting
from bnexp.db.tables import ChoiceRow, ClaimRow, ExperimentRow, ExperimentTrialRow, VerdictRow
from bnexp.db.upkeep.merging.matching import Matched
from bnexp.db.upkeep.writing import PART, parts
from bnexp.errors import DatabaseError

IDENTITY = ("name", "overrides", "expansion")


@dataclass
class Instances:
    """Every instance there, by its number there."""

    here: dict[int, int] = field(default_factory=dict)
    """The numbers here of those that are known here."""
    new: list[int] = field(default_factory=list)


def match_instances(source: Connection, target: Connection) -> Instances:
    """Find the instances there that are here too. Raises DatabaseError where another level was chosen for an arm of
    one: its trials would be of two experiments."""
    columns = [ExperimentRow.__table__.c[name] for name in ("id", *IDENTITY)]
    known = {tuple(rest): number for number, *rest in target.execute(select(*columns))}
    matched = Instances()
    for number, *rest in source.execute(select(*columns).order_by(ExperimentRow.id)):
        if tuple(rest) in known:
            matched.here[number] = known[tuple(rest)]
        else:
            matched.new.append(number)
    for there, here in matched.here.items():
        _check_choices(source, there, target, here)
    return matched


def _check_choices(source: Connection, there: int, target: Connection, here: int) -> None:
    ours, theirs = (
        {row.arm: row for row in connection.execute(select(ChoiceRow.__table__).filter_by(experiment_id=number))}
        for connection, number in ((target, here), (source, there))
    )
    differing = [arm for arm in sorted(ours.keys() & theirs.keys()) if ours[arm].level != theirs[arm].level]
    if differing:
        arm, more = differing[0], f" (and {len(differing) - 1:,} more)" if len(differing) > 1 else ""
        name = target.execute(select(ExperimentRow.name).filter_by(id=here)).scalar_one()
        give_up = f"bnexp db delete {shlex.quote(name)} --instance"
        raise DatabaseError(
            f"nothing was merged: both databases have chosen a level of {ours[arm].factor} for the arm {arm!r} of "
            f"{name!r}{more}, and they differ: {ours[arm].level:g} here, {theirs[arm].level:g} in OTHER. Report from "
            f"each with its own --db, or give up this one (`{give_up} {here}`) or that one (`{give_up} {there} --db "
            "OTHER`) and merge again"
        )


def copy_instances(source: Connection, target: Connection, instances: Instances) -> None:
    """Write down the new instances, and how early and late those known were run. Adds the numbers of the new ones to
    `instances.here`."""
    for row in source.execute(select(ExperimentRow.__table__).order_by(ExperimentRow.id)).mappings():
        if row["id"] in instances.here:
            ours = ExperimentRow.id == instances.here[row["id"]]
            for name, other_is in (
                ("created_at", ExperimentRow.created_at > row["created_at"]),
                ("last_run_at", ExperimentRow.last_run_at < row["last_run_at"]),
            ):
                target.execute(update(ExperimentRow).where(ours, other_is).values({name: row[name]}))
        else:
            adding = insert(ExperimentRow).values({name: value for name, value in row.items() if name != "id"})
            instances.here[row["id"]] = target.execute(adding.returning(ExperimentRow.id)).scalar_one()


def copy_links(source: Connection, target: Connection, instances: Instances, trials: Mapping[int, int]) -> None:
    """Link the trials, by their numbers there, to the instances that want them there, and copy what was chosen."""
    new = inserting(target, ExperimentTrialRow)
    keys = [column.name for column in ExperimentTrialRow.__table__.primary_key]
    older = ExperimentTrialRow.arm == ""  # than arms; such links learn theirs
    new = new.on_conflict_do_update(index_elements=keys, set_={"arm": new.excluded.arm}, where=older)
    query = select(ExperimentTrialRow.__table__)
    for part in source.execute(query, execution_options={"yield_per": PART}).mappings().partitions(PART):
        places = [(instances.here[row["experiment_id"]], trials[row["trial_id"]]) for row in part]
        links = zip(part, places, strict=True)
        target.execute(
            new, [{**row, "experiment_id": experiment, "trial_id": trial} for row, (experiment, trial) in links]
        )
    chosen = source.execute(select(ChoiceRow.__table__)).mappings()
    insert_new(target, ChoiceRow, [{**row, "experiment_id": instances.here[row["experiment_id"]]} for row in chosen])


def copy_claims(source: Connection, target: Connection) -> dict[int, int]:
    """Write down the claims, each with the earlier of its times; their numbers here by those there."""
    new = inserting(target, ClaimRow)
    later = ClaimRow.locked_at > new.excluded.locked_at
    new = new.on_conflict_do_update(index_elements=["key"], set_={"locked_at": new.excluded.locked_at}, where=later)
    claims = source.execute(select(ClaimRow.__table__).order_by(ClaimRow.id)).mappings().all()
    rows = [{name: value for name, value in claim.items() if name != "id"} for claim in claims]
    if rows:
        target.execute(new, rows)
    ours = {row.key: row.id for row in target.execute(select(ClaimRow.key, ClaimRow.id))}
    return {claim["id"]: ours[claim["key"]] for claim in claims}


def copy_verdicts(
    source: Connection, target: Connection, instances: Instances, matched: Matched, claims: Mapping[int, int]
) -> set[int]:
    """Copy the verdicts of new instances; the numbers here of those whose verdicts do not come, since a trial of theirs
    is another here than the one they were judged by."""
    unlike: set[int] = set()
    for part in parts(matched.others):
        query = select(ExperimentTrialRow.experiment_id).where(ExperimentTrialRow.trial_id.in_(part)).distinct()
        unlike |= set(source.execute(query).scalars()) & set(instances.new)
    for part in parts(set(instances.new) - unlike):
        query = select(VerdictRow.__table__).where(VerdictRow.experiment_id.in_(part))
        moved = [
            {**row, "experiment_id": instances.here[row["experiment_id"]], "claim_id": claims[row["claim_id"]]}
            for row in source.execute(query).mappings()
        ]
        if moved:
            target.execute(insert(VerdictRow), moved)
    return {instances.here[number] for number in unlike}
