"""Looks: how many seeds a claim may be judged at, and how much of alpha each look spends.

Who looks at ten seeds, and at twenty where ten did not decide, has two chances to be wrong. So the looks are fixed
beforehand, and share alpha between them (Bonferroni): whoever follows them errs in at most 5% of all claims, wherever
they stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SPENT = (0.025, 0.0125, 0.0125)
"""Of alpha = 0.05, at each look; the first has most, since most claims are judged once."""

GROWTH = (1, 2, 4)
"""Seeds of each look, times those that the experiment has."""


@dataclass(frozen=True)
class Look:
    """One of the times at which a claim may be judged."""

    number: int
    """From 1."""
    seeds: int
    alpha: float
    following: int | None
    """The seeds of the next look; None after the last."""


def preset(seeds: int) -> tuple[int, ...]:
    """The looks of an experiment with so many seeds."""
    return tuple(seeds * growth for growth in GROWTH)


def look_at(seeds: int, looks: Sequence[int]) -> Look | None:
    """The look that so many seeds are; None where they are none of the preset ones."""
    if seeds not in looks:
        return None
    number = list(looks).index(seeds)
    following = looks[number + 1] if number + 1 < len(looks) else None
    return Look(number + 1, seeds, SPENT[number], following)
