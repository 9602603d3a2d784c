"""Numbers reach the database and the reader as they were measured."""

import math
import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from bnexp.config import TrialConfig
from bnexp.db import rows
from bnexp.db.leases import LeaseLostError
from bnexp.db.results import Results
from bnexp.db.rows import Job
from bnexp.db.store import Store
from bnexp.engine.cohort import group
from bnexp.enrolling import instantiate
from bnexp.experiments import load
from bnexp.records import Final, Outcome, Point
from bnexp.reports import plan
from bnexp.reports.plan import Outlook, show_plan
from bnexp.text import counted
from tests.conftest import Bnexp
from tests.test_db import GOOD, ONE, STARTED, TWO, instance, wanted


@pytest.mark.parametrize(("loss", "trained"), [(0.99, True), (1.01, False), (2.0, False)])
def test_trained_is_under_half_of_the_logarithm_of_the_classes(loss: float, trained: bool) -> None:
    half = math.log(10) / 2
    final = Final(loss * half, 0.9, 0.1, 0.9, 0.1, 0.9)
    job = Job(1, [1], [TrialConfig()], 10)
    curve = (Point(1, 1.0, 0.99, 1.0, 0.5), Point(2, 1.0, 0.98, 1.0, 0.7), Point(3, 1.0, 0.97, 1.0, 0.6))
    result = rows.result(job, Outcome(0, "finished", curve, final))
    assert (result["trained"], result["best_validation_accuracy"]) == (trained, 0.7)


def test_the_views_columns_are_what_they_are_called(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "bnexp.db"))
    few = rows.WantedTrial("k2", TrialConfig(seed=9), "data", 4, "")
    number = store.register(instance(wanted(seed=1), few))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    slot = {config.seed: index for index, config in enumerate(job.configs)}
    outcomes = [
        Outcome(slot[1], "finished", (Point(1, 0.1, 0.2, 0.3, 0.4),), GOOD),
        Outcome(slot[9], "diverged", (), None, 2, "nan"),
    ]
    store.store(job, ONE, outcomes, STARTED, 1.5)
    with store.engine.connect() as connection:
        point = connection.execute(
            text("select step, train_loss, train_accuracy, validation_loss, validation_accuracy from learning_curves")
        ).one()
        chance = connection.execute(text("select scored_accuracy, seconds from trial_results where seed = 9")).one()
    assert tuple(point) == (1, 0.1, 0.2, 0.3, 0.4)
    assert tuple(chance) == (0.25, 1.5), "chance is the dataset's"
    store.close()


def test_renewing_moves_the_lease_that_one_has_only(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "bnexp.db"))
    number = store.register(instance(wanted(seed=1), wanted(norm="batch", seed=1)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    with store.engine.begin() as connection:
        connection.execute(text("update cohorts set lease_until = 0"))
    lease = text("select lease_until, step from cohorts where id = :id")
    for worker, lost in ((TWO, job), (ONE, replace(job, taken=job.taken + 1))):
        with pytest.raises(LeaseLostError):
            store.renew(lost, worker, 5)
        with store.engine.connect() as connection:
            assert tuple(connection.execute(lease, {"id": job.cohort_id}).one()) == (0.0, 0)
    store.renew(job, ONE, 5)
    with store.engine.connect() as connection:
        until, step = connection.execute(lease, {"id": job.cohort_id}).one()
    assert until > time.time() + 30 and step == 5
    store.close()


def test_the_tables_columns_stand_under_their_arms(tiny: Path, bnexp: Bnexp) -> None:
    sql = "select norm, 100 * avg(scored_accuracy) from trial_results where lr_multiplier = 1 group by 1 order by 1"
    lines = bnexp("query", sql, "--format", "csv", cwd=tiny).out.splitlines()[1:]
    batch, none = (f"{float(line.split(',')[1]):.1f}" for line in lines)
    assert batch != none
    assert f"| {none} | {batch} |" in bnexp("report", "--format", "markdown", cwd=tiny).out
    assert re.search(rf"^1 +{none} +{batch} ", bnexp("report", cwd=tiny).out, re.MULTILINE)


@pytest.mark.parametrize(("workers", "estimate"), [(1, "about 20 s"), (2, "about 10 s")])
def test_plan_estimates_for_all_workers_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int, estimate: str
) -> None:
    """A trial of 1000 steps whose share of its worker's time was 10 s, and two more to train."""
    store, whole = Store(str(tmp_path / "bnexp.db")), instance(*(wanted(seed=seed) for seed in range(3)))
    number = store.register(whole)
    store.plan(number, partial(group, limit=1))
    job = store.take([number], ONE)
    assert job is not None
    store.store(job, ONE, [Outcome(0, "finished", (), GOOD)], STARTED, 10.0)
    (tmp_path / "e.yaml").write_text("experiments: {e: {seeds: 3}}")
    outlook = Outlook(load(tmp_path / "e.yaml").experiments["e"], whole, [])
    show_plan(outlook, Results(store.database), workers)
    assert f"{estimate} with {counted(workers, 'worker')}, at" in capsys.readouterr().out
    store.close()


def test_plan_estimates_by_the_networks_own_pace_where_it_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without BN 1000 steps took 10 s, with it 30 s, which makes 20 s for a network that was never trained here."""
    store = Store(str(tmp_path / "bnexp.db"))
    measured = [wanted(norm=norm, seed=0) for norm in ("none", "batch")]
    number = store.register(instance(*measured))
    store.plan(number, group)
    while job := store.take([number], ONE):
        seconds = 10.0 if job.configs[0].norm.name == "none" else 30.0
        store.store(job, ONE, [Outcome(0, "finished", (), GOOD)], STARTED, seconds)
    (tmp_path / "e.yaml").write_text("experiments: {e: {seeds: 3}}")
    experiment = load(tmp_path / "e.yaml").experiments["e"]
    for field, estimate in {
        "norm=none": "about 30 s with 1 worker, at 100 trial-steps/s each as measured here\n",
        "norm=batch": "about 1 min 30 s with 1 worker",
        "norm=group": "about 1 min 00 s with 1 worker, at 50 trial-steps/s each as measured here, 3 trials by other",
    }.items():
        name, _, value = field.partition("=")
        trials = [wanted(**{name: value}, seed=seed) for seed in range(5, 8)]
        show_plan(Outlook(experiment, instance(*trials), []), Results(store.database), 1)
        assert estimate in f"{' '.join(capsys.readouterr().out.split())}\n", field
    store.close()


def test_many_cohorts_are_counted_without_cutting_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = load(Path(__file__).parents[1] / "experiments.yaml").experiments["grid"].override([], "7")
    trials = instantiate(experiment, "", None).trials
    exact = len(list(group([(trial.config, trial.fingerprint) for trial in trials])))
    monkeypatch.setattr(plan, "MOST_GROUPED", 100)
    assert plan._cohorts([trials]) == f"about {exact} cohorts"
