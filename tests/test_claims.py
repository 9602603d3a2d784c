"""Claims: estimators on tables with known answers, verdicts, and what is said of a wrong claim."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp import registry
from bnexp.claims.estimators import Arm, Estimate, NotEstimableError, choose
from bnexp.claims.model import Claim, Estimator, parse_claims
from bnexp.claims.verdicts import Data, Finding, judge
from bnexp.config import TrialConfig, columns, trial_key
from bnexp.errors import ConfigurationError
from bnexp.experiments import load
from bnexp.records import Columns
from tests.test_experiments import ANYTHING, marked, mostly

SHIPPED = load(Path(__file__).parents[1] / "experiments.yaml")
CHANCE = 0.1
STEPS = [1, 2, 3, 5, 8, 13, 21, 34, *range(50, 1001, 50)]

Row = dict[str, Any]
Curves = Callable[[Sequence[str]], Columns]


def row(config: TrialConfig, test: float | None, validation: float | None = None, **changes: Any) -> Row:
    """A trial as `experiment_results` shows it; diverged where there is no test accuracy."""
    diverged = test is None
    outcome = {
        "trial_key": trial_key(config, ""),
        "status": "diverged" if diverged else "finished",
        "classes": 10,
        "scored_accuracy": CHANCE if diverged else test,
        "validation_accuracy": math.nan if diverged else test if validation is None else validation,
        "trained": not diverged,
    }
    return columns(config) | outcome | changes


def table(rows: Iterable[Row]) -> Columns:
    """Rows as the database's reader gives them: numbers with NaN for what is missing, else objects."""
    listed = list(rows)
    result = {}
    for name in dict.fromkeys(name for row in listed for name in row):
        values = [row.get(name, math.nan) for row in listed]
        words = any(isinstance(value, str) for value in values)
        result[name] = np.array(values, dtype=object if words else None)
    return result


def seeds(tests: Sequence[float | None], validations: Sequence[float] | None = None, **fields: Any) -> list[Row]:
    """A cell of the grid: one trial a seed, with these accuracies."""
    first = fields.pop("first", 0)
    return [
        row(
            TrialConfig.model_validate(fields | {"seed": first + seed}),
            test,
            validations[seed] if validations else None,
        )
        for seed, test in enumerate(tests)
    ]


def no_curves(keys: Sequence[str]) -> Columns:
    """As read from the database where trials have no points."""
    return {name: np.array([], dtype=object) for name in ("trial_key", "step", "validation_accuracy")}


def arm(*cells: list[Row], curves: Curves = no_curves) -> Arm:
    return Arm("an arm", table(itertools.chain(*cells)), curves)


def curves_of(points: Mapping[str, Sequence[float]], steps: Sequence[int] = STEPS) -> Curves:
    """Validation curves by trial key; a shorter one ends early, as a diverged trial's does."""

    def curves(keys: Sequence[str]) -> Columns:
        rows = [(key, *point) for key in sorted(keys) for point in zip(steps, points[key], strict=False)]
        return dict(
            zip(["trial_key", "step", "validation_accuracy"], map(np.array, zip(*rows, strict=True)), strict=True)
        )

    return curves


def racers(*accuracies: Sequence[float], norm: str = "none", **fields: Any) -> Arm:
    """An arm with one trial and validation curve a seed; a curve that ends early has diverged."""
    tests = [curve[-1] if len(curve) == len(STEPS) else None for curve in accuracies]
    cell = seeds(tests, norm=norm, **fields)
    return arm(cell, curves=curves_of({row["trial_key"]: curve for row, curve in zip(cell, accuracies, strict=True)}))


def reaching(step: float, level: float = 0.9) -> list[float]:
    """A curve that is at `level` from `step` on, and low before."""
    return [level if at >= step else 0.3 for at in STEPS]


def measure(name: str, treatment: Arm, control: Arm, margin: float = 1.0, **how: Any) -> Estimate:
    estimate: Estimate = registry.load(registry.ESTIMATORS[name])(
        treatment, control, Estimator.model_validate({"name": name, **how}), margin
    )
    return estimate


# Estimators


def test_difference_is_treatment_minus_control_by_seed_in_points() -> None:
    estimate = measure("difference", arm(seeds([0.9, 0.8, 0.6])), arm(seeds([0.5, 0.85, 0.6])[::-1]))
    assert estimate.effect == pytest.approx([40, -5, 0])
    assert list(estimate.treatment) == pytest.approx([90, 80, 60])
    assert list(estimate.control) == pytest.approx([50, 85, 60])
    assert estimate.unit == "points" and not estimate.undecidable


def test_difference_averages_an_arms_cells_and_keeps_the_seeds_that_both_have() -> None:
    treatment = arm(seeds([0.9, 0.7, 0.5], dropout=0), seeds([0.5, 0.5, 0.5], dropout=0.4))
    control = arm(seeds([0.2, 0.3, 0.9], first=1))
    assert measure("difference", treatment, control).effect == pytest.approx([60 - 20, 50 - 30])


def test_difference_counts_a_diverged_trial_as_chance() -> None:
    assert measure("difference", arm(seeds([0.9, 0.9])), arm(seeds([None, 0.8]))).effect == pytest.approx([80, 10])


def test_difference_of_trained_is_a_share_of_seeds() -> None:
    control = [row | {"trained": trained} for row, trained in zip(seeds([0.9, 0.9, None]), [1, 0, 0], strict=True)]
    estimate = measure(
        "difference", arm(seeds([0.9] * 3), seeds([0.9, None, 0.9], dropout=0.4)), arm(control), of="trained"
    )
    assert list(estimate.effect) == [0, 50, 100] and estimate.unit == "rate"


def test_arms_without_a_common_seed_are_not_estimable() -> None:
    with pytest.raises(NotEstimableError, match="share a seed"):
        measure("difference", arm(seeds([0.9])), arm(seeds([0.9], first=1)))


def rates(*accuracies: tuple[Sequence[float | None], Sequence[float] | None], **fields: Any) -> Arm:
    """An arm over rates 1, 2, 4, ...: tests and validations of each."""
    return arm(*(seeds(*pair, lr_multiplier=2.0**index, **fields) for index, pair in enumerate(accuracies)))


