"""Estimators of final outcomes: from the trials of two arms to one effect a seed. Pure functions of tidy columns.

Each takes the two arms and returns an Estimate whose values are paired by seed: arms share seeds, and with them the
order of examples, base initialization and dropout draws.
"""

import math
from functools import partial, reduce

import numpy as np
import numpy.typing as npt

from bnexp.claims.arms import (
    Arm,
    BySeed,
    Estimate,
    NotEstimableError,
    by_seed,
    choose,
    exactly,
    outcome,
    paired,
    scored,
)
from bnexp.claims.model import Estimator
from bnexp.claims.partial import columns_of, described
from bnexp.claims.statistics import Share, pseudo_values
from bnexp.columns import combinations, length, levels, means
from bnexp.records import Columns

RATES = ("lr_multiplier", "lr")
"""Factors whose best level must not be at the edge of its grid."""


def difference(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """Treatment minus control, each averaged over its cells, in points."""
    first, second = paired(*(by_seed(arm.trials, outcome(arm.trials, how.of)) for arm in (treatment, control)))
    return Estimate(first, second, first - second, how.unit)


def best_difference(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """As `difference`, each arm at the levels of the factors `over` that have its highest mean validation accuracy
    (the first of the smallest where equal). A best learning rate at the edge of the grid leaves the claim open."""
    chosen = [_Best(arm, how) for arm in (treatment, control)]
    first, second = paired(*(best.values for best in chosen))
    edges = [best.name for best in chosen if best.at_edge]
    open_ = f"the best rate with {' and with '.join(edges)} is at the edge of the grid" if edges else ""
    return Estimate(first, second, first - second, how.unit, [best.note for best in chosen], open_)


class _Best:
    """An arm at its best levels of the factors `over`."""

    def __init__(self, arm: Arm, how: Estimator) -> None:
        cells, place = combinations(arm.trials, how.over)
        scores = means(100 * scored(arm.trials), place, len(cells))
        best = dict(zip(how.over, cells[int(np.argmax(scores))], strict=True))
        trials = exactly(arm.trials, best)
        self.name = arm.name
        self.values = by_seed(trials, outcome(trials, how.of))
        self.note = f"{arm.name} at its best: {described(best)}"
        self.at_edge = any(_at_edge(arm.trials, rate, best[rate]) for rate in RATES if rate in best)


def _at_edge(trials: Columns, rate: str, best: object) -> bool:
    there = levels(trials, rate)
    return len(there) > 1 and best in (there[0], there[-1])


def interaction(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """How much more is gained in the treatment than in the control, where `gain` says what against what. With `over`,
    each side of a gain is at its best levels by validation, as in `best_difference`."""
    assert how.gain is not None and how.gain.control is not None
    measure = best_difference if how.over else difference
    gains: list[Estimate] = []
    seeds = []
    for arm in (treatment, control):
        sides = [_within(arm, partial) for partial in (how.gain.treatment, how.gain.control)]
        gains.append(measure(sides[0], sides[1], how, margin))
        seeds.append(np.intersect1d(sides[0].trials["seed"], sides[1].trials["seed"]))
    first, second = paired(*(BySeed(own, gain.effect) for own, gain in zip(seeds, gains, strict=True)))
    notes = [note for gain in gains for note in gain.notes]
    open_ = "; ".join(dict.fromkeys(gain.undecidable for gain in gains if gain.undecidable))
    return Estimate(first, second, first - second, how.unit, notes, open_)


def _within(arm: Arm, partial: dict[str, object]) -> Arm:
    trials = choose(arm.trials, columns_of(partial))
    if not length(trials):
        raise NotEstimableError(f"{arm.name} has no trials with {described(partial)}")
    return Arm(f"{arm.name}, {described(partial)}", trials, arm.curves, arm.probes, arm.tuning)


def spread_difference(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """How far the outcome moves over the levels of one factor (highest minus lowest cell), treatment minus control:
    negative where the treatment is less sensitive to the factor."""
    assert how.factor is not None
    if len({level for arm in (treatment, control) for level in levels(arm.trials, how.factor)}) < 2:
        raise NotEstimableError(f"its arms have fewer than two levels of {how.factor} in common")
    first, second = paired(*(_spread(arm.trials, how.factor, how.of) for arm in (treatment, control)))
    return Estimate(first, second, first - second, how.unit)


def _spread(trials: Columns, factor: str, of: str) -> BySeed:
    cells = []
    for level in levels(trials, factor):
        chosen = exactly(trials, {factor: level})
        cells.append(by_seed(chosen, outcome(chosen, of)))
    seeds = reduce(np.intersect1d, [cell.seeds for cell in cells])
    values = np.array([cell.values[np.isin(cell.seeds, seeds)] for cell in cells])
    return BySeed(seeds, values.max(axis=0) - values.min(axis=0))


def rate(treatment: Arm, control: None, how: Estimator, margin: float) -> Estimate:
    """The share of seeds that trained, 0 to 1, with Wilson's interval; a seed counts where all its trials did."""
    values = by_seed(treatment.trials, treatment.trials["trained"].astype(np.float64)).values
    trained = (values == 1.0).astype(np.float64)
    share = Share(int(trained.sum()), len(trained))
    return Estimate(trained, np.empty(0), trained, how.unit, test_of=share)


def largest_trained(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """log2 of the ratio, treatment over control, of the largest level of `factor` that trains: the last one before the
    first that does not, on each seed. Where the top level still trains it is a lower bound, and where not even the
    lowest does, that is an upper bound."""
    (low_t, high_t), (low_c, high_c) = (_largest(arm, how) for arm in (treatment, control))
    lowest = np.where((low_t.values == -math.inf) | np.isinf(high_c.values), -math.inf, 0.0)
    highest = np.where(np.isinf(high_t.values) | (low_c.values == -math.inf), math.inf, 0.0)
    if not np.array_equal(low_t.seeds, low_c.seeds):
        raise NotEstimableError("its arms have not the same seeds")
    with np.errstate(invalid="ignore"):
        effect = np.where(np.isinf(lowest), lowest, low_t.values - high_c.values)
        above = np.where(np.isinf(highest), highest, high_t.values - low_c.values)
    shown = [2.0 ** np.where(np.isfinite(low.values), low.values, -math.inf) for low in (low_t, low_c)]
    bounds = [
        f"{arm.name}: {what} in {count} of {len(low.seeds)} seeds"
        for arm, low, high in ((treatment, low_t, high_t), (control, low_c, high_c))
        for what, count in (
            ("the highest level still trains", int(np.isinf(high.values).sum())),
            ("not even the lowest level trains", int((low.values == -math.inf).sum())),
        )
        if count
    ]
    return Estimate(shown[0], shown[1], effect, how.unit, bounds, above=above)


def _largest(arm: Arm, how: Estimator) -> tuple[BySeed, BySeed]:
    """log2 of the largest level that trains, on each seed: its lower and its upper bound."""
    assert how.factor is not None
    there = np.sort(levels(arm.trials, how.factor).astype(np.float64))
    seeds, row = np.unique(arm.trials["seed"], return_inverse=True)
    trained = np.full((len(seeds), len(there)), np.nan)
    columns = np.searchsorted(there, arm.trials[how.factor].astype(np.float64))
    if len(row) > trained.size or len(set(zip(row.tolist(), columns.tolist(), strict=True))) < len(row):
        raise NotEstimableError(f"a largest {how.factor} needs one trial a seed and level; narrow `where`")
    trained[row, columns] = arm.trials["trained"].astype(np.float64)
    if np.isnan(trained).any():
        raise NotEstimableError(f"not every seed has every level of {how.factor}")
    runs = np.cumprod(trained, axis=1).sum(axis=1).astype(int)
    logs = np.log2(there)
    low = np.where(runs > 0, logs[np.maximum(runs, 1) - 1], -math.inf)
    high = np.where(runs == len(there), math.inf, np.where(runs > 0, low, logs[0]))
    return BySeed(seeds, low), BySeed(seeds, high)


def tolerated_range(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """Decades of `factor` around the arm's best level over which the mean accuracy over seeds stays within `within`
    points of the best, interpolated between levels; treatment minus control. The jackknife's pseudo-values over seeds
    stand for effects. A range that reaches the end of the levels is a lower bound; an arm that trains at no level
    tolerates none, and its range is 0."""
    arms = [_Curve(arm, how) for arm in (treatment, control)]
    seeds = np.intersect1d(arms[0].seeds, arms[1].seeds)
    if len(seeds) < 2:
        raise NotEstimableError("its arms share fewer than two seeds")
    if not any(arm.trains for arm in arms):
        raise NotEstimableError(f"neither arm trains at any level of {how.factor}")
    widths = [pseudo_values(len(seeds), partial(_width, arm, seeds)) for arm in arms]
    open_ = [arm.width(seeds)[1] for arm in arms]
    effect = widths[0] - widths[1]
    above = np.full(len(seeds), math.inf) if open_[0] else effect
    lowest = np.full(len(seeds), -math.inf) if open_[1] else effect
    notes = [
        f"{arm.name}: its range reaches the end of the levels" for arm, ends in zip(arms, open_, strict=True) if ends
    ]
    return Estimate(widths[0], widths[1], lowest, how.unit, notes, above=above)


def _width(arm: "_Curve", seeds: npt.NDArray[np.int64], members: npt.NDArray[np.intp]) -> float:
    return arm.width(seeds[members])[0]


class _Curve:
    """An arm's outcome over the levels of a factor."""

    def __init__(self, arm: Arm, how: Estimator) -> None:
        assert how.factor is not None
        self.name, self.within = arm.name, how.within
        self.levels = np.sort(levels(arm.trials, how.factor).astype(np.float64))
        if len(self.levels) < 2 or self.levels[0] <= 0:
            raise NotEstimableError(f"a range of {how.factor} needs two levels or more, above 0")
        cells = [exactly(arm.trials, {how.factor: level}) for level in self.levels]
        found = [by_seed(cell, outcome(cell, how.of)) for cell in cells]
        self.seeds = reduce(np.intersect1d, [cell.seeds for cell in found])
        self.values = np.array([cell.values[np.isin(cell.seeds, self.seeds)] for cell in found])
        """[levels, seeds]"""
        self.trains = bool((arm.trials["trained"].astype(np.float64) == 1).any())

    def width(self, seeds: npt.NDArray[np.int64]) -> tuple[float, bool]:
        """Decades within so many points of the best, and whether they reach the end of the levels."""
        if not self.trains:
            return 0.0, False
        mean = self.values[:, np.isin(self.seeds, seeds)].mean(axis=1)
        best, floor = int(np.argmax(mean)), float(mean.max()) - self.within
        decades = np.log10(self.levels)
        left, right = best, best
        while left > 0 and mean[left - 1] >= floor:
            left -= 1
        while right < len(mean) - 1 and mean[right + 1] >= floor:
            right += 1
        low, high = decades[left], decades[right]
        if left > 0:
            low -= (decades[left] - decades[left - 1]) * (mean[left] - floor) / (mean[left] - mean[left - 1])
        if right < len(mean) - 1:
            high += (decades[right + 1] - decades[right]) * (mean[right] - floor) / (mean[right] - mean[right + 1])
        return float(high - low), left == 0 or right == len(mean) - 1
