"""Curves of many trials as few: the mean over seeds with its interval, and where trials ended that diverged.

Whatever the number of trials, a series has one row a step, and one for each step at which any of its trials ended.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

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
MOST_ENDS = 40
"""Steps at which trials end that have a line up to their mark, for each series."""


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
    not_finite: int = 0
    """How many evaluations of trials that did not diverge gave no finite number, and are in no mean."""
    marks_only: int = 0
    """How many of the trials that diverged have no line up to their mark."""
    until: float = 1.0
    """How many steps were asked for, at most."""
    shortened: bool = False
    """Whether some trials went on beyond the last step that all share."""


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
    whole, own = take(known, ~diverged), values[~diverged][:, drawn]
    level = untrained(metric, int(known["classes"][0]))
    ends, bare = _ended(steps, values[diverged], curves.ended[diverged], drawn, level)
    return Series(
        mean=_mean(whole, steps[drawn], own, is_accuracy(metric)) if length(whole) else [],
        ended=ends,
        waiting=waiting,
        every=every,
        not_finite=int((~np.isfinite(own)).sum()),
        marks_only=bare,
        until=float(np.max(known["steps"])) if "steps" in known else float(steps[-1]) if len(steps) else 1.0,
        shortened=bool(length(whole) and len(steps) and "steps" in whole and np.max(whole["steps"]) > steps[-1]),
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
    numbers = (float(seeds.mean()), *student(seeds))
    drawn = (None if each is None else min(max(each, 0.0), 100.0) if accuracy else math.exp(each) for each in numbers)
    return dict(zip(("mean", "low", "high"), drawn, strict=True))


def student(values: Values) -> tuple[float | None, float | None]:
    """The 95% interval of the mean of independent values, by Student's t; None of fewer than two."""
    from scipy.special import stdtrit  # slow to import

    if len(values) < 2:
        return None, None
    half = float(stdtrit(len(values) - 1, 0.975)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def _ended(
    steps: Values, values: Values, ended: Mask, drawn: npt.NDArray[np.intp], level: float
) -> tuple[list[Row], int]:
    """`values` and `ended` [trials, steps], of trials that diverged; and how many have a mark alone. Lines go through
    the `drawn` steps and the last one; the steps at which most end come first."""
    if not len(values):
        return [], 0
    last = (~ended).sum(axis=1) - 1
    found, sizes = np.unique(last, return_counts=True)
    lined = set(found[np.argsort(-sizes, kind="stable")][:MOST_ENDS].tolist())
    rows = []
    for index, size in zip(found.tolist(), sizes.tolist(), strict=True):
        own = values[last == index]
        if index < 0:
            first = float(steps[0]) if len(steps) else 1.0
            rows.append({"step": first, "value": level, "last": first, "runs": size})
            continue
        for at in [*(drawn[drawn < index].tolist() if index in lined else ()), index]:
            finite = own[np.isfinite(own[:, at]), at]
            value = float(finite.mean()) if len(finite) else level
            rows.append({"step": float(steps[at]), "value": value, "last": float(steps[index]), "runs": size})
    return rows, int(sizes[[index not in lined for index in found.tolist()]].sum())


def notes(series: Mapping[str, Series], metric: str = "validation_accuracy") -> list[str]:
    """What a reader must know of these series, in sentences."""
    known = list(series.values())
    alive = [row for one in known for row in one.mean]
    diverged = sum(row["runs"] for one in known for row in one.ended if row["step"] == row["last"])
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
    bare = sum(one.marks_only for one in known)
    if bare:
        sentences.append(f"{counted(bare, 'trial')} of these, which ended where few did, have marks alone.")
    lost = sum(one.not_finite for one in known)
    if lost:
        sentences.append(f"Left out: {counted(lost, 'evaluation')} without a finite number.")
    if any(one.shortened for one in known):
        sentences.append("A curve ends with the last step that all of its trials share.")
    if every > 1:
        sentences.append(f"One evaluation in {every} is drawn.")
    return [*sentences, *left_out(sum(one.waiting for one in known))]


def left_out(waiting: int) -> list[str]:
    """A sentence about trials that have not ended, where there are any."""
    return [f"{counted(waiting, 'trial')} not ended yet, and left out."] if waiting else []
