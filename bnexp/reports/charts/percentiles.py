"""The percentiles of what enters the last hidden layer's nonlinearities, as the probe `percentiles` has them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnexp.claims.arms import Probes
from bnexp.claims.statistics import Values
from bnexp.columns import length, take
from bnexp.records import Columns
from bnexp.reports.charts.means import Row, student

PERCENTILES = {"p15": "percentiles p15", "p50": "percentiles p50", "p85": "percentiles p85"}
"""What they are called here, and in the database."""
MOST_TRIALS = 2_000
"""Whose units are read, each a number a step."""
OUTER = (10, 90)
"""Percentiles over the units, between which eight in ten of them lie."""


@dataclass(frozen=True)
class Inside:
    """What was measured of some trials."""

    lines: list[Row]
    """A row a step and percentile, of the trials that did not diverge: step, percentile, mean over units and seeds, low
    and high (the 95% interval over seeds; None of one seed)."""
    units: list[Row]
    """A row a step: low, below which the 15th percentile of one unit in ten lies, and high, above which the 85th of one
    in ten does."""
    ended: list[Row]
    """Of the trials that diverged: the step of their last measurement, the mean of the 50th percentile there, and how
    many `runs` they are."""


def first_seeds(trials: Columns) -> tuple[Columns, str]:
    """The trials of as many seeds, the smallest first, as can be read; and a sentence where these are not all."""
    seeds, sizes = np.unique(trials["seed"], return_counts=True)
    kept = max(1, int((np.cumsum(sizes) <= MOST_TRIALS).sum()))
    if kept == len(seeds):
        return trials, ""
    there = f"Percentiles are those of the first {kept} of {len(seeds)} seeds."
    return take(trials, np.isin(trials["seed"], seeds[:kept])), there


def inside(trials: Columns, probes: Probes) -> Inside:
    """What the probe saw in these trials; one without measurements has no part."""
    diverged = trials["status"] == "diverged"
    whole, gone = (take(trials, which)["trial_key"].tolist() for which in (~diverged, diverged))
    lines: list[Row] = []
    outer: list[tuple[Values, Values]] = []
    for name, column in PERCENTILES.items():
        found = probes(whole, column)
        steps = np.unique(found["step"])
        for step in steps:
            at = found["step"] == step
            values = found["value"][at].astype(np.float64)
            values = values[np.isfinite(values)]
            if len(values):
                low, high = student(values)
                lines.append(
                    {"step": int(step), "percentile": name, "mean": float(values.mean()), "low": low, "high": high}
                )
        outer.append((steps, _outer(found, steps, OUTER[0] if name == "p15" else OUTER[1])))
    (steps, lower), (_, upper) = outer[0], outer[-1]
    units = [{"step": int(step), "low": low, "high": high} for step, low, high in _finite(steps, lower, upper)]
    return Inside(lines, units, _ended(probes(gone, PERCENTILES["p50"])) if gone else [])


def _outer(found: Columns, steps: Values, percent: int) -> Values:
    """[steps] A percentile over all units of all trials; NaN where none is finite."""
    result = np.full(len(steps), np.nan)
    for index, step in enumerate(steps):
        units = np.array([number for own in found["units"][found["step"] == step] for number in own], dtype=np.float64)
        units = units[np.isfinite(units)]
        if len(units):
            result[index] = np.percentile(units, percent)
    return result


def _finite(steps: Values, lower: Values, upper: Values) -> Sequence[tuple[float, float, float]]:
    known = np.isfinite(lower) & np.isfinite(upper)
    return list(zip(steps[known].tolist(), lower[known].tolist(), upper[known].tolist(), strict=True))


def _ended(found: Columns) -> list[Row]:
    """Trials that diverged, those together whose last measurement is at the same step."""
    if not length(found):
        return []
    keys, place = np.unique(found["trial_key"].astype(str), return_inverse=True)
    last = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(last, place, found["step"])
    rows = []
    for step in np.unique(last):
        at = (found["step"] == step) & (last[place] == step)
        values = found["value"][at].astype(np.float64)
        values = values[np.isfinite(values)]
        rows.append({"step": int(step), "value": float(values.mean()) if len(values) else 0.0, "runs": int(at.sum())})
    return rows
