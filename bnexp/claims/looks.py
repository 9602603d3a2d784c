"""Looks: how many seeds a claim may be judged at, and how much of alpha each look spends.

Who looks at ten seeds, and at twenty where ten did not decide, has two chances to be wrong. So the looks are fixed
beforehand, and share alpha between them (Bonferroni): whoever follows them errs in at most 5% of all claims, wherever
they stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

ALPHA = 0.05

SPENT = (0.025, 0.0125, 0.0125)
"""Of ALPHA, at each look; the first has most, since most claims are judged once."""

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


def ascending(looks: tuple[int, ...]) -> tuple[int, ...]:
    """Looks as somebody wrote them. Raises ValueError where there are more than alpha is spent on, or out of order."""
    if len(looks) > len(SPENT) or any(later <= earlier for earlier, later in pairwise((0, *looks))):
        raise ValueError(f"must be at most {len(SPENT)} numbers of seeds, each above the one before")
    return looks


def look_at(seeds: int, looks: Sequence[int]) -> Look | None:
    """The look that so many seeds are; None where they are none of the preset ones."""
    if seeds not in looks:
        return None
    number = list(looks).index(seeds)
    following = looks[number + 1] if number + 1 < len(looks) else None
    return Look(number + 1, seeds, SPENT[number], following)
