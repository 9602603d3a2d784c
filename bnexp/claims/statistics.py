"""Exact statistics for few seeds: pure functions of numbers."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

EXACT_UP_TO = 16
"""More differences than these have too many subsets; a fixed random sample of subsets stands for them."""
SAMPLED_SUBSETS = 2**16 - 1
Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """A point and its 95% interval; infinite where so few values allow none."""

    point: float
    low: float
    high: float


@dataclass(frozen=True)
class SignFlip:
    """The sign-flip (randomization) test of paired differences that are symmetric about their centre.

    By Hartigan's typical values (1969), the sorted means of all non-empty subsets of the differences cut the line into
    2^n parts that are equally likely to hold the centre; test and interval both come from their ranks, so they never
    contradict each other."""

    mean: float
    subset_means: Values

    @property
    def parts(self) -> int:
        return len(self.subset_means) + 1

    def p_greater(self, limit: float) -> float:
        """One-sided p for a centre above `limit`."""
        return (1 + int(np.sum(self.subset_means <= limit + self._tie(limit)))) / self.parts

    def p_less(self, limit: float) -> float:
        """One-sided p for a centre below `limit`."""
        return (1 + int(np.sum(self.subset_means >= limit - self._tie(limit)))) / self.parts

    def _tie(self, limit: float) -> float:
        """What summation does to the last digits must not part a mean from a limit that it equals."""
        finite = self.subset_means[np.isfinite(self.subset_means)]
        return 1e-11 * max(abs(limit), float(np.abs(finite).max(initial=0.0)))

    def interval(self, level: float = 0.95) -> Interval:
        """All centres that the two-sided test at 1 - level does not reject, their ends included."""
        rank = math.floor((1 - level) / 2 * self.parts)
        if rank == 0:
            return Interval(self.mean, -math.inf, math.inf)
        return Interval(self.mean, float(self.subset_means[rank - 1]), float(self.subset_means[-rank]))


def sign_flip(differences: Sequence[float] | Values) -> SignFlip:
    """The test for these differences, one a seed. They must not be NaN; infinite ones of one sign are allowed.

    Raises ValueError where there are none."""
    values = np.asarray(differences, dtype=np.float64)
    if values.size == 0 or np.isnan(values).any():
        raise ValueError("sign_flip needs at least one difference, and none of them NaN")
    count = len(values)
    if count <= EXACT_UP_TO:
        subsets = np.array(list(itertools.product((False, True), repeat=count))[1:])
    else:
        subsets = np.random.Generator(np.random.Philox(key=count)).random((SAMPLED_SUBSETS, count)) < 0.5
        subsets = subsets[subsets.any(axis=1)]
    # Means that are equal must stay so, whatever summation does to their last digits.
    sums = np.where(subsets, values.astype(np.longdouble), 0).sum(axis=1)
    grain = 1e-12 * np.abs(values[(values != 0) & np.isfinite(values)]).min(initial=1.0)
    means = np.round(sums / subsets.sum(axis=1) / grain) * grain
    return SignFlip(float(np.mean(values)), np.sort(means.astype(np.float64)))


def wilson(successes: int, trials: int) -> Interval:
    """A rate and its 95% score interval (Wilson 1927)."""
    if trials == 0:
        return Interval(math.nan, 0.0, 1.0)
    rate, z2 = successes / trials, Z_95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted
