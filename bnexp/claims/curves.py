"""Estimators of learning curves: steps to a target, and the gap between training and validation at a matched loss."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bnexp.claims.arms import Arm, BySeed, Estimate, NotEstimableError, by_seed, one_a_seed, paired
from bnexp.claims.model import Estimator
from bnexp.claims.statistics import Values
from bnexp.columns import length, unfolded
from bnexp.records import Columns

PLATEAU_POINTS = 5
"""A plateau is the median of so many last evaluations."""


@dataclass(frozen=True)
class Curves:
    """The curves of an arm's trials, at the steps at which all were evaluated."""

    steps: Values
    points: dict[str, Values]
    """Column name to [trials, points]."""
    ended: npt.NDArray[np.bool_]
    """[trials, points] Whether the trial had diverged by then."""
    seeds: npt.NDArray[np.int64]

    @classmethod
    def of(cls, arm: Arm, trials: Columns, *columns: str) -> "Curves":
        """The curves of `trials`, which are the arm's or those that it was tuned by."""
        keys = tuple(trials["trial_key"].tolist())
        read = arm.curves(keys, columns)
        steps = np.unique(read["step"]).astype(np.float64)
        row = {key: index for index, key in enumerate(keys)}
        few, place = unfolded(read, ["trial_key"])
        rows = np.array([row[key] for key in few["trial_key"]], dtype=np.int64)[place]
        at = np.searchsorted(steps, read["step"])
        known = np.zeros((len(keys), len(steps)), dtype=bool)
        known[rows, at] = True
        points = {name: np.full(known.shape, np.nan) for name in columns}
        for name in columns:
            points[name][rows, at] = read[name]
        last = np.logical_or.accumulate(known[:, ::-1], axis=1)[:, ::-1]
        ended = (trials["status"] == "diverged")[:, None] & ~last
        shared = (known | ended).all(axis=0)
        return cls(
            steps[shared],
            {name: values[:, shared] for name, values in points.items()},
            ended[:, shared],
            trials["seed"].astype(np.int64),
        )

    def accuracy(self, trials: Columns) -> Values:
        """[trials, points] Validation accuracy in percentage points; chance after a divergence, and where the network
        gave no numbers."""
        chance = 1 / trials["classes"].astype(np.float64)
        values = self.points["validation_accuracy"]
        return 100 * np.where(self.ended | np.isnan(values), chance[:, None], values)


