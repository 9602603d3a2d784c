"""Writing down what is wanted: instances, the trials of each stage, and the levels chosen between them. Inside the
store's transactions."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection, func, select, update

from bnexp.db import rows, stored
from bnexp.db.inserts import ids_by_key, insert_new, inserting
from bnexp.db.rows import Instance, Stage, WantedTrial, now
from bnexp.db.tables import ChoiceRow, ExperimentRow, ExperimentTrialRow, TrialRow
from bnexp.records import Choice


def find(connection: Connection, name: str, overrides: str, expansion: str) -> int | None:
    """The number of the instance with this identity; None where it was never written down."""
    query = select(ExperimentRow.id).filter_by(name=name, overrides=overrides, expansion=expansion)
    return connection.execute(query).scalar()


def register(connection: Connection, instance: Instance) -> int:
    """Write down an instance, not yet what it wants; return its number."""
    identity = {"name": instance.name, "overrides": instance.overrides, "expansion": instance.expansion}
    moment = now()
    row = {"about": instance.about, "margin": instance.margin, "created_at": moment, "last_run_at": moment}
    insert_new(connection, ExperimentRow, [identity | row])
    experiment_id = find(connection, **identity)
    assert experiment_id is not None
    connection.execute(update(ExperimentRow).where(ExperimentRow.id == experiment_id).values(last_run_at=moment))
    return experiment_id


def stand(connection: Connection, experiment_id: int, trials: Sequence[WantedTrial], stage: Stage) -> bool:
    """Whether all `trials` of the instance's stage are linked to it, each under its arm. Which they are is part of the
    instance's identity or frozen with its choices, so that counting them is enough."""
    links = select(ExperimentTrialRow.arm, func.count()).group_by(ExperimentTrialRow.arm)
    ours = (ExperimentTrialRow.experiment_id == experiment_id) & (ExperimentTrialRow.stage == stage)
    found = {arm: count for arm, count in connection.execute(links.where(ours))}  # noqa: C416 (rows are no pairs)
    wanted = Counter(arm for _, _, arm in {(trial.key, trial.variant, trial.arm) for trial in trials})
    return found == wanted


def want(connection: Connection, experiment_id: int, trials: Sequence[WantedTrial], stage: Stage) -> None:
    """Link `trials` to the instance, written down before where they are new. Those that are known already, from
    whichever experiment, are only linked."""
    insert_new(connection, TrialRow, [rows.trial(trial) for trial in trials])
    ids = ids_by_key(connection, [trial.key for trial in trials])
    links = [
        {
            "experiment_id": experiment_id,
            "trial_id": ids[trial.key],
            "variant": trial.variant,
            "stage": stage,
            "arm": trial.arm,
        }
        for trial in trials
    ]
    new = inserting(connection, ExperimentTrialRow)
    # Links that are older than arms learn theirs.
    keys = [column.name for column in ExperimentTrialRow.__table__.primary_key]
    update_arm = new.on_conflict_do_update(index_elements=keys, set_={"arm": new.excluded.arm})
    if links:
        connection.execute(update_arm, links)


def choose(connection: Connection, experiment_id: int, choices: Sequence[Choice]) -> list[Choice]:
    """Write down `choices` where none are yet, and return those that stand."""
    moment = now()
    insert_new(
        connection,
        ChoiceRow,
        [vars(choice) | {"experiment_id": experiment_id, "chosen_at": moment} for choice in choices],
    )
    return stored.choices(connection, experiment_id)
