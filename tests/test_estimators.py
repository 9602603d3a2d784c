"""Estimators of final outcomes, on tables with answers known by hand."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bnexp.claims.arms import Arm, NotEstimableError, choose
from bnexp.claims.data import no_probes
from bnexp.claims.estimators import _Curve
from bnexp.claims.model import Estimator
from bnexp.claims.statistics import pseudo_values
from bnexp.claims.verdicts import judge
from tests.tables import arm, claim, data, measure, no_curves, seeds, table


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
    batch, none = (Arm(norm, choose(trials, {"norm": (norm,)}), no_curves, no_probes) for norm in ("batch", "none"))
    assert measure("best_difference", batch, none, over=["norm_momentum"]).effect == pytest.approx([20, 20])


def test_the_optimizers_own_rate_has_edges_too() -> None:
    rising = arm(*(seeds([0.9 + lr] * 2, optimizer={"lr": lr}) for lr in (0.01, 0.02, 0.04)))
    assert "edge" in measure("best_difference", rising, rising, over=["lr"]).undecidable


def scales(*tests: list[float | None]) -> Arm:
    """An arm over init scales 1, 10, ..."""
    return arm(*(seeds(values, init_scale=10.0**index) for index, values in enumerate(tests)))


def test_spread_difference_is_the_highest_minus_the_lowest_cell_of_each_seed() -> None:
    treatment, control = scales([0.8, 0.9], [0.9, 0.7], [0.85, 0.9]), scales([0.2, 0.9], [0.9, 0.9], [None, 0.9])
    estimate = measure("spread_difference", treatment, control, factor="init_scale")
    assert estimate.effect == pytest.approx([10 - 80, 20 - 0]) and estimate.unit == "points"
    assert measure("spread_difference", control, treatment, factor="init_scale").effect == pytest.approx([70, -20])


def test_spread_difference_averages_over_other_factors() -> None:
    cells = {(0.1, 0.0): 0.2, (1.0, 0.0): 0.4, (0.1, 0.4): 0.6, (1.0, 0.4): 0.4}
    even = arm(*(seeds([test], init_scale=scale, dropout=p) for (scale, p), test in cells.items()))
    assert measure("spread_difference", even, FLAT, factor="init_scale").effect == pytest.approx([0])


def test_spread_difference_needs_two_levels() -> None:
    """A column of another component, in which nothing stands, has none."""
    lone = arm(seeds([0.9, 0.8], init_scale=1.0))
    lone.trials["schedule_decay"] = np.array([None, None])
    for factor in ("init_scale", "schedule_decay"):
        with pytest.raises(NotEstimableError, match=f"fewer than two levels of {factor}"):
            measure("spread_difference", lone, lone, factor=factor)


def test_spread_difference_goes_over_levels_that_both_arms_have() -> None:
    """A level that one arm lacks would look like steadiness."""
    spread = claim(estimator={"name": "spread_difference", "factor": "init_scale"})
    levels = {0.5: 0.9, 1.0: 0.88, 10.0: 0.3}
    cells = [
        seeds([accuracy] * 8, norm=norm, init_scale=scale)
        for norm in ("none", "batch")
        for scale, accuracy in levels.items()
        if (norm, scale) != ("batch", 10.0)
    ]
    [finding] = judge({"c": spread}, data(*cells))
    assert finding.shown is not None and finding.shown.effect.point == pytest.approx(0)
    assert any("without a counterpart" in note for note in finding.notes)


# Interaction


def gains(treatment: Sequence[float], control: Sequence[float]) -> tuple[Arm, Arm]:
    """Two arms in which Dropout gains so many points on each seed."""
    return (
        arm(seeds([0.5] * len(treatment)), seeds([0.5 + g / 100 for g in treatment], dropout=0.4), name="with"),
        arm(seeds([0.7] * len(control)), seeds([0.7 + g / 100 for g in control], dropout=0.4), name="without"),
    )


DROPOUT = {"treatment": {"dropout": 0.4}, "control": {"dropout": 0}}


def test_interaction_is_how_much_more_is_gained_in_the_treatment() -> None:
    estimate = measure("interaction", *gains([3, 1, -2], [1, 4, -2]), gain=DROPOUT)
    assert estimate.effect == pytest.approx([2, -3, 0]) and estimate.unit == "points"
    assert estimate.treatment == pytest.approx([3, 1, -2]) and estimate.control == pytest.approx([1, 4, -2])


def test_interaction_pairs_the_seeds_that_every_side_of_both_gains_has() -> None:
    treatment, control = gains([1, 2, 3], [1, 1, 1])
    lacking = arm(seeds([0.5] * 3), seeds([0.51, 0.53], dropout=0.4, first=1))
    assert measure("interaction", lacking, control, gain=DROPOUT).effect == pytest.approx([0, 2])
    assert measure("interaction", treatment, lacking, gain=DROPOUT).effect == pytest.approx([1, 0])


def test_interaction_lets_each_side_choose_by_validation() -> None:
    gain = {"treatment": {"dropout": [0.1, 0.2]}, "control": {"dropout": 0}}
    treatment = arm(
        seeds([0.5] * 2),
        seeds([0.6] * 2, [0.8] * 2, dropout=0.1),
        seeds([0.9] * 2, [0.7] * 2, dropout=0.2),
    )
    control = arm(seeds([0.5] * 2), seeds([0.5] * 2, dropout=0.1), seeds([0.53] * 2, [0.99] * 2, dropout=0.2))
    estimate = measure("interaction", treatment, control, gain=gain, over=["dropout"])
    assert estimate.effect == pytest.approx([10 - 3] * 2)
    assert sum("at its best" in note for note in estimate.notes) == 4


def test_interaction_names_the_side_that_has_no_trials() -> None:
    treatment, _ = gains([1, 2], [0, 0])
    with pytest.raises(NotEstimableError, match=r"without.*no trials with dropout 0\.4"):
        measure("interaction", treatment, arm(seeds([0.5] * 2), name="without"), gain=DROPOUT)


# Rate


def test_rate_is_the_share_of_seeds_of_which_all_trials_trained() -> None:
    estimate = measure("rate", arm(seeds([0.9, 0.9, None, 0.9]), seeds([0.9, None, 0.9, 0.9], dropout=0.4)), None)
    assert list(estimate.effect) == [1, 0, 0, 1] and estimate.unit == "share"
    test = estimate.test()
    assert test.interval().point == 0.5
    # Binomial(4, 0.6): P(X >= 2) = 1 - 0.4^4 - 4 * 0.6 * 0.4^3, P(X <= 2) = 1 - 0.6^4 - 4 * 0.6^3 * 0.4
    assert test.p_greater(0.6) == pytest.approx(0.8208) and test.p_less(0.6) == pytest.approx(0.5248)


# Largest level that trains


def ladder(*levels_trained: int | str, **fields: Any) -> Arm:
    """An arm over rates 1, 2, 4, 8: on each seed the first so many train, or those that a word of 0 and 1 says."""
    words = [word if isinstance(word, str) else "1" * word + "0" * (4 - word) for word in levels_trained]
    cells = [
        seeds([0.9 if word[index] == "1" else None for word in words], lr_multiplier=2.0**index, **fields)
        for index in range(4)
    ]
    return arm(*cells, name=str(fields.get("norm", "an arm")))


def bounds(treatment: Arm, control: Arm) -> tuple[list[float], list[float]]:
    estimate = measure("largest_trained", treatment, control, factor="lr_multiplier")
    assert estimate.above is not None and estimate.unit == "log2"
    return list(estimate.effect), list(estimate.above)


def test_largest_trained_is_log2_of_the_ratio_of_the_last_levels_that_train() -> None:
    assert bounds(ladder(3, 2, 1), ladder(1, 2, 3)) == ([2, 0, -2], [2, 0, -2])
    estimate = measure("largest_trained", ladder(3, 2), ladder(1, 3), factor="lr_multiplier")
    assert (list(estimate.treatment), list(estimate.control)) == ([4, 2], [1, 4])


def test_a_level_that_trains_beyond_one_that_does_not_is_no_longer_counted() -> None:
    assert bounds(ladder("1011", "1101"), ladder(1, 1)) == ([0, 1], [0, 1])


def test_a_top_level_that_trains_and_a_lowest_that_does_not_are_bounds() -> None:
    inf = math.inf
    assert bounds(ladder(4), ladder(2)) == ([2], [inf])
    assert bounds(ladder(2), ladder(4)) == ([-inf], [-2])
    assert bounds(ladder(0), ladder(2)) == ([-inf], [-1])
    assert bounds(ladder(2), ladder(0)) == ([1], [inf])
    for unknown in ((4, 4), (0, 0)):
        assert bounds(*map(ladder, unknown)) == ([-inf], [inf])
    assert bounds(ladder(4), ladder(0)) == ([3], [inf])


def test_a_bound_speaks_for_one_side_only() -> None:
    """Ten seeds with a treatment that trains at the top: at least 8 times as high, nobody knows how much more."""
    test = measure("largest_trained", ladder(*[4] * 10), ladder(*[1] * 10), factor="lr_multiplier").test()
    assert test.p_greater(2) == 1 / 1024 and test.p_less(20) == 1
    assert (test.interval().low, test.interval().high) == (3, math.inf)


def test_bounds_are_said_by_arm() -> None:
    estimate = measure("largest_trained", ladder(4, 4, 1, norm="batch"), ladder(1, 0, 1), factor="lr_multiplier")
    assert estimate.notes == [
        "batch: the highest level still trains in 2 of 3 seeds",
        "an arm: not even the lowest level trains in 1 of 3 seeds",
    ]


def test_largest_trained_needs_one_trial_a_seed_and_level() -> None:
    twice, gap = ladder(2, 2), ladder(2, 2)
    doubled = {name: np.concatenate([values, values]) for name, values in twice.trials.items()}
    with pytest.raises(NotEstimableError, match="one trial a seed and level"):
        bounds(replace(twice, trials=doubled), gap)
    holed = {name: values[1:] for name, values in gap.trials.items()}
    with pytest.raises(NotEstimableError, match="not every seed has every level"):
        bounds(replace(gap, trials=holed), ladder(2, 2))
    other = {
        name: np.where(values == 1, 7, values) if name == "seed" else values for name, values in gap.trials.items()
    }
    with pytest.raises(NotEstimableError, match="not the same seeds"):
        bounds(replace(gap, trials=other), ladder(2, 2))


# Tolerated range


def curve(*levels_points: Sequence[float], first: float = 0.01, noise: Sequence[float] = (0.0, 0.0)) -> Arm:
    """An arm over init scales from `first` by factors of 10, with these accuracies in points; one seed for each number
    in `noise`, which is added to all."""
    cells = [
        seeds([(points + add) / 100 for add in noise], init_scale=first * 10.0**index)
        for index, points in enumerate(levels_points)
    ]
    return arm(*cells, name="curve")


PEAK = curve(50, 80, 90, 85, 40)  # within 1 point of 90: 1/10 decade to the left, 1/5 to the right
WIDE = curve(50, 89.5, 90, 88, 40)  # 1 + 0.5/39.5 decades to the left, 1/2 to the right


def width(arm: Arm, within: float = 1.0) -> tuple[float, bool]:
    shape = _Curve(arm, Estimator.model_validate({"name": "tolerated_range", "factor": "init_scale", "within": within}))
    return shape.width(shape.seeds)


def test_a_tolerated_range_is_interpolated_on_both_sides_of_the_best() -> None:
    assert width(PEAK) == (pytest.approx(0.1 + 0.2), False)
    assert width(WIDE) == (pytest.approx(1 + 0.5 / 39.5 + 0.5), False)
    assert width(PEAK, within=10) == (pytest.approx(1 + 1 + 5 / 45), False)  # a level at the floor itself is in
    estimate = measure("tolerated_range", WIDE, PEAK, factor="init_scale")
    assert estimate.effect == pytest.approx([1.2 + 0.5 / 39.5] * 2) and estimate.unit == "decades"


def test_a_range_is_about_the_best_and_stops_at_the_first_level_below() -> None:
    assert width(curve(50, 90, 60, 89.9, 40)) == (pytest.approx(1 / 40 + 1 / 30), False)


def test_a_range_that_reaches_an_end_is_a_bound() -> None:
    inf = math.inf
    for open_ in (curve(89.5, 90, 85), curve(85, 90, 89.5), curve(90, 85, 80), curve(90, 90, 90)):
        assert width(open_)[1]
    up = measure("tolerated_range", curve(89.5, 90, 85), curve(70, 90, 70), factor="init_scale")
    assert up.effect == pytest.approx([1.2 - 0.1] * 2) and up.above is not None and list(up.above) == [inf] * 2
    down = measure("tolerated_range", curve(70, 90, 70), curve(89.5, 90, 85), factor="init_scale")
    assert list(down.effect) == [-inf] * 2 and down.above == pytest.approx([0.1 - 1.2] * 2)
    assert [note for note in up.notes + down.notes if "end of the levels" in note] == up.notes + down.notes != []
    inside = measure("tolerated_range", WIDE, PEAK, factor="init_scale")
    assert inside.above is not None and list(inside.above) == list(inside.effect) and inside.notes == []


def test_an_arm_that_never_trains_tolerates_nothing() -> None:
    """Its accuracy is chance at every level, and so within any distance of its best."""
    never = arm(*(seeds([None] * 2, init_scale=0.01 * 10.0**index) for index in range(3)))
    lost = measure("tolerated_range", never, PEAK, factor="init_scale")
    assert lost.effect == pytest.approx([-0.3] * 2) and list(lost.treatment) == [0, 0] and lost.notes == []
    assert lost.above is not None and list(lost.above) == list(lost.effect)
    with pytest.raises(NotEstimableError, match="neither arm trains at any level"):
        measure("tolerated_range", never, never, factor="init_scale")


def test_the_effects_of_a_range_are_the_jackknifes_pseudo_values() -> None:
    """Directly: n times the range of the mean curve, minus n - 1 times that of the mean without the seed."""
    accuracies = np.array([[50, 85, 90, 80, 40], [52, 88, 91, 84, 41], [49, 86, 89, 85, 44], [51, 87, 92, 83, 40]])
    cells = [seeds((accuracies[:, index] / 100).tolist(), init_scale=0.01 * 10.0**index) for index in range(5)]

    def by_hand(mean: npt.NDArray[np.float64]) -> float:
        floor = mean[2] - 1
        return float((mean[2] - floor) / (mean[2] - mean[1]) + (mean[2] - floor) / (mean[2] - mean[3]))

    whole = by_hand(accuracies.mean(axis=0))
    wanted = [4 * whole - 3 * by_hand(np.delete(accuracies, seed, axis=0).mean(axis=0)) for seed in range(4)]
    estimate = measure("tolerated_range", arm(*cells), arm(*cells), factor="init_scale")
    assert estimate.treatment == pytest.approx(wanted) and len(set(np.round(wanted, 6))) == 4
    assert estimate.effect == pytest.approx([0] * 4)


def test_a_tolerated_range_needs_seeds_levels_and_scales_above_zero() -> None:
    for treatment, message in [
        (curve(50, 90, 50, noise=[0.0]), "fewer than two seeds"),
        (curve(90), "two levels or more"),
    ]:
        with pytest.raises(NotEstimableError, match=message):
            measure("tolerated_range", treatment, treatment, factor="init_scale")
    dropped = arm(*(seeds([0.9] * 2, dropout=p) for p in (0.0, 0.4)))
    with pytest.raises(NotEstimableError, match="above 0"):
        measure("tolerated_range", dropped, dropped, factor="dropout")


# The jackknife


def test_the_jackknife_of_a_mean_is_the_sample_itself() -> None:
    values = np.array([3.0, 1, 4, 1, 5, 9])
    assert pseudo_values(6, lambda members: float(values[members].mean())) == pytest.approx(values)


def test_the_jackknife_of_the_biased_variance_is_the_unbiased_one() -> None:
    """Quenouille's and Tukey's example: the mean of the pseudo-values of the variance over n is that over n - 1."""
    values = np.array([3.0, 1, 4, 1, 5, 9])
    found = pseudo_values(6, lambda members: float(values[members].var()))
    assert float(found.mean()) == pytest.approx(float(values.var(ddof=1)))