LOW = ([0.3, 0.3], [0.3, 0.3])
FLAT = rates(LOW, ([0.5, 0.5], None), LOW)


def test_best_difference_lets_validation_choose_and_test_measure() -> None:
    treatment = rates(LOW, ([0.6, 0.7], [0.95, 0.93]), ([0.99, 0.99], [0.9, 0.9]), LOW)
    estimate = measure("best_difference", treatment, FLAT, over=["lr_multiplier"])
    assert estimate.effect == pytest.approx([10, 20]) and not estimate.undecidable
    assert "multiplier 2" in " ".join(estimate.notes)


def test_best_difference_lets_each_arm_choose_among_all_factors_together() -> None:
    def choosing(rate: float, dropout: float) -> Arm:
        """Test accuracies tell the cells apart, validation prefers this one."""
        cells = itertools.product([1.0, 2.0, 4.0], [0.0, 0.4])
        fields = [({"lr_multiplier": m, "dropout": p}, p + m / 10, float((m, p) == (rate, dropout))) for m, p in cells]
        return arm(*(seeds([test] * 2, [validation] * 2, **cell) for cell, test, validation in fields))

    estimate = measure("best_difference", choosing(2.0, 0.4), choosing(2.0, 0.0), over=["lr_multiplier", "dropout"])
    assert estimate.effect == pytest.approx([40, 40]) and not estimate.undecidable


def test_best_difference_takes_the_smaller_of_equal_rates() -> None:
    treatment = rates(LOW, ([0.6, 0.6], [0.9, 0.8]), ([0.7, 0.7], [0.8, 0.9]), LOW)
    assert measure("best_difference", treatment, FLAT, over=["lr_multiplier"]).effect == pytest.approx([10, 10])


def test_best_difference_counts_divergence_as_chance_in_choosing_and_measuring() -> None:
    treatment = rates(LOW, ([0.6, 0.6], None), ([0.99, None], None), LOW)
    assert measure("best_difference", treatment, FLAT, over=["lr_multiplier"]).effect == pytest.approx([10, 10])
    treatment = rates(LOW, ([0.4, 0.4], None), ([0.99, None], None), LOW)
    assert measure("best_difference", treatment, FLAT, over=["lr_multiplier"]).effect == pytest.approx([49, -40])


def test_best_difference_is_left_open_where_the_best_rate_is_at_the_edge() -> None:
    top, bottom = rates(LOW, LOW, ([0.9, 0.9], None)), rates(([0.9, 0.9], None), LOW, LOW)

    def open_(treatment: Arm, control: Arm) -> str:
        arms = replace(treatment, name="with it"), replace(control, name="without")
        return measure("best_difference", *arms, over=["lr_multiplier"]).undecidable

    for edge in (top, bottom):
        assert "edge" in open_(edge, FLAT) and "with it" in open_(edge, FLAT) and "without" not in open_(edge, FLAT)
        assert "edge" in open_(FLAT, edge) and "without" in open_(FLAT, edge) and "with it" not in open_(FLAT, edge)
    assert "with it" in open_(top, bottom) and "without" in open_(top, bottom)
    assert not open_(FLAT, FLAT)


def test_best_difference_has_no_edge_where_no_rate_was_chosen() -> None:
    doses = arm(*(seeds([0.9 - p] * 2, dropout=p) for p in (0.0, 0.2, 0.4)))
    assert not measure("best_difference", doses, doses, over=["dropout"]).undecidable
    assert not measure("best_difference", doses, doses, over=["dropout", "lr_multiplier"]).undecidable
    assert not measure("best_difference", rates(LOW, LOW), rates(LOW, LOW), over=["dropout"]).undecidable


def test_an_arm_need_not_have_the_factor_that_the_other_chooses() -> None:
    momenta = [seeds([0.5 + m] * 2, norm={"name": "batch", "momentum": m}) for m in (0.1, 0.2)]
    trials = table(itertools.chain(seeds([0.5] * 2), *momenta))
    batch, none = (Arm(norm, choose(trials, {"norm": norm}), no_curves) for norm in ("batch", "none"))
    assert measure("best_difference", batch, none, over=["norm_momentum"]).effect == pytest.approx([20, 20])


def test_the_optimizers_own_rate_has_edges_too() -> None:
    rising = arm(*(seeds([0.9 + lr] * 2, optimizer={"lr": lr}) for lr in (0.01, 0.02, 0.04)))
    assert "edge" in measure("best_difference", rising, rising, over=["lr"]).undecidable


def scales(*tests: list[float | None]) -> Arm:
    """An arm over init scales 1, 10, ..."""
    return arm(*(seeds(values, init_scale=10.0**index) for index, values in enumerate(tests)))


def test_spread_difference_is_the_highest_minus_the_lowest_cell_of_each_seed() -> None:
    treatment, control = scales([0.8, 0.9], [0.9, 0.7], [0.85, 0.9]), scales([0.2, 0.9], [0.9, 0.9], [None, 0.9])
    estimate = measure("spread_difference", treatment, control, over=["init_scale"])
    assert estimate.effect == pytest.approx([10 - 80, 20 - 0]) and estimate.unit == "points"
    assert measure("spread_difference", control, treatment, over=["init_scale"]).effect == pytest.approx([70, -20])


def test_spread_difference_averages_over_other_factors() -> None:
    cells = {(0.1, 0.0): 0.2, (1.0, 0.0): 0.4, (0.1, 0.4): 0.6, (1.0, 0.4): 0.4}
    even = arm(*(seeds([test], init_scale=scale, dropout=p) for (scale, p), test in cells.items()))
    assert measure("spread_difference", even, FLAT, over=["init_scale"]).effect == pytest.approx([0])


def test_steps_ratio_is_log2_of_the_controls_steps_over_the_treatments() -> None:
    treatment, control = racers(reaching(100), reaching(600)), racers(reaching(400), reaching(300))
    estimate = measure("steps_ratio", treatment, control)
    assert list(estimate.treatment) == [100, 600] and list(estimate.control) == [400, 300]
    assert estimate.effect == pytest.approx([2, -1]) and estimate.unit == "log2" and not estimate.undecidable
    assert "89.5%" in " ".join(estimate.notes)


