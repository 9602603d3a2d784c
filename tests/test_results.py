"""Reading many trials at once gives what the views give, and judging them gives what plain columns give."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from bnexp.claims import report as report_module
from bnexp.claims import statistics
from bnexp.claims.data import Data, no_probes
from bnexp.claims.report import make_report
from bnexp.claims.verdicts import judge
from bnexp.columns import Repeating, combinations, counts, in_both, levels, means, take
from bnexp.config import TrialConfig, columns_by_name
from bnexp.db import reading
from bnexp.db.leases import LeaseLostError
from bnexp.db.origins import origins
from bnexp.db.results import Results
from bnexp.db.store import Store
from bnexp.db.summaries import Counts, count_each, count_trials
from bnexp.engine.cohort import group
from bnexp.identity import cell_key
from bnexp.records import Final, Outcome, Point, Probe
from bnexp.reports.screens import show_trial
from tests.tables import claim
from tests.test_db import ONE, STARTED, TWO, expire, instance, wanted

CURVE = tuple(Point(step, 1.0, 0.5, 1.0, 0.01 * step) for step in (1, 2, 10))
BETTER = claim(
    estimator={"name": "best_difference", "over": ["lr_multiplier", "norm_momentum"]},
    table={"by": ["lr_multiplier"], "estimator": {"name": "difference", "of": "trained"}},
    refuted_if=None,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "bnexp.db"))
    yield opened
    opened.close()


@pytest.fixture
def ended(store: Store) -> Results:
    """An instance whose trials have ended, but for one that failed; two variants want one of them. And another one, of
    the same cells, with a trial that waits."""
    grid = [
        wanted(norm=norm, lr_multiplier=rate, seed=seed) for norm in ("none", "batch") for rate in (1.0, 5.0)
        for seed in range(7)
    ]  # fmt: skip
    number = store.register(
        instance(*grid, wanted("again", norm="none", lr_multiplier=1.0, seed=0), wanted(seed=90, dropout=0.4))
    )
    store.plan(number, group)
    while job := store.take([number], ONE):
        outcomes = [
            Outcome(slot, "diverged", CURVE[:1], None, 3, "nan")
            if config.lr_multiplier == 5 and config.seed % 3 == 0 and config.norm.name == "none"
            else Outcome(slot, "finished", CURVE, good(config))
            for slot, config in enumerate(job.configs)
            if config.seed < 90
        ]
        store.store(job, ONE, outcomes, STARTED, 1.0)
        if len(outcomes) < len(job.configs):
            store.fail(job, ONE, "no memory")
    other = store.register(instance(*(wanted(norm="batch", seed=seed) for seed in range(8)), name="other"))
    assert (number, other) == (1, 2)
    return Results(store.database)


def good(config: TrialConfig) -> Final:
    accuracy = 0.8 + 0.01 * (config.norm.name == "batch") + 0.001 * config.seed * config.lr_multiplier
    return Final(0.1 + 0.2 * config.seed, accuracy, 0.2, accuracy, 0.3, accuracy)


def rows_of(results: Results, query: str) -> list[tuple[Any, ...]]:
    with results.query(query) as answer:
        return [tuple(row) for row in answer.rows]


def same(one: Any, other: Any) -> bool:
    return one == other or (other is None and one != one)


@pytest.mark.parametrize("number", [1, 2])
def test_trials_are_those_of_the_view(ended: Results, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(reading, "PART", 4)
    monkeypatch.setattr(reading, "PARAMETERS", 3)
    names = ["trial_key", "status", "scored_accuracy", "validation_accuracy", "trained", "classes"]
    names += [*sorted(columns_by_name().values()), "variant", "arm"]
    shown = rows_of(
        ended,
        f"select {', '.join(names)} from experiment_results where experiment_id = {number} order by trial_key, variant",
    )
    trials = ended.trials(number)
    assert len(shown) == (30 if number == 1 else 8) and set(names) == set(trials)
    for name, column in zip(names, zip(*shown, strict=True), strict=True):
        assert all(map(same, trials[name].tolist(), column)), name
    assert isinstance(trials, Repeating) and len(trials.distinct["norm"]) < len(shown)


def test_curves_are_those_of_the_view(ended: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PART", 4)
    monkeypatch.setattr(reading, "PARAMETERS", 3)
    every = rows_of(ended, "select trial_key, step, validation_accuracy from learning_curves order by 1, 2")
    keys = sorted({row[0] for row in every})[::2]
    curves = ended.curves(keys[::-1])
    names = ("trial_key", "step", "validation_accuracy")
    found = sorted(zip(*(curves[name].tolist() for name in names), strict=True))
    assert found == [row for row in every if row[0] in keys] and len(keys) > 3
    assert all(len(column) == 0 for column in ended.curves([]).values())


def test_other_columns_of_curves_are_read_when_asked_for(ended: Results) -> None:
    names = ("train_loss", "train_accuracy")
    query = "select trial_key, step, train_loss, train_accuracy from learning_curves order by 1, 2"
    every = rows_of(ended, query)
    curves = ended.curves(sorted({row[0] for row in every}), names)
    assert set(curves) == {"trial_key", "step", *names}
    assert sorted(zip(*(curves[name].tolist() for name in ("trial_key", "step", *names)), strict=True)) == every


def test_a_stages_trials_are_read_alone_with_their_arms(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of numbering combinations; a trial of two arms has a row for each."""
    tuning = [replace(wanted("v", seed=seed, lr_multiplier=rate), arm="v") for seed in (8, 9) for rate in (1.0, 2.0)]
    twice = [replace(wanted(variant, seed=1), arm=f"{variant}, dropout 0") for variant in ("v", "w")]
    number = store.register(replace(instance(*twice), tuning=tuning, tune="lr_multiplier"))
    store.confirm(number, twice)
    results = Results(store.database)
    for limit in (0, 10**9):
        monkeypatch.setattr(reading, "SPARSE", limit)
        found = results.trials(number, "tune")
        assert sorted(zip(found["arm"], found["variant"], found["lr_multiplier"], found["seed"], strict=True)) == [
            ("v", "v", rate, seed) for rate in (1.0, 2.0) for seed in (8, 9)
        ]
        confirm = results.trials(number)
        assert sorted(zip(confirm["arm"], confirm["variant"], confirm["seed"], strict=True)) == [
            ("v, dropout 0", "v", 1),
            ("w, dropout 0", "w", 1),
        ]
    assert count_trials(results, [number]) == Counts({"pending": 5}, tuning=4), "of both stages, each trial once"


