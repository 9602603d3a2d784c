"""What is only recorded of a trial (evaluation steps, probes, kept files) is not part of its identity. So a trial that
is stored already may have been trained, or be about to be, with other wishes than those of the experiment that now
wants it."""

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, select, text, update

from bnexp.config import TrialConfig, columns
from bnexp.db import rows
from bnexp.db.rows import WantedTrial
from bnexp.db.tables import Base, TrialRow
from bnexp.identity import cell_key

DIFFERING = text(
    "select t.id, t.key, t.status, t.eval_every, t.probes, t.keep, t.config, t.fingerprint "
    "from experiment_trials e join trials t on t.id = e.trial_id "
    "where e.experiment_id = :experiment and "
    "(t.eval_every <> :eval_every or t.probes <> :probes or t.keep <> :keep)"
).columns(
    TrialRow.id,
    TrialRow.key,
    TrialRow.status,
    TrialRow.eval_every,
    TrialRow.probes,
    TrialRow.keep,
    TrialRow.config,
    TrialRow.fingerprint,
)

END_EMPTY_COHORTS = text(
    "update cohorts set status = 'done' where status = 'pending' and not exists "
    "(select 1 from trials t where t.cohort_id = cohorts.id and t.status not in ('finished', 'diverged', 'failed'))"
)

RECORDED = ("eval_every", "probes", "keep")


def widen(connection: Connection, experiment_id: int, trials: Sequence[WantedTrial]) -> Counter[str]:
    """Give the wider wish to those `trials` of the instance that are still to be trained: the probes and kept files of
    both, and the more frequent evaluation. Return what those that are trained lack, in words, and how many lack it."""
    wanted = {trial.key: trial.config for trial in trials}
    if connection.dialect.name == "postgresql":  # there cohorts are taken beside us, but from here on
        connection.execute(text("lock table cohorts in exclusive mode"))
    lacking, wider = _look(connection, experiment_id, wanted)
    if wider:
        _write(connection, wider)
    return lacking


def look(connection: Connection, experiment_id: int, trials: Sequence[WantedTrial]) -> tuple[Counter[str], bool]:
    """What `widen` would return, and whether it would change anything."""
    lacking, wider = _look(connection, experiment_id, {trial.key: trial.config for trial in trials})
    return lacking, bool(wider)


def _look(
    connection: Connection, experiment_id: int, wanted: dict[str, TrialConfig]
) -> tuple[Counter[str], list[dict[str, Any]]]:
    """What the trained trials lack, and the rows of those that are to record more."""
    lacking: Counter[str] = Counter()
    wider: list[dict[str, Any]] = []
    for row in _differing(connection, experiment_id, wanted):
        wish = wanted[row.key]
        if row.status not in ("pending", "failed"):
            # Nothing is kept of a trial that diverged, whoever wants it.
            kept = () if row.status == "diverged" else wish.keep
            lacking.update(_lacking(row.eval_every, row.probes, row.keep, wish.eval_every, wish.probes, kept))
            continue
        stored = rows.config(row.config)
        both = _both(stored, wish)
        if both != stored:
            wider.append({"of": row.id, **_recording(both, row.fingerprint)})
    return lacking, wider


def _write(connection: Connection, wider: list[dict[str, Any]]) -> None:
    """Let trials record more. They leave the cohort that was planned for them, whose trials share what is recorded."""
    values: dict[str, BindParameter[Any]] = {
        name: bindparam(f"new_{name}", type_=TrialRow.__table__.c[name].type) for name in wider[0] if name != "of"
    }
    unbegun = (TrialRow.id == bindparam("of")) & ((TrialRow.status == "pending") | (TrialRow.status == "failed"))
    changed = update(Base.metadata.tables["trials"]).where(unbegun).values(cohort_id=None, **values)
    new = [{name if name == "of" else f"new_{name}": value for name, value in one.items()} for one in wider]
    connection.execute(changed, new)
    connection.execute(END_EMPTY_COHORTS)


def keep_more(connection: Connection, kept: Sequence[tuple[int, str]]) -> None:
    """Write down of finished trials, by their numbers, what more is kept of them now."""
    kinds: dict[int, tuple[str, ...]] = {}
    for number, kind in kept:
        kinds[number] = (*kinds.get(number, ()), kind)
    query = select(TrialRow.id, TrialRow.config, TrialRow.fingerprint).where(TrialRow.id.in_(kinds))
    for number, written, fingerprint in connection.execute(query).all():
        stored = rows.config(written)
        both = stored.model_copy(update={"keep": _joined(stored.keep, kinds[number])})
        if both != stored:
            ours = TrialRow.id == number
            connection.execute(update(Base.metadata.tables["trials"]).where(ours).values(_recording(both, fingerprint)))


def _recording(config: TrialConfig, fingerprint: str) -> dict[str, Any]:
    """The columns that hold what is recorded."""
    recorded = {name: value for name, value in columns(config).items() if name in RECORDED}
    return {"config": config.model_dump(mode="json"), "cell": cell_key(config, fingerprint), **recorded}


def _differing(connection: Connection, experiment_id: int, wanted: dict[str, TrialConfig]) -> list[Row[Any]]:
    """The instance's stored trials, of those wanted, whose recorded fields are others."""
    found: dict[int, Row[Any]] = {}
    for wishes in {_recorded(config) for config in wanted.values()}:
        own = {"experiment": experiment_id, **dict(zip(RECORDED, wishes, strict=True))}
        for row in connection.execute(DIFFERING, own):
            wish = wanted.get(row.key)
            if wish and (row.eval_every, row.probes, row.keep) != _recorded(wish):
                found[row.id] = row
    return list(found.values())


def _recorded(wish: TrialConfig) -> tuple[int, str, str]:
    """As the columns RECORDED have it."""
    return wish.eval_every, json.dumps(wish.probes), json.dumps(wish.keep)


def _both(stored: TrialConfig, wish: TrialConfig) -> TrialConfig:
    every = min(stored.eval_every, wish.eval_every)
    probes, keep = _joined(stored.probes, wish.probes), _joined(stored.keep, wish.keep)
    return stored.model_copy(update={"eval_every": every, "probes": probes, "keep": keep})


def _joined(stored: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    return stored if set(wanted) <= set(stored) else tuple(sorted({*stored, *wanted}))


@cache
def _lacking(
    every: int,
    probes: str,
    keep: str,
    wanted_every: int,
    wanted_probes: tuple[str, ...],
    wanted_keep: tuple[str, ...],
) -> list[str]:
    missing = [name for name in wanted_probes if name not in json.loads(probes)]
    lacking = []
    if missing:
        words = f"{'probe' if len(missing) == 1 else 'probes'} {', '.join(missing)}"
        lacking.append(f"without the {words}; use another --db to measure them")
    unkept = [kind for kind in wanted_keep if kind not in json.loads(keep)]
    if unkept:
        lacking.append(f"without keeping their {' and '.join(unkept)}; use another --db to train them again")
    if every > wanted_every:  # else it has more points than are wanted, as it would have if it were trained now
        lacking.append(f"with eval_every {every}, not {wanted_every}; use another --db for curves of these steps")
    return lacking
