"""How far experiment instances have come, and what was judged of those that are complete."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from sqlalchemy import Connection, bindparam, text

from bnexp.db.connection import explained
from bnexp.db.results import Results
from bnexp.records import Standing

NAMES = text("select id, name from experiments where id in :ids order by id").bindparams(
    bindparam("ids", expanding=True)
)
SEEDS = text(
    "select stage, count(*) as seeds, coalesce(sum(case when open = 0 then 1 else 0 end), 0) as ended, "
    "coalesce(sum(failed), 0) as failed from (select e.stage, t.seed, "
    "sum(case when t.status in ('pending', 'running') then 1 else 0 end) as open, "
    "sum(case when t.status = 'failed' then 1 else 0 end) as failed "
    "from experiment_trials e join trials t on t.id = e.trial_id where e.experiment_id = :id "
    "group by e.stage, t.seed) each_seed group by stage"
)
VERDICTS = text(
    "select claim, verdict from claim_verdicts where experiment_id = :id "
    "and judged_at >= (select last_run_at from experiments where id = :id) order by claim"
)
"""Those of an earlier run may be about fewer trials: what had failed may have been tried again."""


def standings(results: Results, experiment_ids: Sequence[int]) -> list[Standing]:
    """Those of these instances, in order of their numbers."""
    with explained(results.url), results.engine.connect() as connection:
        named = connection.execute(NAMES, {"ids": list(experiment_ids)}).all()
        return [_standing(connection, number, name) for number, name in named]


def _standing(connection: Connection, number: int, name: str) -> Standing:
    """One that has not come to its confirming trials stands where its tune stage does."""
    stages = {row.stage: row for row in connection.execute(SEEDS, {"id": number})}
    stage: Literal["tune", "confirm"] = "confirm" if "confirm" in stages or not stages else "tune"
    if stage not in stages:
        return Standing(number, name, stage, 0, 0)
    row = stages[stage]
    standing = Standing(number, name, stage, int(row.ended), int(row.seeds), int(row.failed))
    if not standing.complete:
        return standing
    found = connection.execute(VERDICTS, {"id": number})
    return replace(standing, verdicts=tuple((row.claim, row.verdict) for row in found))
