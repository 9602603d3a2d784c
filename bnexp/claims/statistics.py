"""Exact statistics for few seeds: pure functions of numbers."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

EXACT_UP_TO = 16
"""More differences than these have too many subsets; a fixed random sample of subsets stands for them."""
SAMPLED_SUBSETS = 2**16 - 1
FEWEST_SUBSETS = 2**12 - 1
MEMBERSHIPS = 2**22
"""Subsets times differences, about: from 65 differences on, the sample has fewer subsets, down to FEWEST_SUBSETS."""
BLOCK = 2**19
"""Memberships that are drawn at a time."""
BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float64)
"""[256, 8] The bits of each byte."""
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
    """The median of the subsets' means where differences are infinite on both sides."""
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
    """The test for these differences, one a seed. They must not be NaN. Infinite ones are farther than any other, and
    as far as each other: where a subset has as many of both signs, its others decide.

    Raises ValueError where there are none."""
    values = np.asarray(differences, dtype=np.float64)
    if values.size == 0 or np.isnan(values).any():
        raise ValueError("sign_flip needs at least one difference, and none of them NaN")
    subsets, sizes = _subsets(len(values))
    # Means that are equal must stay so, whatever summation does to their last digits.
    grain = 1e-12 * np.abs(values[(values != 0) & np.isfinite(values)]).min(initial=1.0)
    means = np.round(_sums(subsets, values) / sizes / grain) * grain
    ordered = np.sort(means.astype(np.float64))
    both = bool(np.isposinf(values).any() and np.isneginf(values).any())
    return SignFlip(float(ordered[len(ordered) // 2]) if both else float(np.mean(values)), ordered)


@lru_cache(maxsize=4)
def _subsets(count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.longdouble]]:
    """[bytes, subsets] and [subsets] The members of each non-empty subset, of all of them or of the sample, a bit for
    each difference; and how many members it has."""
    if count <= EXACT_UP_TO:
        packed = _packed((np.arange(1, 2**count)[:, None] >> np.arange(count)) % 2 == 1)
    else:
        number = max(FEWEST_SUBSETS, min(SAMPLED_SUBSETS, MEMBERSHIPS // count))
        random = np.random.Generator(np.random.Philox(key=count))
        rows = 1 + BLOCK // count
        sizes = (min(rows, number - start) for start in range(0, number, rows))
        packed = np.concatenate([_packed(random.random((size, count)) < 0.5) for size in sizes], axis=1)
    return packed, _sums(packed, np.ones(count))


def _packed(members: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(np.packbits(members[members.any(axis=1)], axis=1).T)


def _sums(subsets: npt.NDArray[np.uint8], values: Values) -> npt.NDArray[np.longdouble]:
    """[subsets] The sum of each subset's `values`, looked up eight at a time. The high halves of the numbers add up
    without any rounding, and that of the low halves is beyond the last digit."""
    eights = np.zeros((len(subsets), 8))
    eights.flat[: len(values)] = np.where(np.isfinite(values), values, 0.0)
    unit = 2.0 ** (np.frexp(np.abs(eights).max())[1] - 26)
    high = np.round(eights / unit) * unit
    sums = np.zeros(subsets.shape[1], dtype=np.longdouble)
    for half in (high, eights - high):
        part = np.zeros(subsets.shape[1])
        for table, members in zip(np.einsum("bk,vk->bv", half, BYTES), subsets, strict=True):
            part += table.take(members)
        sums += part
    surplus = np.zeros(subsets.shape[1], dtype=np.int64)
    for index in np.flatnonzero(np.isinf(values)):
        members = (subsets[index // 8] >> (7 - index % 8) & 1).astype(np.int64)
        surplus += members if values[index] > 0 else -members
    sums[surplus > 0], sums[surplus < 0] = math.inf, -math.inf
    return sums


@dataclass(frozen=True)
class Bounded:
    """A sign-flip test of differences of which some are known as bounds only: what speaks for a centre above a limit is
    judged by the lower bounds, what speaks for one below it by the upper ones."""

    lowest: SignFlip
    highest: SignFlip

    def p_greater(self, limit: float) -> float:
        return self.lowest.p_greater(limit)

    def p_less(self, limit: float) -> float:
        return self.highest.p_less(limit)

    def interval(self) -> Interval:
        low, high = self.lowest.interval(), self.highest.interval()
        return Interval(low.point if math.isfinite(low.point) else high.point, low.low, high.high)


@dataclass(frozen=True)
class Share:
    """A share of seeds: its exact binomial test, and Wilson's interval."""

    successes: int
    trials: int

    def p_greater(self, limit: float) -> float:
        return self._tail(range(self.successes, self.trials + 1), limit)

    def p_less(self, limit: float) -> float:
        return self._tail(range(self.successes + 1), limit)

    def _tail(self, counts: Iterable[int], share: float) -> float:
        share = min(1.0, max(0.0, share))
        chances = (math.comb(self.trials, k) * share**k * (1 - share) ** (self.trials - k) for k in counts)
        return min(1.0, math.fsum(chances))

    def interval(self) -> Interval:
        return wilson(self.successes, self.trials)


@dataclass(frozen=True)
class Exact:
    """A number in which chance has no part."""

    value: float

    def p_greater(self, limit: float) -> float:
        return 0.0 if self.value >= limit else 1.0

    def p_less(self, limit: float) -> float:
        return 0.0 if self.value <= limit else 1.0

    def interval(self) -> Interval:
        return Interval(self.value, self.value, self.value)


def wilson(successes: int, trials: int) -> Interval:
    """A rate and its 95% score interval (Wilson 1927)."""
    if trials == 0:
        return Interval(math.nan, 0.0, 1.0)
    rate, z2 = successes / trials, Z_95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def welch(one: Values, other: Values) -> Interval | None:
    """The difference of two means and its 95% interval by Welch's (1947) t, the samples taken as independent; None
    where a number is infinite or a sample has fewer than two."""
    from scipy.special import stdtrit  # slow to import, and needed only here

    if min(len(one), len(other)) < 2 or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return None
    parts = [float(np.var(sample, ddof=1)) / len(sample) for sample in (one, other)]
    point, variance = float(np.mean(one) - np.mean(other)), sum(parts)
    if variance == 0:
        return Interval(point, point, point)
    freedom = variance**2 / sum(v**2 / (len(s) - 1) for v, s in zip(parts, (one, other), strict=True))
    half = float(stdtrit(freedom, 0.975)) * math.sqrt(variance)
    return Interval(point, point - half, point + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def pseudo_values(count: int, statistic: Callable[[npt.NDArray[np.intp]], float]) -> Values:
    """[count] Tukey's (1958) jackknife of a statistic of `count` units, given as the indices it uses: n times the
    whole's minus n - 1 times that without the unit. They are a sample whose mean estimates the statistic."""
    everyone = np.arange(count)
    whole = statistic(everyone)
    without = np.array([statistic(np.delete(everyone, index)) for index in everyone])
    return count * whole - (count - 1) * without