PROBES = (
    Probe(0, "hidden 1", "percentiles", 2.0, (1.0, 3.0)),
    Probe(10, "hidden 1", "percentiles", math.nan, (1.0, math.inf, math.nan)),
    Probe(0, "", "smoothness", 0.5),
)


def test_probes_are_stored_with_the_outcome_and_read_back(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    final = Final(0.1, 0.9, 0.1, 0.9, 0.1, 0.9)
    store.store(job, ONE, [Outcome(slot, "finished", CURVE, final, probes=PROBES) for slot in (0, 1)], STARTED, 1.0)
    results = Results(store.database)
    view = "select step, layer, name, value, units, nonfinite from probe_values where trial_key = '{}' order by 3, 1"
    key = wanted(seed=2).key
    assert rows_of(results, view.format(key)) == [
        (0, "hidden 1", "percentiles", 2.0, "[1.0, 3.0]", None),
        (10, "hidden 1", "percentiles", None, "[1.0, null, null]", "value=nan units[1]=inf units[2]=nan"),
        (0, "", "smoothness", 0.5, None, None),
    ]
    found = results.probes([key], "percentiles")
    assert set(found) == {"trial_key", "step", "layer", "value", "units"}
    assert (found["trial_key"].tolist(), found["step"].tolist()) == ([key] * 2, [0, 10])
    assert (found["value"][0], math.isnan(found["value"][1]), set(found["layer"])) == (2.0, True, {"hidden 1"})
    assert found["units"].dtype == object and found["units"][0] == [1.0, 3.0]
    assert str(found["units"][1]) == "[1.0, nan, nan]"
    both = results.probes([key, wanted(seed=1).key], "smoothness")
    assert sorted(both["trial_key"]) == sorted([key, wanted(seed=1).key]) and both["units"].tolist() == [[], []]
    assert len(results.probes([key], "none")["value"]) == 0
    show_trial(results.trial(key))
    shown = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "percentiles hidden 1 2 at step 0 not finite at step 10" in lines
    assert "smoothness 0.5 at step 0 0.5 at step 0" in lines


def test_probes_of_a_worker_that_lost_its_lease_are_not_stored(store: Store) -> None:
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    with pytest.raises(LeaseLostError):
        store.store(job, TWO, [Outcome(0, "diverged", (), None, 1, "nan", PROBES)], STARTED, 1.0)
    assert rows_of(Results(store.database), "select count(*) from probe_values") == [(0,)]


# What is only recorded


def test_pending_trials_take_over_the_wider_wish_and_trained_ones_are_counted(store: Store) -> None:
    """Cohorts of two: one that is begun, one of which another experiment wants the first trial, one it wants whole."""
    number = store.register(instance(*(wanted(seed=seed, probes=["moments"], eval_every=20) for seed in range(6))))
    store.plan(number, partial(group, limit=2))
    job = store.take([number], ONE)
    assert job is not None
    store.store(job, ONE, [Outcome(0, "finished", (), good(TrialConfig()))], STARTED, 1.0)
    more = [wanted(seed=seed, probes=["percentiles", "moments"], eval_every=50) for seed in (0, 1, 2, 4, 5, 9)]
    other = store.register(instance(*more, name="other"))
    assert store.widen(other, more) == {"without the probe percentiles; use another --db to measure them": 2}, (
        "they have more points than are wanted, which is no lack"
    )
    results = Results(store.database)
    old, wider = (20, '["moments"]'), (20, '["moments", "percentiles"]')
    expected = [old, old, wider, old, wider, wider, (50, '["percentiles", "moments"]')]
    assert rows_of(results, "select eval_every, probes from trial_results order by seed") == expected
    cells = [cell for (cell,) in rows_of(results, "select cell from trials where seed in (2, 3, 4, 5) order by seed")]
    assert cells[0] == cells[2] == cells[3] != cells[1]
    assert rows_of(results, "select id, status from cohorts order by id") == [
        (1, "running"),
        (2, "pending"),
        (3, "done"),
    ]
    store.plan(other, group)
    taken = []
    while job := store.take([number, other], TWO):
        assert len({(config.probes, config.eval_every) for config in job.configs}) == 1, "a cohort records one thing"
        taken.append([config.seed for config in job.configs])
    assert sorted(taken) == [[2, 4, 5], [3], [9]]


def test_a_narrower_wish_changes_and_says_nothing_of_probes(store: Store) -> None:
    number = store.register(instance(wanted(seed=1, probes=["moments", "percentiles"])))
    store.plan(number, group)
    less = [wanted(seed=1, probes=["percentiles"])]
    other = store.register(instance(*less, name="other"))
    assert store.widen(other, less) == {}
    job = store.take([other], ONE)
    assert job is not None and job.configs[0].probes == ("moments", "percentiles")
    assert store.widen(other, less) == {}


def test_an_instance_without_trials_is_read_and_reported(store: Store) -> None:
    store.register(instance())
    results = Results(store.database)
    assert len(results.trials(1)["seed"]) == 0
    report = make_report(results, results.latest(), {"c": BETTER})
    assert (report.counts, report.origins, report.findings[0].answer) == (Counts({}), [], "not tested")


def test_counts_are_of_trials_whichever_variants_want_them(ended: Results) -> None:
    expected = {"diverged": 3, "failed": 1, "finished": 25}
    assert count_trials(ended, [1]) == make_report(ended, ended.latest("e"), {}).counts == Counts(expected)
    assert count_each(ended) == {1: Counts(expected), 2: Counts({"finished": 7, "pending": 1})}


def test_origins_count_the_instances_trials_by_device(store: Store) -> None:
    number = store.register(instance(*(wanted(seed=seed) for seed in range(5))))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    good = Final(0.1, 0.9, 0.1, 0.9, 0.1, 0.9)
    for slot in range(5):
        device = replace(STARTED, device="gpu" if slot % 2 else "cpu")
        store.store(job, ONE, [Outcome(slot, "finished", (), good)], device, 1.0)
    other = store.register(instance(wanted(seed=1), wanted(seed=2), wanted(seed=9), name="other"))
    results = Results(store.database)
    assert [(one.trials, one.device) for one in origins(results, number)] == [(3, "cpu"), (2, "gpu")]
    assert sorted((one.trials, one.device) for one in origins(results, other)) == [(1, "cpu"), (1, "gpu")]
    assert str(origins(results, number)[0]).startswith("3 trials on cpu; bnexp ")


def test_repeating_columns_are_judged_as_plain_ones(ended: Results) -> None:
    trials = ended.trials(1)
    plain = {name: trials[name] for name in trials}
    claims = {"best": BETTER, "spread": BETTER.model_copy(update={"experiment": "e"})}
    claims |= {"one": BETTER.model_copy(update={"where": {"lr_multiplier": 1}})}
    one, other = (judge(claims, Data("e", table, ended.curves, 1.0, no_probes)) for table in (trials, plain))
    assert repr(one) == repr(other) and any(finding.effect for finding in one)
    apart = [[number.unpaired() for finding in found for number in finding.numbers] for found in (one, other)]
    assert repr(apart[0]) == repr(apart[1])


def test_the_same_trials_curves_are_read_once(ended: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(ended, "curves", lambda keys: asked.append(keys) or {})

    def judge_twice(_: Any, data: Data) -> list[Any]:
        return [] if data.curves(("a",)) == data.curves(("a",)) else [None]

    monkeypatch.setattr(report_module, "judge", judge_twice)
    make_report(ended, ended.latest("e"), {})
    assert asked == [("a",)]


# Columns

TABLE = Repeating(
    {"norm": np.array(["none", "batch", "none", "unused"], dtype=object), "eps": np.array([np.nan, 1.0, np.nan, 7.0])},
    np.array([0, 1, 2, 1, 0]),
    {"seed": np.array([3, 3, 4, 4, 5])},
)
PLAIN = {name: TABLE[name] for name in TABLE}


@pytest.mark.parametrize("table", [TABLE, PLAIN], ids=["repeating", "plain"])
def test_repeating_and_plain_tables_are_the_same(table: Any) -> None:
    assert levels(table, "norm").tolist() == ["batch", "none"] and levels(table, "seed").tolist() == [3, 4, 5]
    assert counts(table, "norm") == {"none": 3, "batch": 2}
    assert [(str(level), count) for level, count in counts(table, "eps").items()] in (
        [("nan", 3), ("1.0", 2)],
        [("1.0", 2), ("nan", 3)],
    )
    found, place = combinations(table, ["norm", "eps"])
    assert [str(row) for row in found] == ["('batch', 1.0)", "('none', nan)"] and place.tolist() == [1, 0, 1, 0, 1]
    kept = take(table, np.array([True, False, True, True, False]))
    assert kept["norm"].tolist() == ["none", "none", "batch"] and kept["seed"].tolist() == [3, 4, 4]
    few = {"norm": np.array(["none", "tanh"], dtype=object), "eps": np.array([np.nan, 1.0]), "seed": np.array([3, 3])}
    one, other = in_both(table, few, ["norm", "eps"])
    assert one.tolist() == [True, False, True, False, True] and other.tolist() == [True, False]
    assert in_both(table, few, ["norm", "seed"])[0].tolist() == [True, False, False, False, False]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), min_size=1, max_size=100))
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_means_are_numpys_to_the_last_bit(pairs: list[tuple[int, float]]) -> None:
    place, values = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    for index, mean in enumerate(means(values, place, 4)):
        own = values[place == index]
        assert mean == np.mean(own) if len(own) else math.isnan(mean)


