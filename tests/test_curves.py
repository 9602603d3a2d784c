"""Estimators of learning curves, on curves with answers known by hand."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from bnexp.claims.arms import Arm, NotEstimableError
from bnexp.claims.statistics import Bounded
from bnexp.records import Columns
from tests.tables import CHANCE, STEPS, arm, curves_of, measure, racers, reaching, seeds


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


def test_steps_ratio_compares_at_the_steps_that_all_trials_were_evaluated_at() -> None:
    """Trials of an earlier run keep the evaluation steps of that run; a hole is not a failure."""
    coarse = [step for step in STEPS if (step >= 100 and step % 100 == 0) or step < 50]

    def mixed(norm: str, *at: int) -> Arm:
        cell = seeds([0.9] * len(at), norm=norm)
        keys = [row["trial_key"] for row in cell]

        def curves(wanted: Sequence[str], names: Sequence[str]) -> Columns:
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


def test_a_treatment_that_is_cut_off_is_known_as_a_bound() -> None:
    """Infinitely slow in what would support it; where it would refute, it just needed all its 1000 steps."""
    estimate = measure("steps_ratio", racers(reaching(2000), reaching(100)), racers(reaching(200), reaching(200)))
    assert estimate.effect == pytest.approx([-math.inf, 1])
    assert estimate.above is not None and estimate.above == pytest.approx([math.log2(200 / 1000), 1])
    assert "none did not reach it in 1000 steps in 1 of 2 seeds" in estimate.notes


def test_one_that_is_cut_off_on_every_seed_is_slower_and_nothing_more() -> None:
    test = measure("steps_ratio", racers(*[reaching(2000)] * 10), racers(*[reaching(200)] * 10)).test()
    assert isinstance(test, Bounded)
    assert test.p_less(0) == 1 / 1024 and test.p_less(math.log2(0.2)) == 1
    assert (test.interval().low, test.interval().high) == (-math.inf, pytest.approx(math.log2(0.2)))


def test_a_control_that_is_cut_off_gives_a_lower_bound_and_neither_bounds_nothing() -> None:
    control = racers(reaching(500), reaching(2000), reaching(2000), reaching(500), tuned=reaching(100))
    treatment = racers(reaching(250), reaching(250), reaching(2000), reaching(2000))
    estimate = measure("steps_ratio", treatment, control)
    assert estimate.effect == pytest.approx([1, 2, -math.inf, -math.inf]) and estimate.above is not None
    assert estimate.above == pytest.approx([1, math.inf, math.inf, -1])
    assert "neither arm reached it in 1000 steps in 1 of 4 seeds" in estimate.notes
    assert not estimate.undecidable


def test_nothing_cut_off_is_no_bound() -> None:
    assert measure("steps_ratio", racers(reaching(100)), racers(reaching(200))).above is None


def test_the_target_is_set_by_tuning_trials_where_there_are_some() -> None:
    """The control's own curves, at 90%, would ask for 89.5; the tuning trial's plateau of 80 asks for 79.5."""
    treatment = racers(reaching(100, 0.8))
    tuned = racers(reaching(200), tuned=reaching(50, 0.8))
    assert measure("steps_ratio", treatment, tuned).effect == pytest.approx([1])
    assert measure("steps_ratio", treatment, racers(reaching(200))).effect == pytest.approx([-math.inf])
    slope = [0.3 + 0.6 * at / 1000 for at in STEPS]
    assert "rising" in measure("steps_ratio", treatment, racers(reaching(200), tuned=slope)).undecidable
    assert not measure("steps_ratio", treatment, racers(slope, tuned=reaching(50, 0.8))).undecidable


# The gap at a matched loss


def gapped(*trials: Mapping[str, Sequence[float]], norm: str = "none") -> Arm:
    """An arm with one trial a seed: its curve's train_loss, and train_accuracy; validation stays at 50%."""
    cell = seeds([0.5] * len(trials), norm=norm)

    def curves(keys: Sequence[str], names: Sequence[str]) -> Columns:
        rows = [
            (row["trial_key"], step, loss, accuracy, 0.5)
            for row, trial in zip(cell, trials, strict=True)
            for step, loss, accuracy in zip(STEPS, trial["loss"], trial["accuracy"], strict=False)
        ]
        table = dict(
            zip(
                ["trial_key", "step", "train_loss", "train_accuracy", "validation_accuracy"],
                map(np.array, zip(*rows, strict=True)),
                strict=True,
            )
        )
        return {name: table[name] for name in ("trial_key", "step", *names)}

    return arm(cell, curves=curves)


STEEP: dict[str, Any] = {"loss": [1, 0.1, 0.01], "accuracy": [0.5, 0.6, 0.8]}
FLATTER: dict[str, Any] = {"loss": [1, 0.5, 0.1], "accuracy": [0.5, 0.52, 0.55]}


def test_the_maximum_is_of_the_whole_curve_and_chance_where_there_is_none() -> None:
    peak = reaching(100, 0.6)
    peak[3] = 0.9
    treatment, control = racers(peak, reaching(100, 0.7)), racers(reaching(100, 0.8), [])
    estimate = measure("maximum_difference", treatment, control)
    assert estimate.unit == "points" and list(estimate.treatment) == pytest.approx([90, 70])
    assert list(estimate.control) == pytest.approx([80, 100 * CHANCE])
    assert estimate.effect == pytest.approx([10, 70 - 100 * CHANCE])


def test_the_gap_is_taken_where_both_arms_come_to_the_same_training_loss() -> None:
    """The higher of the two lowest losses is 0.1: there the gaps are 10 and 5 points."""
    estimate = measure("matched_loss_gap", gapped(FLATTER), gapped(STEEP))
    assert (estimate.treatment, estimate.control) == (pytest.approx([5]), pytest.approx([10]))
    assert estimate.effect == pytest.approx([5]) and estimate.unit == "points"
    assert measure("matched_loss_gap", gapped(STEEP), gapped(FLATTER)).effect == pytest.approx([-5])


def test_the_gap_is_interpolated_in_the_logarithm_of_the_loss() -> None:
    """10^-0.5 lies halfway from 1 to 0.1: the gap is halfway from 0 to 10 points."""
    half = {"loss": [1, 10**-0.5], "accuracy": [0.5, 0.5]}
    assert measure("matched_loss_gap", gapped(half), gapped(STEEP)).control == pytest.approx([5])


def test_a_loss_that_rises_again_is_matched_where_it_first_was_so_low() -> None:
    back = {"loss": [1, 0.1, 5, 0.09], "accuracy": [0.5, 0.6, 0.9, 0.9]}
    assert measure("matched_loss_gap", gapped(back), gapped(FLATTER)).treatment == pytest.approx([10])


def test_each_seed_is_matched_at_its_own_loss() -> None:
    estimate = measure("matched_loss_gap", gapped(FLATTER, STEEP), gapped(STEEP, STEEP))
    assert estimate.effect == pytest.approx([5, 0])


def test_a_trial_without_any_loss_matches_none() -> None:
    nothing = {"loss": [math.nan, math.inf], "accuracy": [0.1, 0.1]}
    with pytest.raises(NotEstimableError, match="no loss to match"):
        measure("matched_loss_gap", gapped(nothing), gapped(STEEP))
    with pytest.raises(NotEstimableError, match="one trial a seed"):
        measure("matched_loss_gap", arm(seeds([0.9]), seeds([0.9], dropout=0.4)), gapped(STEEP))
