"""Estimators: from the trials of two arms to one effect a seed. Pure functions of tidy columns.

Each takes the two arms and returns an Estimate whose values are paired by seed: arms share seeds, and with them the
order of examples, base initialization and dropout draws.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bnexp.claims.model import Estimator, described
from bnexp.claims.statistics import Values
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


def choose(columns: Columns, wanted: dict[str, object]) -> Columns:
    """The rows that have all the `wanted` values."""
    length = len(next(iter(columns.values())))
    keep = np.ones(length, dtype=bool)
    for name, value in wanted.items():
        column = columns[name]
        keep &= column != column if value is None or value != value else column == value
    return {name: values[keep] for name, values in columns.items()}


def outcome(trials: Columns, of: str) -> Values:
    """An outcome in percentage points: scored accuracy (chance where diverged) or whether the trial trained."""
    return 100 * trials[of].astype(np.float64)


def scored_validation(trials: Columns) -> Values:
    """Validation accuracy in percentage points, chance where diverged."""
    chance = 1 / trials["classes"].astype(np.float64)
    return 100 * np.where(trials["status"] == "diverged", chance, trials["validation_accuracy"].astype(np.float64))


def matched(treatment: Columns, control: Columns, free: Collection[str]) -> tuple[Columns, Columns, int]:
    """The trials of each arm that have a counterpart in the other, equal in every factor but the `free` ones and the
    seed; and how many had none."""
    names = [name for name in sorted(set(columns_by_name().values()) - set(free) - {"seed"}) if name in treatment]

    def cells(arm: Columns) -> list[tuple[str, ...]]:
        return list(zip(*(map(str, arm[name].tolist()) for name in names), strict=True))

    common = set(cells(treatment)) & set(cells(control))
    kept = [
        {name: column[np.array([cell in common for cell in cells(arm)], dtype=bool)] for name, column in arm.items()}
        for arm in (treatment, control)
    ]
    dropped = sum(len(arm["seed"]) for arm in (treatment, control)) - sum(len(arm["seed"]) for arm in kept)
    return kept[0], kept[1], dropped


def by_seed(trials: Columns, values: Values) -> dict[int, float]:
    """The mean of `values` over each seed's trials."""
    return {int(seed): float(np.mean(values[trials["seed"] == seed])) for seed in np.unique(trials["seed"])}


def paired(treatment: dict[int, float], control: dict[int, float]) -> tuple[Values, Values]:
    """The seeds that both arms have, in order."""
    seeds = sorted(treatment.keys() & control.keys())
    if not seeds:
        raise NotEstimableError("no trials of both arms share a seed")
    return np.array([treatment[seed] for seed in seeds]), np.array([control[seed] for seed in seeds])


def difference(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """Treatment minus control, each averaged over its cells, in points."""
    first, second = paired(*(by_seed(arm.trials, outcome(arm.trials, how.of)) for arm in (treatment, control)))
    return Estimate(first, second, first - second, UNITS[how.of])


def best_difference(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """As `difference`, each arm at the levels of the factors `over` that have its highest mean validation accuracy
    (the first of the smallest where equal). A best learning rate at the edge of the grid leaves the claim open."""
    notes, edges, values = [], [], []
    for arm in (treatment, control):
        cells = sorted(set(zip(*(arm.trials[name].tolist() for name in how.over), strict=True)))
        scores = [float(np.mean(scored_validation(choose(arm.trials, _levels(how, cell))))) for cell in cells]
        best = _levels(how, cells[int(np.argmax(scores))])
        chosen = choose(arm.trials, best)
        values.append(by_seed(chosen, outcome(chosen, how.of)))
        notes.append(f"{arm.name} at its best: {described(best)}")
        if any(_at_edge(arm, rate, best[rate]) for rate in RATES if rate in best):
            edges.append(arm.name)
    first, second = paired(*values)
    open_ = f"the best rate with {' and with '.join(edges)} is at the edge of the grid" if edges else ""
    return Estimate(first, second, first - second, UNITS[how.of], notes, open_)


def _at_edge(arm: Arm, rate: str, best: object) -> bool:
    levels = np.unique(arm.trials[rate])
    return len(levels) > 1 and best in (levels[0], levels[-1])


def spread_difference(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """How far the outcome moves over the levels of one factor (highest minus lowest cell), treatment minus control:
    negative where the treatment is less sensitive to the factor."""
    [factor] = how.over
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
    first, second = paired(reached_t, {seed: min(at, float(steps[-1])) for seed, at in reached_c.items()})
    with np.errstate(divide="ignore"):
        effect = np.log2(second) - np.log2(first)
    note = f"target: {target:.1f}% validation accuracy, the control's plateau minus half a margin"
    open_ = "the control is still rising at the end of its steps: give it more" if rising else ""
    return Estimate(first, second, effect, "log2", [note], open_)


@dataclass(frozen=True)
class _Curves:
    steps: Values
    accuracy: Values
    """[seeds, points]; chance after a divergence."""
    seeds: list[int]

    def reached(self, target: float) -> dict[int, float]:
        """By seed, the first step at which the accuracy is at the target and stays there for one more point."""
        there = 100 * self.accuracy >= target
        both = there[:, :-1] & there[:, 1:]
        first = [float(self.steps[row.argmax()]) if row.any() else math.inf for row in both]
        return dict(zip(self.seeds, first, strict=True))


def _curves(arm: Arm) -> _Curves:
    """The validation curves of an arm that has one trial a seed."""
    keys = [str(key) for key in arm.trials["trial_key"]]
    seeds = [int(seed) for seed in arm.trials["seed"]]
    if len(set(seeds)) < len(seeds):
        raise NotEstimableError("steps to a target need one trial a seed in each arm; narrow `where`")
    points = arm.curves(keys)
    steps = np.unique(points["step"]).astype(np.float64)
    chance = 1 / arm.trials["classes"].astype(np.float64)
    accuracy = np.repeat(chance[:, None], len(steps), axis=1)
    row = {key: index for index, key in enumerate(keys)}
    rows = np.array([row[key] for key in points["trial_key"]], dtype=np.int64)
    accuracy[rows, np.searchsorted(steps, points["step"])] = points["validation_accuracy"]
    return _Curves(steps, accuracy, seeds)


def _spread(trials: Columns, factor: str, of: str) -> dict[int, float]:
    levels = [choose(trials, {factor: level}) for level in np.unique(trials[factor])]
    cells = [by_seed(level, outcome(level, of)) for level in levels]
    seeds = set.intersection(*(set(cell) for cell in cells))
    return {seed: max(c[seed] for c in cells) - min(c[seed] for c in cells) for seed in seeds}


def _levels(how: Estimator, cell: tuple[object, ...]) -> dict[str, object]:
    return dict(zip(how.over, cell, strict=True))
