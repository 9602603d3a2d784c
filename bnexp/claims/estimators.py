"""Estimators: from the trials of two arms to one effect a seed. Pure functions of tidy columns.

Each takes the two arms and returns an Estimate whose values are paired by seed: arms share seeds, and with them the
order of examples, base initialization and dropout draws.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt

from bnexp.claims.model import Estimator, described
from bnexp.claims.statistics import Values
from bnexp.columns import combinations, in_both, length, levels, means, take, unfolded
from bnexp.config import columns_by_name
from bnexp.records import Columns

RATES = ("lr_multiplier", "lr")
"""Factors whose best level must not be at the edge of its grid."""

PLATEAU_POINTS = 5
"""A plateau is the median of so many last evaluations."""


class NotEstimableError(Exception):
    """The data do not allow this estimate; the message says why."""


@dataclass(frozen=True)
class Arm:
    """The trials of one arm, and what to call it."""

    name: str
    trials: Columns
    curves: Callable[[Sequence[str]], Columns]
    """The curve points of trials, by key."""


Unit = Literal["points", "rate", "log2"]
"""Percentage points of accuracy; percentage points of a share of seeds; the logarithm of a ratio of steps."""


@dataclass(frozen=True)
class Estimate:
    """One number a seed and arm, and their contrast."""

    treatment: Values
    control: Values
    effect: Values
    unit: Unit
    notes: list[str] = field(default_factory=list)
    undecidable: str = ""
    """Why no verdict may follow from this, if so."""


UNITS: dict[str, Unit] = {"scored_accuracy": "points", "trained": "rate"}

Measure = Callable[[Arm, Arm, Estimator, float], Estimate]


def choose(columns: Columns, wanted: Mapping[str, object]) -> Columns:
    """The rows that have all the `wanted` values."""
    keep = np.ones(length(columns), dtype=bool)
    for name, value in wanted.items():
        few, place = unfolded(columns, [name])
        column = few[name]
        keep &= (column != column if value is None or value != value else column == value)[place]
    return take(columns, keep)


def outcome(trials: Columns, of: str) -> Values:
    """An outcome in percentage points: scored accuracy (chance where diverged) or whether the trial trained."""
    return 100 * trials[of].astype(np.float64)


def scored_validation(trials: Columns) -> Values:
    """Validation accuracy in percentage points, chance where diverged."""
    chance = 1 / trials["classes"].astype(np.float64)
    few, place = unfolded(trials, ["status"])
    diverged = (few["status"] == "diverged")[place]
    return 100 * np.where(diverged, chance, trials["validation_accuracy"].astype(np.float64))


def matched(treatment: Columns, control: Columns, free: Collection[str]) -> tuple[Columns, Columns, int]:
    """The trials of each arm that have a counterpart in the other, equal in every factor but the `free` ones and the
    seed; and how many had none."""
    names = [name for name in sorted(set(columns_by_name().values()) - set(free) - {"seed"}) if name in treatment]
    kept = [take(arm, keep) for arm, keep in zip((treatment, control), in_both(treatment, control, names), strict=True)]
    return kept[0], kept[1], length(treatment) + length(control) - length(kept[0]) - length(kept[1])


@dataclass(frozen=True)
class BySeed:
    """A number for each seed."""

    seeds: npt.NDArray[np.int64]
    """[seeds] In order."""
    values: Values
    """[seeds]"""


def by_seed(trials: Columns, values: Values) -> BySeed:
    """The mean of `values` [trials] over each seed's trials."""
    seeds, place = np.unique(trials["seed"], return_inverse=True)
    return BySeed(seeds, means(values, place, len(seeds)))


def paired(treatment: BySeed, control: BySeed) -> tuple[Values, Values]:
    """The seeds that both arms have, in order."""
    seeds, first, second = np.intersect1d(treatment.seeds, control.seeds, assume_unique=True, return_indices=True)
    if not len(seeds):
        raise NotEstimableError("no trials of both arms share a seed")
    return treatment.values[first], control.values[second]