def steps_ratio(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """log2 of the control's steps to a target over the treatment's. The target is the control's plateau (median of the
    last five points of its mean validation curve, over the tuning seeds where there are any) minus half the margin,
    reached at two points running, in both arms.

    What needs more than all its steps is known as a bound only. A treatment that never reaches the target is infinitely
    slow where that speaks against it, and needed just all its steps where it would speak for "slower"; a control that
    never does gives a lower bound; where neither does, the seed bounds nothing."""
    for arm in (control, treatment):
        one_a_seed(arm, "steps to a target need")
    plateau, rising = _plateau(control, margin)
    target = plateau - margin / 2
    (steps, reached_t), (last, reached_c) = (_reached(arm, target) for arm in (treatment, control))
    first, second = paired(reached_t, reached_c)
    never_t, never_c = np.isinf(first), np.isinf(second)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.log2(np.minimum(second, last)) - np.log2(first)
        above = np.where(never_c, math.inf, np.log2(second) - np.log2(np.minimum(first, steps)))
    notes = [f"target: {target:.1f}% validation accuracy, the control's plateau minus half a margin"]
    names = (
        (treatment.name, never_t & ~never_c),
        (control.name, never_c & ~never_t),
        ("neither arm", never_t & never_c),
    )
    notes += [_never(name, int(count.sum()), len(first), steps) for name, count in names if count.any()]
    open_ = "the control is still rising at the end of its steps: give it more" if rising else ""
    censored = above if (never_c | never_t).any() else None
    return Estimate(first, np.minimum(second, last), effect, how.unit, notes, open_, above=censored)


def maximum_difference(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """The largest validation accuracy on a trial's curve, in points, treatment minus control, each averaged over its
    cells (the maximum accuracy of Figure 3)."""
    first, second = paired(*(by_seed(arm.trials, _largest(arm)) for arm in (treatment, control)))
    return Estimate(first, second, first - second, how.unit)


def _largest(arm: Arm) -> Values:
    largest: Values = Curves.of(arm, arm.trials, "validation_accuracy").accuracy(arm.trials).max(axis=1)
    return largest


def _never(name: str, count: int, seeds: int, steps: float) -> str:
    verb = "reached it" if name == "neither arm" else "did not reach it"
    return f"{name} {verb} in {steps:.0f} steps in {count} of {seeds} seeds"


def _plateau(control: Arm, margin: float) -> tuple[float, bool]:
    """The control's plateau in points, and whether it is still rising."""
    trials = control.trials if control.tuning is None or not length(control.tuning) else control.tuning
    curves = Curves.of(control, trials, "validation_accuracy")
    if len(curves.steps) < 2 * PLATEAU_POINTS:
        raise NotEstimableError("its curves have too few points for a plateau")
    mean = np.mean(curves.accuracy(trials), axis=0)
    plateau = float(np.median(mean[-PLATEAU_POINTS:]))
    return plateau, plateau - float(np.median(mean[-2 * PLATEAU_POINTS : -PLATEAU_POINTS])) > margin / 2


def _reached(arm: Arm, target: float) -> tuple[float, BySeed]:
    """How many steps an arm was given, and the first at which each seed is at the target and stays there for one more
    point; infinite where there is none."""
    curves = Curves.of(arm, arm.trials, "validation_accuracy")
    there = curves.accuracy(arm.trials) >= target
    both = there[:, :-1] & there[:, 1:]
    first = np.where(both, curves.steps[: both.shape[1]], math.inf).min(axis=1, initial=math.inf)
    return float(np.max(arm.trials["steps"])), by_seed(arm.trials, first)


def matched_loss_gap(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """The gap between training and validation accuracy, in points, when the arm's training loss first is at the lowest
    value that both arms of the seed come to (interpolated between evaluations, linear in the loss's logarithm); control
    minus treatment, so that a treatment that regularizes has a positive effect.

    Curves are evaluated without Dropout on fixed subsets, so that the losses of both arms mean the same."""
    gaps = []
    for arm in (treatment, control):
        one_a_seed(arm, "a matched loss needs")
        gaps.append(_Gap(arm))
    seeds = np.intersect1d(gaps[0].seeds, gaps[1].seeds)
    if not len(seeds):
        raise NotEstimableError("no trials of both arms share a seed")
    values = []
    for seed in seeds:
        loss = max(gap.lowest(seed) for gap in gaps)
        if not math.isfinite(loss):
            raise NotEstimableError("a trial diverged before its first evaluation, and has no loss to match")
        values.append([gap.at(seed, loss) for gap in gaps])
    first, second = np.array(values).T
    return Estimate(first, second, second - first, how.unit)


class _Gap:
    """An arm's way from the first loss to its lowest: each new lowest training loss, and the gap there."""

    def __init__(self, arm: Arm) -> None:
        curves = Curves.of(arm, arm.trials, "train_loss", "train_accuracy", "validation_accuracy")
        self.seeds = curves.seeds
        loss = np.where(np.isnan(curves.points["train_loss"]), math.inf, curves.points["train_loss"])
        gap = 100 * (curves.points["train_accuracy"] - curves.points["validation_accuracy"])
        self._paths = {}
        for seed, own, gaps in zip(self.seeds.tolist(), np.maximum(loss, 1e-12), gap, strict=True):
            before = np.minimum.accumulate(np.concatenate([[math.inf], own[:-1]]))
            new = (own < before) & np.isfinite(own)
            self._paths[seed] = np.log(own[new]), gaps[new]

    def lowest(self, seed: int) -> float:
        """The logarithm of the lowest training loss."""
        logs = self._paths[int(seed)][0]
        return float(logs[-1]) if len(logs) else math.inf

    def at(self, seed: int, log_loss: float) -> float:
        """The gap where the loss first is so low."""
        logs, gaps = self._paths[int(seed)]
        return float(np.interp(-log_loss, -logs, gaps))