def test_the_target_must_hold_for_two_points_running() -> None:
    spike, late, pair = reaching(500), reaching(2000), reaching(2000)
    spike[STEPS.index(100)] = late[-1] = pair[STEPS.index(100)] = pair[STEPS.index(150)] = 0.95
    control = racers(*[reaching(250)] * 3)
    assert list(measure("steps_ratio", racers(spike, late, pair), control).treatment) == [500, math.inf, 100]


def test_the_target_is_the_plateau_of_the_controls_mean_curve_minus_half_a_margin() -> None:
    """Plateau: the median of the last five points, of 0.9 and 0.8 in the mean. Reached where the accuracy equals it."""
    wild = [0.9] * (len(STEPS) - 2) + [0.0, 1.0]
    control = racers(wild, [0.8] * len(STEPS))
    for margin, level, reached in [(1, 0.8451, 100), (1, 0.8449, math.inf), (10, 0.8001, 100), (10, 0.7999, math.inf)]:
        treatment = racers(*[reaching(100, level)] * 2)
        assert list(measure("steps_ratio", treatment, control, margin).treatment) == [reached] * 2


def test_a_treatment_that_never_reaches_the_target_is_infinitely_slow() -> None:
    estimate = measure("steps_ratio", racers(reaching(2000), reaching(100)), racers(reaching(200), reaching(200)))
    assert estimate.effect == pytest.approx([-math.inf, 1])


def test_a_control_that_never_reaches_the_target_counts_with_all_its_steps() -> None:
    control = racers(reaching(500), reaching(500), reaching(500), reaching(2000, 0.3))
    estimate = measure("steps_ratio", racers(*[reaching(250, 0.95)] * 4), control, margin=1)
    assert list(estimate.control) == [500, 500, 500, 1000]
    assert estimate.effect == pytest.approx([1, 1, 1, 2])


def test_a_control_that_is_still_rising_leaves_the_claim_open() -> None:
    slope = [0.3 + 0.6 * at / 1000 for at in STEPS]
    assert "rising" in measure("steps_ratio", racers(reaching(100)), racers(slope)).undecidable
    assert not measure("steps_ratio", racers(slope), racers(reaching(100))).undecidable
    falling = [0.9 - 0.5 * at / 1000 for at in STEPS]
    assert not measure("steps_ratio", racers(reaching(100)), racers(falling)).undecidable


def test_a_diverged_curve_counts_as_chance_from_where_it_ends() -> None:
    ended = [0.5] * 9
    control = racers(*[reaching(100)] * 3, ended)
    estimate = measure("steps_ratio", racers(*[reaching(200, 0.75)] * 4), control, margin=10)
    target = (3 * 90 + 100 * CHANCE) / 4 - 5
    assert f"{target:.1f}%" in " ".join(estimate.notes) and list(estimate.treatment) == [200] * 4
    assert (
        list(measure("steps_ratio", racers(ended, [0.5] * 9), racers(reaching(100), reaching(100))).treatment)
        == [math.inf] * 2
    )


def test_a_treatment_that_diverged_before_its_first_point_is_infinitely_slow() -> None:
    treatment = arm(seeds([None, None], norm="batch"))
    assert list(measure("steps_ratio", treatment, racers(reaching(100), reaching(100))).effect) == [-math.inf] * 2


def test_steps_ratio_needs_one_trial_a_seed_and_points_for_a_plateau() -> None:
    one = racers(reaching(100))
    for treatment, control in [(one, arm(seeds([0.9]), seeds([0.9], dropout=0.4))), (arm(seeds([0.9, 0.8]) * 2), one)]:
        with pytest.raises(NotEstimableError, match="one trial a seed"):
            measure("steps_ratio", treatment, control)
    short = seeds([0.9])
    with pytest.raises(NotEstimableError, match="too few points"):
        measure("steps_ratio", one, arm(short, curves=curves_of({short[0]["trial_key"]: [0.9] * 9})))
    with pytest.raises(NotEstimableError, match="too few points"):
        measure("steps_ratio", one, arm(seeds([None])))


# Verdicts on one claim

CLAIM: dict[str, Any] = {
    "question": "Is it better?",
    "section": "0",
    "quote": "it is better",
    "experiment": "e",
    "arms": {"treatment": {"norm": "batch"}, "control": {"norm": "none"}},
    "estimator": {"name": "difference"},
    "supported_if": {"low": {"at_least": 0}},
    "refuted_if": {"high": {"at_most": 0}},
    "supported": "It is better.",
    "refuted": "It is not better.",
}
GAINS = [2.0, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5]


def claim(**changes: Any) -> Claim:
    return Claim.model_validate(CLAIM | changes)


def pair(gains: Sequence[float], **fields: Any) -> list[Row]:
    """Trials with and without BN, BN better by these percentage points, a seed each."""
    return seeds([0.5 + gain / 100 for gain in gains], norm="batch", **fields) + seeds(
        [0.5] * len(gains), norm="none", **fields
    )


def data(*cells: list[Row], margin: float = 1.0, curves: Curves = no_curves) -> Data:
    return Data("e", table(itertools.chain(*cells)), curves, margin)


def verdict(gains: Sequence[float], margin: float = 1.0, **changes: Any) -> Finding:
    [finding] = judge({"c": claim(**changes)}, data(pair(gains), margin=margin))
    return finding


def test_an_effect_on_one_side_of_the_limit_is_supported_or_refuted() -> None:
    better, worse = verdict(GAINS), verdict([-gain for gain in GAINS])
    assert (better.answer, better.sentence) == ("supported", "It is better.")
    assert (worse.answer, worse.sentence) == ("refuted", "It is not better.")
    for finding in (better, worse):
        assert finding.effect is not None and finding.unit == "points"
        assert (finding.n, finding.p, finding.p_adjusted) == (10, 2 / 1024, 2 / 1024)
    assert better.effect and worse.effect and better.effect.point == pytest.approx(4.25)
    assert (worse.effect.low, worse.effect.high) == pytest.approx((-better.effect.high, -better.effect.low))