# Statistics of many seeds


@pytest.mark.parametrize("count", [1, 5, 16, 17, 64])
def test_subset_means_are_those_of_plain_sums(count: int) -> None:
    values = np.random.default_rng(count).integers(-360, 360, count) / 3.6
    values[0] = 1e6 / 3
    if count <= statistics.EXACT_UP_TO:
        subsets = (np.arange(1, 2**count)[:, None] >> np.arange(count)) % 2 == 1
    else:
        random = np.random.Generator(np.random.Philox(key=count))
        subsets = random.random((statistics.SAMPLED_SUBSETS, count)) < 0.5
        subsets = subsets[subsets.any(axis=1)]
    plain = np.sort(np.where(subsets, values.astype(np.longdouble), 0).sum(axis=1) / subsets.sum(axis=1))
    found = statistics.sign_flip(values).subset_means
    assert len(found) == len(plain)
    np.testing.assert_allclose(found, plain.astype(np.float64), rtol=1e-15, atol=1e-12)


def test_many_seeds_need_fewer_subsets_and_say_the_same() -> None:
    values = np.random.default_rng(1).normal(0.1, 1, 2000)
    test = statistics.sign_flip(values)
    assert test.parts == statistics.FEWEST_SUBSETS + 1
    interval, half = test.interval(), 1.96 * values.std() / math.sqrt(len(values))
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 10)