def difference(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """Treatment minus control, each averaged over its cells, in points."""
    first, second = paired(*(by_seed(arm.trials, outcome(arm.trials, how.of)) for arm in (treatment, control)))
    return Estimate(first, second, first - second, UNITS[how.of])


def best_difference(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """As `difference`, each arm at the levels of the factors `over` that have its highest mean validation accuracy
    (the first of the smallest where equal). A best learning rate at the edge of the grid leaves the claim open."""
    notes, edges, values = [], [], []
    for arm in (treatment, control):
        cells, place = combinations(arm.trials, how.over)
        scores = means(scored_validation(arm.trials), place, len(cells))
        best = dict(zip(how.over, cells[int(np.argmax(scores))], strict=True))
        chosen = choose(arm.trials, best)
        values.append(by_seed(chosen, outcome(chosen, how.of)))
        notes.append(f"{arm.name} at its best: {described(best)}")
        if any(_at_edge(arm, rate, best[rate]) for rate in RATES if rate in best):
            edges.append(arm.name)
    first, second = paired(*values)
    open_ = f"the best rate with {' and with '.join(edges)} is at the edge of the grid" if edges else ""
    return Estimate(first, second, first - second, UNITS[how.of], notes, open_)


def _at_edge(arm: Arm, rate: str, best: object) -> bool:
    there = levels(arm.trials, rate)
    return len(there) > 1 and best in (there[0], there[-1])


def spread_difference(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """How far the outcome moves over the levels of one factor (highest minus lowest cell), treatment minus control:
    negative where the treatment is less sensitive to the factor."""
    [factor] = how.over
    if len({level for arm in (treatment, control) for level in levels(arm.trials, factor)}) < 2:
        raise NotEstimableError(f"its arms have fewer than two levels of {factor} in common")
    first, second = paired(*(_spread(arm.trials, factor, how.of) for arm in (treatment, control)))
    return Estimate(first, second, first - second, UNITS[how.of])


def steps_ratio(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """log2 of the control's steps to a target over the treatment's. The target is the control's plateau (median of the
    last five points of its mean validation curve) minus half the margin, reached at two points running, in both arms.

    A treatment that never reaches it counts as infinitely slow, a control that never does as needing all its steps."""
    curve_c, curve_t = (_curves(arm) for arm in (control, treatment))
    steps, mean = curve_c.steps, 100 * np.mean(curve_c.accuracy, axis=0)
    if len(steps) < 2 * PLATEAU_POINTS:
        raise NotEstimableError("its curves have too few points for a plateau")
    plateau = float(np.median(mean[-PLATEAU_POINTS:]))
    rising = plateau - float(np.median(mean[-2 * PLATEAU_POINTS : -PLATEAU_POINTS])) > margin / 2
    target = plateau - margin / 2
    reached_t, reached_c = curve_t.reached(target), curve_c.reached(target)
    first, second = paired(reached_t, replace(reached_c, values=np.minimum(reached_c.values, steps[-1])))
    with np.errstate(divide="ignore"):
        effect = np.log2(second) - np.log2(first)
    note = f"target: {target:.1f}% validation accuracy, the control's plateau minus half a margin"
    open_ = "the control is still rising at the end of its steps: give it more" if rising else ""
    return Estimate(first, second, effect, "log2", [note], open_)


@dataclass(frozen=True)
class _Curves:
    steps: Values
    accuracy: Values
    """[seeds, points]; chance after a divergence, and where the network gave no numbers."""
    seeds: npt.NDArray[np.int64]

    def reached(self, target: float) -> BySeed:
        """The first step at which the accuracy is at the target and stays there for one more point."""
        there = 100 * self.accuracy >= target
        both = there[:, :-1] & there[:, 1:]
        first = np.where(both, self.steps[: both.shape[1]], math.inf).min(axis=1, initial=math.inf)
        order = np.argsort(self.seeds)
        return BySeed(self.seeds[order], first[order])


def _curves(arm: Arm) -> _Curves:
    """The validation curves of an arm that has one trial a seed, at the steps at which all were evaluated."""
    seeds = arm.trials["seed"].astype(np.int64)
    if len(np.unique(seeds)) < len(seeds):
        raise NotEstimableError("steps to a target need one trial a seed in each arm; narrow `where`")
    keys = tuple(arm.trials["trial_key"].tolist())
    points = arm.curves(keys)
    steps = np.unique(points["step"]).astype(np.float64)
    row = {key: index for index, key in enumerate(keys)}
    few, place = unfolded(points, ["trial_key"])
    rows = np.array([row[key] for key in few["trial_key"]], dtype=np.int64)[place]
    accuracy = np.full((len(keys), len(steps)), np.nan)
    known = np.zeros(accuracy.shape, dtype=bool)
    accuracy[rows, np.searchsorted(steps, points["step"])] = points["validation_accuracy"]
    known[rows, np.searchsorted(steps, points["step"])] = True
    ended = (arm.trials["status"] == "diverged")[:, None] & ~np.logical_or.accumulate(known[:, ::-1], axis=1)[:, ::-1]
    chance = 1 / arm.trials["classes"].astype(np.float64)
    accuracy = np.where(ended | np.isnan(accuracy), chance[:, None], accuracy)
    shared = (known | ended).all(axis=0)
    return _Curves(steps[shared], accuracy[:, shared], seeds)


def _spread(trials: Columns, factor: str, of: str) -> BySeed:
    cells = []
    for level in levels(trials, factor):
        chosen = choose(trials, {factor: level})
        cells.append(by_seed(chosen, outcome(chosen, of)))
    seeds = reduce(np.intersect1d, [cell.seeds for cell in cells])
    values = np.array([cell.values[np.isin(cell.seeds, seeds)] for cell in cells])
    return BySeed(seeds, values.max(axis=0) - values.min(axis=0))