def test_an_effect_on_both_sides_of_the_limit_is_inconclusive() -> None:
    finding = verdict([1, -1, 2, -2, 3, -3, 1, -1, 2, -2])
    assert finding.answer == "inconclusive" and finding.p == 1
    assert verdict([0.0] * 10).answer == "inconclusive"
    assert verdict([gain - 4.25 for gain in GAINS], refuted_if=None).answer == "inconclusive"


def test_what_has_no_refuting_rule_is_never_refuted() -> None:
    assert verdict([-gain for gain in GAINS], refuted_if=None).answer == "inconclusive"
    assert verdict(GAINS, refuted_if=None).answer == "supported"


def test_p_is_against_the_limit_not_against_zero() -> None:
    answers: dict[float, str] = {1.9: "supported", 2.1: "supported", 4: "inconclusive", 6.6: "refuted"}
    for limit, answer in answers.items():
        finding = verdict(GAINS, supported_if={"low": {"at_least": limit}}, refuted_if={"high": {"at_most": limit}})
        assert finding.answer == answer, limit
    wide: dict[str, Any] = {"supported_if": {"low": {"at_least": 10}}, "refuted_if": {"high": {"at_most": 1}}}
    between, under = verdict(GAINS, **wide), verdict([gain - 7 for gain in GAINS], **wide)
    assert (between.answer, between.p) == ("inconclusive", 1) and (under.answer, under.p) == ("refuted", 2 / 1024)


def test_the_ends_of_the_interval_may_touch_the_limit() -> None:
    """Bounds are inclusive: such an interval is on its side, though p, which counts ties, does not follow."""
    gains = [-3.0, -1, 1, 2, 2.5, 3, 4, 5, 5.5, 7]
    effect = verdict(gains).effect
    assert effect is not None

    def sentences(low: float, high: float) -> tuple[str, str]:
        return (
            verdict(gains, supported_if={"low": {"at_least": low}}, refuted_if={"high": {"at_most": -50}}).sentence,
            verdict(gains, supported_if={"low": {"at_least": 50}}, refuted_if={"high": {"at_most": high}}).sentence,
        )

    assert all("ends at the limit" in sentence for sentence in sentences(effect.low, effect.high))
    assert not any("ends at the limit" in sentence for sentence in sentences(effect.low + 1e-6, effect.high - 1e-6))


def test_a_margin_limit_is_the_instances() -> None:
    equal: dict[str, Any] = {
        "supported_if": {"high": {"at_most": "margin"}},
        "refuted_if": {"low": {"at_least": "margin"}},
    }
    for margin, answer in {7.0: "supported", 4.0: "inconclusive", 1.0: "refuted"}.items():
        assert verdict(GAINS, margin, **equal).answer == answer
    minus: dict[str, Any] = {"supported_if": {"low": {"at_least": "-margin"}}, "refuted_if": None}
    for margin, answer in {7.0: "supported", 1.0: "inconclusive"}.items():
        assert verdict([-gain for gain in GAINS], margin, **minus).answer == answer


@pytest.mark.parametrize(
    ("treatment", "control", "answer"),
    [(100, 100, "inconclusive"), (100, 200, "inconclusive"), (100, 250, "supported"), (250, 50, "refuted")],
)
def test_a_ratios_limit_is_a_ratio(treatment: int, control: int, answer: str) -> None:
    arms = racers(*[reaching(treatment)] * 10, norm="batch"), racers(*[reaching(control)] * 10)
    trials = {name: np.concatenate([arm.trials[name] for arm in arms]) for name in arms[1].trials}

    def curves(keys: Sequence[str]) -> Columns:
        [arm] = [arm for arm in arms if keys[0] in arm.trials["trial_key"]]
        return arm.curves(keys)

    limits = {"supported_if": {"low": {"at_least": 2}}, "refuted_if": {"high": {"at_most": 0.5}}}
    [finding] = judge({"c": claim(estimator={"name": "steps_ratio"}, **limits)}, Data("e", trials, curves, 1.0))
    assert finding.answer == answer and finding.unit == "log2"
    assert finding.effect and finding.effect.point == pytest.approx(math.log2(control / treatment))


def test_five_seeds_decide_nothing_and_six_do() -> None:
    five = verdict(GAINS[:5])
    assert five.answer == "inconclusive" and "6 can decide" in five.sentence
    assert verdict(GAINS[:6]).answer == "supported"


def test_divergence_is_evidence() -> None:
    [finding] = judge({"c": claim()}, data(seeds([0.9] * 10, norm="batch"), seeds([None] * 10, norm="none")))
    assert finding.answer == "supported" and finding.effect and finding.effect.point == pytest.approx(80)


@pytest.mark.parametrize("status", ["pending", "running", "failed"])
@pytest.mark.parametrize("place", [0, -1])
def test_an_unfinished_trial_leaves_its_claim_untested(status: str, place: int) -> None:
    rows = pair(GAINS)
    rows[place] |= {"status": status, "scored_accuracy": math.nan, "validation_accuracy": math.nan, "trained": math.nan}
    [finding] = judge({"c": claim(table={"by": ["norm"]})}, data(rows))
    assert finding.answer == "not tested" and "9 of 10" in finding.sentence
    assert finding.effect is None and finding.p is None and finding.p_adjusted is None
    elsewhere = [row | {"dropout": 0.4} for row in rows]
    [finding] = judge({"c": claim(where={"dropout": 0})}, data(pair(GAINS), elsewhere))
    assert finding.answer == "supported"


def test_without_trials_or_in_another_experiment_nothing_is_tested() -> None:
    nothing = {name: np.array([], dtype=object) for name in data(pair(GAINS)).trials}
    for trials in (nothing, table(seeds([0.9] * 10, norm="batch")), table(seeds([0.9] * 10, norm="none"))):
        [finding] = judge({"c": claim(table={"by": ["dropout"]})}, Data("e", trials, no_curves, 1.0))
        assert finding.answer == "not tested" and "no trials" in finding.sentence
    [finding] = judge({"c": claim()}, Data("other", data(pair(GAINS)).trials, no_curves, 1.0))
    assert finding.answer == "not tested" and "bnexp run e" in finding.sentence
    needy = Claim(question="?", section="0", quote="", needs="It takes ImageNet.")
    [finding] = judge({"c": needy}, data(pair(GAINS)))
    assert (finding.answer, finding.sentence) == ("not tested", "It takes ImageNet.")


