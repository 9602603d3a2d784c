"""Curves of many trials as few: the mean over seeds with its interval, and where trials ended that diverged.

Whatever the number of trials, a series has one row a step, and one for each step at which any of its trials ended.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bnexp.claims.arms import Arm, by_seed
from bnexp.claims.arms import Curves as Reader
from bnexp.claims.curves import Curves
from bnexp.claims.data import ENDED, no_probes
from bnexp.claims.statistics import Values
from bnexp.columns import Mask, length, take
from bnexp.records import Columns
from bnexp.text import counted

Row = dict[str, Any]

MOST_STEPS = 200
"""Of a drawn curve; there are fewer pixels than twice as many."""


@dataclass(frozen=True)
class Series:
    """What is drawn of some trials' curves. Accuracies are in percent."""

    mean: list[Row] = field(default_factory=list)
    """A row a step, of the trials that did not diverge: step, mean (of losses the geometric one), low and high (of the
    interval; None of one seed), and the number of seeds."""
    ended: list[Row] = field(default_factory=list)
    """Of the trials that diverged, those together that have their last evaluation at the same step: a row for each
    `step` up to the `last`, with their mean `value` and how many `runs` they are. One that diverged before it was
    evaluated has a row at the first step."""
    waiting: int = 0
    """How many trials have not ended."""
    every: int = 1
    """Which evaluations are drawn: each, every second, ..."""


def is_accuracy(metric: str) -> bool:
    return metric.endswith("accuracy")


LEAST_LOSS = 1e-9
"""Nats, below which float32 has no more to tell; a loss of 0 has no logarithm."""


def untrained(metric: str, classes: int) -> float:
    """What a network shows that knows nothing: chance, in percent; or the loss of equal probabilities."""
    return 100 / classes if is_accuracy(metric) else math.log(classes)


def series_of(trials: Columns, reader: Reader, metric: str = "validation_accuracy") -> Series:
    """The curves of `trials` at the steps at which all were evaluated."""
    ended = np.isin(trials["status"].astype(str), ENDED)
    known = take(trials, ended)
    waiting = length(trials) - length(known)
    if not length(known):
        return Series(waiting=waiting)
    curves = Curves.of(Arm("", known, reader, no_probes), known, metric)
    steps, values = curves.steps, curves.points[metric] * (100 if is_accuracy(metric) else 1)
    every = max(1, math.ceil(len(steps) / MOST_STEPS))
    # The last evaluation is drawn whatever is left out.
    drawn = np.arange(len(steps) - 1, -1, -every)[::-1]
    diverged = known["status"] == "diverged"
    whole = take(known, ~diverged)
    level = untrained(metric, int(known["classes"][0]))
    return Series(
        _mean(whole, steps[drawn], values[~diverged][:, drawn], is_accuracy(metric)) if length(whole) else [],
        _ended(steps, values[diverged], curves.ended[diverged], level) if diverged.any() else [],
        waiting,
        every,
    )


def _mean(trials: Columns, steps: Values, values: Values, accuracy: bool) -> list[Row]:
    """`values` [trials, steps]; a number that is not finite is left out."""
    rows = []
    for step, at_step in zip(steps, values.T, strict=True):
        finite = np.isfinite(at_step)
        if finite.any():
            drawn = at_step[finite] if accuracy else np.log(np.maximum(at_step[finite], LEAST_LOSS))
            seeds = by_seed(take(trials, finite), drawn).values
            rows.append({"step": float(step), **_interval(seeds, accuracy), "seeds": len(seeds)})
    return rows


def _interval(seeds: Values, accuracy: bool) -> Row:
    """Of percentages, no farther than from 0 to 100; of logarithms of losses, as losses."""
    mean, (low, high) = float(seeds.mean()), student(seeds)
    if not accuracy:
        return {"mean": math.exp(mean), "low": low and math.exp(low), "high": high and math.exp(high)}
    return {"mean": mean, "low": low and max(low, 0.0), "high": high and min(high, 100.0)}


def student(values: Values) -> tuple[float | None, float | None]:
    """The 95% interval of the mean of independent values, by Student's t; None of fewer than two."""
    from scipy.special import stdtrit  # slow to import

    if len(values) < 2:
        return None, None
    half = float(stdtrit(len(values) - 1, 0.975)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def _ended(steps: Values, values: Values, ended: Mask, level: float) -> list[Row]:
    """`values` and `ended` [trials, steps], of trials that diverged."""
    last = (~ended).sum(axis=1) - 1
    rows = []
    for index in np.unique(last):
        own = values[last == index]
        if index < 0:
            first = float(steps[0]) if len(steps) else 1.0
            rows.append({"step": first, "value": level, "last": first, "runs": len(own)})
            continue
        for at in range(index + 1):
            finite = own[np.isfinite(own[:, at]), at]
            value = float(finite.mean()) if len(finite) else level
            rows.append({"step": float(steps[at]), "value": value, "last": float(steps[index]), "runs": len(own)})
    return rows


def notes(series: Mapping[str, Series], metric: str = "validation_accuracy") -> list[str]:
    """What a reader must know of these series, in sentences."""
    known = list(series.values())
    alive = [row for one in known for row in one.mean]
    diverged = sum(row["runs"] for one in known for row in one.ended if row["step"] == row["last"])
    waiting = sum(one.waiting for one in known)
    every = max((one.every for one in known), default=1)
    sentences = []
    if alive:
        kind = "mean" if is_accuracy(metric) else "geometric mean"
        with_band = any(row["low"] is not None for row in alive)
        sentences.append(
            f"Bands: the 95% interval of the {kind} over seeds (Student's t), step by step."
            if with_band
            else "One seed each, so that there is no interval."
        )
    if diverged:
        others = "; means are of the others" if alive else ""
        sentences.append(
            f"{counted(diverged, 'trial')} diverged: thin lines, which end with a × at the last evaluation{others}."
        )
    if waiting:
        sentences.append(f"{counted(waiting, 'trial')} not ended yet, and left out.")
    if every > 1:
        sentences.append(f"One evaluation in {every} is drawn.")
    return sentences