# Cells, and what does not grow


def test_a_cell_is_what_trials_of_other_seeds_share() -> None:
    base = TrialConfig(seed=1)
    assert cell_key(base, "data") == cell_key(TrialConfig(seed=2), "data") < 2**63
    others = [cell_key(TrialConfig.model_validate(fields), "data") for fields in ({"eval_every": 7}, {"dropout": 0.4})]
    others += [cell_key(base, "other data")]
    assert len({cell_key(base, "data"), *others}) == 4


def test_the_first_cohort_that_is_free_is_taken_of_ones_own_experiments(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.register(instance(*(wanted(norm=norm, seed=1) for norm in ("none", "batch")), name="first"))
    second = store.register(instance(wanted(nonlinearity="relu"), wanted(nonlinearity="tanh"), name="second"))
    store.plan(first, group)
    store.plan(second, group)
    taken = [store.take([second], ONE) for _ in range(2)]
    assert [job and job.cohort_id for job in taken] == [3, 4] and store.take([second], ONE) is None
    assert [lease.worker for lease in store.held([second])] == [ONE.name] * 2 and store.held([first]) == []
    stale = store.take([first], ONE)
    assert stale is not None and stale.cohort_id == 1
    expire(store, first)
    expire(store, second)
    again = [store.take([first, second], TWO) for _ in range(4)]
    assert [job and job.cohort_id for job in again] == [1, 2, 3, 4]


def test_taking_a_cohort_does_not_grow_with_the_experiment(store: Store) -> None:
    """Counted in steps of SQLite's machine: a take among a hundred cohorts costs what one among ten does."""
    steps = [0]

    def counting(connection: Any, _: Any) -> None:
        def count() -> None:
            steps[0] += 1

        connection.set_progress_handler(count, 1)

    event.listen(store.engine, "connect", counting)
    store.engine.dispose()
    took = []
    for name, seeds in {"few": 10 * 24, "many": 100 * 24}.items():
        trials = [wanted(seed=seed, steps=seeds) for seed in range(seeds)]
        number = store.register(instance(*trials, name=name))
        store.plan(number, group)
        store.take([number], ONE)
        steps[0] = 0
        assert store.take([number], ONE)
        took.append(steps[0])
    assert took[1] < 2 * took[0], took


def test_a_new_plan_numbers_its_cohorts_in_order(store: Store) -> None:
    trials = [wanted(seed=seed, norm=norm) for norm in ("none", "batch") for seed in range(30)]
    number = store.register(instance(*trials))
    store.plan(number, partial(group, limit=24))
    with store.engine.connect() as connection:
        found = connection.execute(
            text(
                "select c.id, c.size, count(*) from cohorts c join trials t on t.cohort_id = c.id group by 1 order by 1"
            )
        ).all()
    assert [tuple(row) for row in found] == [(1, 24, 24), (2, 6, 6), (3, 24, 24), (4, 6, 6)]


def test_combinations_of_a_column_with_itself() -> None:
    """As a claim may ask for: `over: [dropout, dropout]`."""
    found, place = combinations({"dropout": np.array([0.5, 0.0, 0.5])}, ["dropout", "dropout"])
    assert found == [(0.0, 0.0), (0.5, 0.5)] and place.tolist() == [1, 0, 1]