def test_where_and_at_select_the_trials() -> None:
    losses = [-gain * 3 for gain in GAINS]
    found = data(pair(GAINS), pair(losses, dropout=0.4), pair(losses, optimizer={"momentum": 0.0}))
    claims = {
        "all": claim(),
        "at": claim(where={"optimizer.momentum": 0.9}, estimator={"name": "difference", "at": {"dropout": 0}}),
        "where": claim(where={"dropout": 0, "optimizer": {"momentum": 0.9}}),
        "arms": claim(
            arms={"treatment": {"norm": {"name": "batch"}, "dropout": 0.4}, "control": {"norm": "none", "dropout": 0}},
            where={"optimizer.momentum": 0.9},
        ),
    }
    answers = {finding.name: finding.answer for finding in judge(claims, found)}
    assert answers == {"all": "refuted", "at": "supported", "where": "supported", "arms": "refuted"}


def test_a_list_selects_the_trials_that_have_it() -> None:
    found = data(pair(GAINS), pair([-gain for gain in GAINS], model={"hidden": [10]}))
    for hidden, answer in [([100, 100, 100], "supported"), ([10], "refuted"), ([20] * 20, "not tested")]:
        [finding] = judge({"c": claim(where={"model": {"hidden": hidden}})}, found)
        assert finding.answer == answer


def test_a_claim_left_open_is_inconclusive_whatever_its_interval() -> None:
    rows = [row for rate in (1.0, 2.0) for row in pair([gain * rate for gain in GAINS], lr_multiplier=rate)]
    best = claim(estimator={"name": "best_difference", "over": ["lr_multiplier"]})
    [finding] = judge({"c": best}, data(rows))
    assert finding.answer == "inconclusive" and "edge" in finding.sentence
    assert finding.effect and finding.effect.low > 0 and finding.p_adjusted == 2 / 1024


def test_p_is_adjusted_over_the_claims_that_were_tested_and_no_others() -> None:
    """At six seeds p is 2/64: one claim of the family survives it, two do not."""
    found = data(pair(GAINS[:6]))
    rest = {
        "needy": Claim(question="?", section="0", quote="", needs="more"),
        "elsewhere": claim(experiment="f"),
        "empty": claim(where={"dropout": 0.4}),
    }
    alone = judge({**rest, "c": claim()}, found)
    assert [finding.name for finding in alone] == ["needy", "elsewhere", "empty", "c"]
    assert [finding.answer for finding in alone] == ["not tested"] * 3 + ["supported"]
    assert (alone[-1].p, alone[-1].p_adjusted) == (2 / 64, 2 / 64)
    two = judge({"c": claim(), **rest, "d": claim(refuted_if=None)}, found)
    assert {finding.p_adjusted for finding in two if finding.p} == {4 / 64}
    assert [finding.answer for finding in two if finding.p] == ["inconclusive"] * 2
    strong = judge({"c": claim(), "d": claim(where={"dropout": 0})}, data(pair(GAINS)))
    assert [(finding.answer, finding.p_adjusted) for finding in strong] == [("supported", 4 / 1024)] * 2


def test_verdicts_are_wrong_in_at_most_five_of_a_hundred_tables_without_an_effect() -> None:
    random, count, wrong = np.random.default_rng(4), 400, 0
    rows = data(pair([0.0] * 10)).trials
    for _ in range(count):
        trials = rows | {"scored_accuracy": random.binomial(360, 0.9, 20) / 360}
        [finding] = judge({"c": claim()}, Data("e", trials, no_curves, 1.0))
        wrong += finding.answer != "inconclusive"
    assert 0 < wrong / count <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / count)


def test_a_table_has_a_row_for_each_combination_of_levels() -> None:
    unfinished = [row | {"status": "pending"} for row in pair(GAINS, dropout=0.4, nonlinearity="tanh")]
    cells = [pair(GAINS, dropout=0.4), pair([-gain for gain in GAINS]), pair(GAINS, nonlinearity="tanh"), unfinished]
    [finding] = judge({"c": claim(where={}, table={"by": ["nonlinearity", "dropout"]})}, data(*cells))
    levels = [("sigmoid", 0), ("sigmoid", 0.4), ("tanh", 0), ("tanh", 0.4)]
    assert [tuple(row.levels.values()) for row in finding.rows] == levels
    means = [row.effect.point if row.effect else None for row in finding.rows]
    assert means == [pytest.approx(-4.25), pytest.approx(4.25), pytest.approx(4.25), None]
    assert [row.n for row in finding.rows] == [10, 10, 10, 0]
    assert finding.rows[0].control and finding.rows[0].control.mean == pytest.approx(50)
    assert finding.answer == "not tested"


RATE = {"name": "difference", "of": "trained"}


def test_a_tables_rates_have_wilson_intervals() -> None:
    rows = seeds([0.9] * 10, norm="batch") + seeds([0.9] * 3 + [None] * 7, norm="none")
    [finding] = judge({"c": claim(table={"by": ["nonlinearity"], "estimator": RATE})}, data(rows))
    [line] = finding.rows
    assert line.unit == "rate" and line.control and line.control.rate and line.treatment and line.treatment.rate
    assert (line.treatment.mean, line.control.mean, line.n) == (100, 30, 10)
    assert (line.control.rate.low, line.control.rate.high) == pytest.approx((10.78, 60.32), abs=0.01)
    assert finding.unit == "points" and finding.answer == "supported"


def test_a_tables_own_estimator_is_about_its_own_trials() -> None:
    rows = pair(GAINS) + pair([-gain for gain in GAINS], dropout=0.4)
    how = {"name": "difference", "at": {"dropout": 0}}
    [finding] = judge({"c": claim(table={"by": ["nonlinearity"], "estimator": how})}, data(rows))
    [line] = finding.rows
    assert line.effect and line.effect.point == pytest.approx(4.25)


