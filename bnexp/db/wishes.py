"""What is only recorded of a trial (evaluation steps, probes) is not part of its identity. So a trial that is stored
already may have been trained, or be about to be, with other wishes than those of the experiment that now wants it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, text, update

from bnexp.config import TrialConfig, cell_key, columns
from bnexp.db import rows
from bnexp.db.rows import WantedTrial
from bnexp.db.tables import Base, TrialRow

DIFFERING = text(
    "select t.id, t.key, t.status, t.config, t.fingerprint from experiment_trials e join trials t on t.id = e.trial_id "
    "where e.experiment_id = :experiment and (t.eval_every <> :eval_every or t.probes <> :probes)"
).columns(TrialRow.id, TrialRow.key, TrialRow.status, TrialRow.config, TrialRow.fingerprint)

END_EMPTY_COHORTS = text(
    "update cohorts set status = 'done' where status = 'pending' and not exists "
    "(select 1 from trials t where t.cohort_id = cohorts.id and t.status not in ('finished', 'diverged', 'failed'))"
)

RECORDED = ("eval_every", "probes")


def widen(connection: Connection, experiment_id: int, trials: Sequence[WantedTrial]) -> Counter[str]:
    """Give the wider wish to those `trials` of the instance that are still to be trained: the probes of both, and the
    more frequent evaluation. Return what those that are trained lack, in words, and how many lack it."""
    lacking: Counter[str] = Counter()
    wider: list[dict[str, Any]] = []
    wanted = {trial.key: trial.config for trial in trials}
    for row in _differing(connection, experiment_id, wanted):
        stored, wish = rows.config(row.config), wanted[row.key]
        if row.status not in ("pending", "failed"):
            lacking.update(_lacking(stored, wish))
        elif (both := _both(stored, wish)) != stored:
            recorded = {name: value for name, value in columns(both).items() if name in RECORDED}
            config = both.model_dump(mode="json")
            wider.append({"of": row.id, "config": config, "cell": cell_key(both, row.fingerprint), **recorded})
    if wider:
        # They leave the cohort that was planned for them, whose trials share what is recorded.
        values: dict[str, BindParameter[Any]] = {
            name: bindparam(f"new_{name}", type_=TrialRow.__table__.c[name].type) for name in wider[0] if name != "of"
        }
        unbegun = (TrialRow.id == bindparam("of")) & ((TrialRow.status == "pending") | (TrialRow.status == "failed"))
        changed = update(Base.metadata.tables["trials"]).where(unbegun).values(cohort_id=None, **values)
        new = [{name if name == "of" else f"new_{name}": value for name, value in one.items()} for one in wider]
        connection.execute(changed, new)
        connection.execute(END_EMPTY_COHORTS)
    return lacking


def _differing(connection: Connection, experiment_id: int, wanted: dict[str, TrialConfig]) -> list[Row[Any]]:
    """The instance's stored trials, of those wanted, whose recorded fields are others."""
    wishes = {(config.eval_every, columns(config)["probes"]) for config in wanted.values()}
    found: dict[int, Row[Any]] = {}
    for every, probes in wishes:
        own = {"experiment": experiment_id, "eval_every": every, "probes": probes}
        for row in connection.execute(DIFFERING, own):
            if row.key in wanted and _recorded(rows.config(row.config)) != _recorded(wanted[row.key]):
                found[row.id] = row
    return list(found.values())


def _recorded(config: TrialConfig) -> tuple[int, tuple[str, ...]]:
    return config.eval_every, config.probes


def _both(stored: TrialConfig, wish: TrialConfig) -> TrialConfig:
    probes = stored.probes if set(wish.probes) <= set(stored.probes) else sorted({*stored.probes, *wish.probes})
    return stored.model_copy(update={"eval_every": min(stored.eval_every, wish.eval_every), "probes": tuple(probes)})


def _lacking(stored: TrialConfig, wish: TrialConfig) -> list[str]:
    missing = [name for name in wish.probes if name not in stored.probes]
    lacking = []
    if missing:
        probes = "probe" if len(missing) == 1 else "probes"
        lacking.append(f"without the {probes} {', '.join(missing)}; use another --db to measure them")
    if stored.eval_every != wish.eval_every:
        lacking.append(
            f"with eval_every {stored.eval_every}, not {wish.eval_every}; use another --db for curves of these steps"
        )
    return lacking
