"""What so many seeds can find: the intervals and verdicts to expect, before there are data. Pure functions.

All distances are in standard deviations of the seeds' differences, which are taken to be normal. The formulas are those
of Student's t at the level that the sign-flip test can attain, whose few values are a step function: of 2^n equally
likely parts of the line, it leaves k on each side. What k costs besides was fitted to simulated samples
(docs/judging.md has the simulation).
"""

import math

from bnexp.claims.looks import ALPHA
from bnexp.claims.statistics import EXACT_UP_TO, Interval

POWER = 0.8
WIDER = 0.09
"""Of an interval that leaves k parts, relative to Student's: 1 + WIDER / k."""
FARTHER = 0.18
"""Of a distance that is found where k parts are left, relative to Student's: 1 + FARTHER / k."""


def half_width(n: int) -> float:
    """Half the width to expect of the 95% interval of `n` seeds; infinite where so few allow none."""
    parts, left = _parts(n, ALPHA / 2)
    if not left:
        return math.inf
    return (1 + WIDER / left) * _student(n, left / parts) * _mean_deviation(n) / math.sqrt(n)


def detectable(n: int, alpha: float = ALPHA, family: int = 1) -> float:
    """How far beyond its limit an effect must be to be found in 80% of samples of `n` seeds, by a two-sided test at
    `alpha` among `family` claims of which it is the only one that is found; infinite where none can be."""
    from scipy.special import nctdtr, ndtri  # slow to import, and needed only here

    parts, left = _parts(n, alpha / 2 / family)
    if not left:
        return math.inf
    if left == 1:  # all differences must be beyond the limit
        return float(ndtri(POWER ** (1 / n)))
    critical = _student(n, left / parts)
    low, high = 0.0, 2 * (critical + 1) / math.sqrt(n)
    while high - low > 1e-6:
        middle = (low + high) / 2
        found = 1 - float(nctdtr(n - 1, middle * math.sqrt(n), critical)) >= POWER
        low, high = (low, middle) if found else (middle, high)
    return (1 + FARTHER / left) * high


def sd_from(interval: Interval, n: int) -> float:
    """The standard deviation of the differences behind a 95% interval of `n` seeds; NaN where it has no width to tell
    from."""
    width = (interval.high - interval.low) / 2
    return width / half_width(n) if math.isfinite(width) and math.isfinite(half_width(n)) else math.nan


def widening(alpha: float, family: int) -> float:
    """How much wider an interval must be that stands for a two-sided test at `alpha` among `family` claims."""
    from scipy.special import ndtri

    return float(ndtri(1 - alpha / 2 / family) / ndtri(1 - ALPHA / 2))


def _parts(n: int, tail: float) -> tuple[int, int]:
    """Into how many parts `n` differences cut the line, and how many of them lie in a tail of so much at most."""
    parts = int(2 ** min(n, EXACT_UP_TO))
    return parts, math.floor(tail * parts + 1e-9)


def _student(n: int, tail: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 1 - tail))


def _mean_deviation(n: int) -> float:
    """The mean of a normal sample's standard deviation, in units of the true one."""
    return math.sqrt(2 / (n - 1)) * math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2))