# The claims that ship

CLAIMS = parse_claims(SHIPPED)
TESTED = {name: claim for name, claim in CLAIMS.items() if claim.experiment == "grid"}
GRID = SHIPPED.experiments["grid"].expand()
World = Callable[[TrialConfig], tuple[float | None, int]]
"""A trial's accuracy, none where it diverges, and the step at which it has reached it."""


def noise(config: TrialConfig) -> float:
    """Half a point or less, by seed and arm."""
    return ((7 * config.seed + 3 * (config.norm.name == "batch")) % 11 - 5) / 1000


def helps(config: TrialConfig) -> tuple[float | None, int]:
    """BN makes everything better, at any rate and init scale; Dropout only harms."""
    best = config.lr_multiplier == 5
    if config.norm.name == "batch":
        return 0.9 + 0.03 * best - 0.02 * (config.dropout > 0) + noise(config), 50
    if config.lr_multiplier == 30:
        return None, 0
    base = (0.5 if config.nonlinearity == "sigmoid" else 0.8) + 0.03 * best - 0.2 * (config.init_scale != 1)
    return base - 0.02 * (config.dropout > 0) + noise(config), 300


def harms(config: TrialConfig) -> tuple[float | None, int]:
    """The same of no BN; and with BN Dropout gains five points."""
    norms = {"norm": "none" if config.norm.name == "batch" else "batch"}
    swapped = TrialConfig.model_validate(config.model_dump() | norms)
    test, step = helps(swapped)
    gain = 0.07 if config.norm.name == "batch" and config.dropout else 0
    return None if test is None else test + gain, step


def alike(config: TrialConfig) -> tuple[float | None, int]:
    """Neither arm is better: it is a matter of the seed. Dropout gains one point, the margin, give or take."""
    lucky = (config.seed % 2 == 0) == (config.norm.name == "batch")
    gain = (0.01 + (0.004 if config.seed % 2 else -0.004)) * (config.dropout > 0)
    spread = 0.1 * (config.init_scale != 1) * (1 + lucky)
    best = 0.03 * (config.lr_multiplier == 5)
    return 0.8 + 0.02 * lucky + gain + best - spread, 100 if lucky else 200


def results(world: World) -> Data:
    """The shipped grid's results in a world."""
    ended = {trial.config: world(trial.config) for trial in GRID}
    rows = {config: row(config, test) for config, (test, _) in ended.items()}
    curves = {
        rows[config]["trial_key"]: [] if test is None else reaching(step, test)
        for config, (test, step) in ended.items()
    }
    return Data("grid", table(rows.values()), curves_of(curves), 1.0)


def test_the_worlds_below_are_about_every_shipped_claim_that_can_be_tested() -> None:
    assert len(TESTED) == 6 and len(CLAIMS) == 9
    assert all(claim.needs for name, claim in CLAIMS.items() if name not in TESTED)


@cache
def shipped(world: World) -> dict[str, Finding]:
    """What the shipped claims' findings are in a world."""
    return {finding.name: finding for finding in judge(CLAIMS, results(world))}


@pytest.mark.parametrize("name", TESTED)
def test_a_shipped_claim_is_supported_refuted_and_left_open_by_the_worlds_that_should(name: str) -> None:
    better, worse, open_ = (shipped(world)[name] for world in (helps, harms, alike))
    assert better.answer == "supported", better
    assert worse.answer == ("refuted" if TESTED[name].refuted_if else "inconclusive"), worse
    assert open_.answer == "inconclusive" and "Left open" not in open_.sentence, open_
    for finding in (better, worse, open_):
        assert finding.n == 10 and finding.p is not None and finding.p_adjusted is not None
        assert finding.p <= finding.p_adjusted <= min(1, 6 * finding.p)
        assert finding.rows and all(row.treatment and row.control for row in finding.rows)
    assert better.sentence == TESTED[name].supported != ""


@pytest.mark.parametrize("name", TESTED)
def test_a_shipped_claim_is_not_tested_by_a_grid_that_is_unfinished_or_empty(name: str) -> None:
    complete = results(helps)
    missing = complete.trials | {"status": np.where(complete.trials["seed"] == 9, "running", complete.trials["status"])}
    one = {"c": TESTED[name]}
    for trials in (missing, {key: values[:0] for key, values in complete.trials.items()}):
        [finding] = judge(one, Data("grid", trials, complete.curves, 1.0))
        assert finding.answer == "not tested" and finding.p is None
    [finding] = judge(one, Data("other", complete.trials, complete.curves, 1.0))
    assert finding.answer == "not tested"


def test_shipped_claims_that_need_more_are_not_tested_and_say_so() -> None:
    for name, claim in CLAIMS.items():
        if name not in TESTED:
            finding = shipped(helps)[name]
            assert (finding.answer, finding.sentence) == ("not tested", claim.needs)


# Reading claims

TEXT = """\
experiments:
  grid: {}
claims:
  better:
    question: Is it better?
    section: "1"
    quote: it is
    experiment: grid
    arms: {treatment: {norm: batch}, control: {norm: none}}
    where: {dropout: 0}
    estimator: {name: best_difference, at: {steps: 1000}, over: [lr_multiplier, init_scale]}
    table: {by: [dropout, nonlinearity], estimator: {name: spread_difference, over: [init_scale]}}
    supported_if: {low: {at_least: 0}}
"""


