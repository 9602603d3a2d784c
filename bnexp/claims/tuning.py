"""Choosing a level of the tuned factor for each arm, from the trials of its tune stage."""

import math

import numpy as np

from bnexp.claims.arms import scored
from bnexp.columns import combinations
from bnexp.config import columns_by_name
from bnexp.records import Choice, Columns

EQUAL = 1e-9
"""Means of accuracies that differ by less are equal: one example among a million makes more of a difference than the
order of a sum."""


def choose(trials: Columns, factor: str) -> list[Choice]:
    """The level of `factor`, a field's dotted name, at which each arm of the tune stage's `trials` does best, in order
    of the arms: that of the highest mean of scored validation accuracy over its seeds, the smaller of two equal ones.

    `trials` are the columns arm, status, classes, validation_accuracy and the factor's own. All must have ended, none
    have failed (`unfinished`)."""
    column = columns_by_name()[factor]
    scores = scored(trials)
    found, place = combinations(trials, ("arm", column))
    means: dict[str, dict[float, float]] = {}
    for number, (arm, level) in enumerate(found):
        own = scores[place == number]
        means.setdefault(arm, {})[float(level)] = math.fsum(own) / len(own)
    return [_best(arm, factor, of_levels) for arm, of_levels in means.items()]


def unfinished(trials: Columns) -> int:
    """How many of the trials have not ended, or have failed: while there are any, nothing can be chosen."""
    return int((~np.isin(trials["status"].astype(str), ("finished", "diverged"))).sum())


def _best(arm: str, factor: str, means: dict[float, float]) -> Choice:
    levels = sorted(means)
    top = max(means.values())
    best = next(level for level in levels if means[level] > top - EQUAL)
    return Choice(arm, factor, best, means[best], best in (levels[0], levels[-1]))