def parse(folder: Path, text: str) -> dict[str, Claim]:
    path = folder / "claims.yaml"
    path.write_text(text)
    return parse_claims(load(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("claims")


def test_a_claim_is_read_as_written(folder: Path) -> None:
    [(name, claim)] = parse(folder, TEXT).items()
    assert name == "better" and claim.estimator and claim.estimator.over == ("lr_multiplier", "init_scale")
    assert claim.supported_if and claim.supported_if.low and claim.supported_if.low.at_least == 0
    assert parse(folder, "experiments: {e: {}}") == {}


RULE = "supported_if: {low: {at_least: 0}}"


@pytest.mark.parametrize(
    ("old", "new", "fragments"),
    [
        (
            "{name: best_difference",
            "{»name: best_diference",
            ["best_diference", "difference, spread", "'best_difference'?"],
        ),
        ("experiment: grid", "»experiment: gird", ["'gird'", "known: grid", "did you mean 'grid'?"]),
        ("{norm: batch}", "{»nrm: batch}", ["'nrm'", "did you mean 'norm'?"]),
        ("{norm: none}", "{norm: {name: batch, »momentun: 0.1}}", ["momentun", "did you mean 'norm.momentum'?"]),
        ("{dropout: 0}", "{»dropuot: 0}", ["'dropuot'", "did you mean 'dropout'?"]),
        ("{steps: 1000}", "{»step: 1000}", ["'step'", "did you mean 'steps'?"]),
        ("over: [lr_multiplier, init_scale]", "over: [lr_multiplier, »init_scal]", ["'init_scal'", "'init_scale'?"]),
        ("by: [dropout", "by: [»dropuot", ["'dropuot'", "did you mean 'dropout'?"]),
        ("over: [init_scale]", "over: [»init_scal]", ["'init_scal'", "did you mean 'init_scale'?"]),
        ("over: [init_scale]", "over: [init_scale], at: {»step: 1}", ["'step'", "did you mean 'steps'?"]),
        ("over: [lr_multiplier, init_scale]", "»over: lr_multiplier", ["'lr_multiplier'"]),
        ("question:", "»qestion: why\n    question:", ["qestion", "did you mean 'question'?"]),
        ('section: "1"', "»section: 1", ["section", "string", "1"]),
        ("  better:\n    question: Is it better?", "  »better:", ["question", "equired"]),
        ("arms: {treatment: {norm: batch}, control: {norm: none}}", "»arms: {treatment: {}}", ["control", "equired"]),
        (RULE, "»supported_if: {low: {at_least: 0}, high: {at_most: 1}}", ["give one of low", "high"]),
        (RULE, "»supported_if: {}", ["give one of low"]),
        (RULE, "supported_if: {low: {»at_least: lots}}", ["'lots'", "number", "margin"]),
        (RULE, "supported_if: {low: {»at_least: .nan}}", ["nan", "finite"]),
        (RULE, "supported_if: {low: {»at_least: true}}", ["True", "number"]),
        (RULE, "supported_if: {»lo: {at_least: 0}}", ["lo"]),
    ],
)
def test_a_wrong_claim_is_refused_with_its_place_and_what_is_allowed(
    folder: Path, old: str, new: str, fragments: list[str]
) -> None:
    text, place = marked(TEXT.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as caught:
        parse(folder, text)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'claims.yaml'}:{place}: ")
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.mark.parametrize(
    ("body", "fragments"),
    [
        ("»c: {question: q, section: s, quote: q}", ["without `experiment`", "`needs`"]),
        ("»c: {question: q, section: s, quote: q, experiment: e}", ["needs arms, estimator, supported_if"]),
        ("»c: 3", ["claim c", "3"]),
        ("»c:", ["claim c", "None"]),
        ("»c: [a]", ["claim c", "['a']"]),
    ],
)
def test_a_claim_that_is_not_whole_is_refused_with_its_place(folder: Path, body: str, fragments: list[str]) -> None:
    text, place = marked(f"experiments: {{e: {{}}}}\nclaims:\n  {body}")
    with pytest.raises(ConfigurationError) as caught:
        parse(folder, text)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'claims.yaml'}:{place}: ")
    assert [fragment for fragment in fragments if fragment not in message] == [], message


TUNED = "{name: best_difference, at: {steps: 1000}, over: [lr_multiplier, init_scale]}"
SPREAD = "{name: spread_difference, over: [init_scale]}"


@pytest.mark.parametrize("place", [TUNED, SPREAD], ids=["claim", "table"])
@pytest.mark.parametrize(
    "estimator",
    ["{name: spread_difference}", "{name: spread_difference, over: [dropout, steps]}", "{name: best_difference}"],
)
def test_an_estimator_without_its_factors_is_refused_when_read(folder: Path, place: str, estimator: str) -> None:
    """Not only when the trials are there and the report is made."""
    with pytest.raises(ConfigurationError, match=r"claims\.yaml:\d+:\d+: "):
        parse(folder, TEXT.replace(place, estimator))


@pytest.mark.parametrize("limit", ["0", "-1", "-margin"])
def test_a_ratios_limit_that_is_no_ratio_is_refused_when_read(folder: Path, limit: str) -> None:
    with pytest.raises(ConfigurationError, match=r"claims\.yaml:\d+:\d+: "):
        parse(folder, TEXT.replace(TUNED, "{name: steps_ratio}").replace("at_least: 0", f"at_least: {limit}"))


VALUES = ANYTHING | st.sampled_from(["grid", "difference", "margin", "batch"])
FIELDS = st.sampled_from(["norm", "dropout", "lr_multiplier", "norm.eps", "model"])
PARTIALS = mostly(st.dictionaries(FIELDS, VALUES | st.just(1), max_size=2))
COLUMNS = mostly(st.lists(mostly(st.sampled_from(["norm", "lr_multiplier", "lr", "hidden", "norm_eps"])), max_size=2))
ESTIMATORS = st.fixed_dictionaries(
    {"name": mostly(st.sampled_from(sorted(registry.ESTIMATORS))), "over": COLUMNS},
    optional={"at": PARTIALS, "of": mostly(st.just("trained"))},
)
RULES = mostly(st.sampled_from([{"low": {"at_least": 0}}, {"low": {"at_least": 2}}, {"high": {"at_most": "-margin"}}]))
BN, NONE = mostly(st.just({"norm": "batch"})), mostly(st.just({"norm": "none"}))
ENTRIES = st.fixed_dictionaries(
    {
        **dict.fromkeys(("question", "section", "quote"), st.text(max_size=3)),
        "experiment": mostly(st.just("grid")),
        "arms": mostly(st.fixed_dictionaries({"treatment": BN, "control": NONE})),
        "estimator": mostly(ESTIMATORS),
        "supported_if": RULES,
    },
    optional={
        "where": PARTIALS,
        "table": mostly(st.fixed_dictionaries({"by": COLUMNS}, optional={"estimator": mostly(ESTIMATORS)})),
        "refuted_if": RULES,
        "needs": VALUES,
    },
)
CELLS = itertools.chain(*(pair(GAINS[:6], lr_multiplier=rate) for rate in (1.0, 5.0)))
SOME = Data("grid", table(CELLS), no_curves, 1.0)


@given(mostly(st.dictionaries(st.text(max_size=2), mostly(ENTRIES), max_size=2)))
@settings(max_examples=200, deadline=2000, derandomize=True, database=None)
def test_any_claims_are_judged_or_refused_with_a_place(folder: Path, claims: Any) -> None:
    try:
        read = parse(folder, yaml.safe_dump({"experiments": {"grid": {}}, "claims": claims}, allow_unicode=True))
    except ConfigurationError as error:
        assert error.place and error.place.startswith(str(folder))
    else:
        assert [finding.name for finding in judge(read, SOME)] == list(read)


# A claim's key

WHOLE: dict[str, Any] = {
    "question": "q",
    "section": "s",
    "quote": "q",
    "paper": "p",
    "experiment": "e",
    "needs": "n",
    "arms": {"treatment": {"norm": "batch", "dropout": 0}, "control": {"norm": "none"}},
    "where": {"dropout": 0, "steps": 10},
    "estimator": {
        "name": "best_difference",
        "of": "trained",
        "at": {"steps": 10, "split": 1},
        "over": ["dropout", "steps"],
    },
    "table": {"by": ["dropout", "steps"], "estimator": {"name": "difference", "at": {"split": 1}}},
    "supported_if": {"low": {"at_least": 1}},
    "refuted_if": {"high": {"at_most": "margin"}},
    "supported": "yes",
    "refuted": "no",
    "caveat": "but",
}
OTHER = {
    "best_difference": "difference",
    "difference": "steps_ratio",
    "trained": "scored_accuracy",
    "margin": "-margin",
}


def variations(value: Any) -> Iterable[Any]:
    """The value with one leaf changed, each leaf in its turn; and with lists turned round."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (value | {key: changed} for changed in variations(inner))
    elif isinstance(value, list):
        yield value[::-1]
        for index in range(len(value)):
            yield value[:index] + value[index + 1 :]
    else:
        yield OTHER.get(value, f"{value}x") if isinstance(value, str) else value + 1


def turned(value: Any) -> Any:
    """With every mapping's keys in the other order."""
    return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


def test_a_claims_key_changes_with_every_part_of_it_and_its_name_only() -> None:
    assert set(WHOLE) == set(Claim.model_fields)
    definitions = [WHOLE, *variations(WHOLE)]
    definitions += [
        {key: value for key, value in WHOLE.items() if key != part} for part in ("where", "table", "refuted_if")
    ]
    keys = [Claim.model_validate(definition).key("name") for definition in definitions]
    keys.append(Claim.model_validate(WHOLE).key("other"))
    assert len(set(keys)) == len(keys) > 30
    assert Claim.model_validate(turned(WHOLE)).key("name") == keys[0]
    assert Claim.model_validate(CLAIM).key("c") == Claim.model_validate(CLAIM | {"caveat": "", "where": {}}).key("c")
    assert len(keys[0]) == 64


def test_arms_are_compared_where_they_match_only() -> None:
    """A point that one arm alone has (an `include`, say) is left out and said, not averaged in."""
    both = [seeds([level] * 8, norm=norm) for norm, level in (("none", 0.5), ("batch", 0.6))]
    extra = seeds([1.0] * 8, norm="batch", nonlinearity="tanh")
    [finding] = judge({"c": claim(refuted_if=None)}, data(*both, extra))
    assert finding.effect is not None and finding.effect.point == pytest.approx(10)
    assert finding.notes == ["8 trials without a counterpart in the other arm are left out"]


def test_steps_ratio_compares_at_the_steps_that_all_trials_were_evaluated_at() -> None:
    """Trials of an earlier run keep the evaluation steps of that run; a hole is not a failure."""
    coarse = [step for step in STEPS if (step >= 100 and step % 100 == 0) or step < 50]

    def mixed(norm: str, *at: int) -> Arm:
        cell = seeds([0.9] * len(at), norm=norm)
        keys = [row["trial_key"] for row in cell]

        def curves(wanted: Sequence[str]) -> Columns:
            rows = [
                (key, step, 0.9 if step >= reached else 0.3)
                for number, (key, reached) in enumerate(zip(keys, at, strict=True))
                for step in (STEPS if number % 2 else coarse)
            ]
            return dict(
                zip(["trial_key", "step", "validation_accuracy"], map(np.array, zip(*rows, strict=True)), strict=True)
            )

        return arm(cell, curves=curves)

    estimate = measure("steps_ratio", mixed("batch", *[100] * 4), mixed("none", *[200] * 4))
    assert estimate.effect == pytest.approx([1, 1, 1, 1]) and not estimate.undecidable


def test_spread_difference_needs_two_levels() -> None:
    """A column of another component, in which nothing stands, has none."""
    lone = arm(seeds([0.9, 0.8], init_scale=1.0))
    lone.trials["schedule_decay"] = np.array([None, None])
    for factor in ("init_scale", "schedule_decay"):
        with pytest.raises(NotEstimableError, match=f"fewer than two levels of {factor}"):
            measure("spread_difference", lone, lone, over=[factor])


def test_spread_difference_goes_over_levels_that_both_arms_have() -> None:
    """A level that one arm lacks would look like steadiness."""
    spread = claim(estimator={"name": "spread_difference", "over": ["init_scale"]})
    levels = {0.5: 0.9, 1.0: 0.88, 10.0: 0.3}
    cells = [
        seeds([accuracy] * 8, norm=norm, init_scale=scale)
        for norm in ("none", "batch")
        for scale, accuracy in levels.items()
        if (norm, scale) != ("batch", 10.0)
    ]
    [finding] = judge({"c": spread}, data(*cells))
    assert finding.effect is not None and finding.effect.point == pytest.approx(0)
    assert any("without a counterpart" in note for note in finding.notes)
