"""How numbers are written, the same in every format: each in its unit, and a bound as a bound."""

import math

from bnexp.claims.findings import Number
from bnexp.claims.model import Estimator, Unit
from bnexp.claims.statistics import Interval, sign_flip
from bnexp.claims.tables import Cell

LARGEST_LOG = 1000.0
"""Of a ratio that is a number still."""

SHORT: dict[Unit, str] = {"points": " pt", "rate": " pt", "decades": " dec", "factor": "/layer", "share": " trained"}
"""A unit after a number in a narrow column; ratios and errors have theirs in them."""

LONG: dict[Unit, str] = {
    "points": " points",
    "rate": " points",
    "share": " seeds",
    "decades": " decades",
    "factor": " a layer",
}

FEWEST = next(n for n in range(1, 16) if math.isfinite(sign_flip([1.0] * n).interval().low))
"""With fewer seeds no 95% interval has ends."""


def bare(value: float, unit: Unit) -> str:
    """A number without the words of its unit: +1.2, +90, 5.95x, 0.72, 1e-12."""
    match unit:
        case "points" | "decades":
            return _signed(value, 1)
        case "rate":
            return _signed(value, 0)
        case "log2":
            return "0x" if value < -LARGEST_LOG else f"{significant(2.0 ** min(value, LARGEST_LOG))}x"
        case "share":
            return f"{value:.2f}"
        case "factor":
            return f"{significant(value)}x"
        case "number":
            return f"{'+' * (value > 0)}{significant(value)}"
        case _:
            return f"{value:.1e}"


def amount(value: float, unit: Unit) -> str:
    """A difference of effects, without a sign: 1.2 points; of ratios, the factor that it is."""
    words = {"points": "points", "rate": "points", "decades": "decades", "factor": "x a layer"}
    return f"a factor of {2**value:.3g}" if unit == "log2" else f"{significant(value)} {words.get(unit, '')}".rstrip()


def _signed(value: float, digits: int) -> str:
    """Rounded, but with up to three digits more where else no side of 0 would be seen, on which verdicts hang. What is
    less than that is +0.0, from whichever side it comes."""
    enough = next((more for more in range(digits, digits + 4) if round(value, more)), digits)
    return f"{round(value, enough) + 0.0:+.{enough}f}"


def significant(value: float) -> str:
    """Three digits, and never an exponent that people have to read for a large ratio."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def unbounded(effect: Interval) -> bool:
    """Whether its interval has no ends."""
    return math.isinf(effect.low) and math.isinf(effect.high) and effect.low != effect.high


def ends(effect: Interval, unit: Unit) -> str:
    """The 95% interval; where it has one end, the bound that this is; "-" where it has none."""
    if unbounded(effect) or unit == "error":
        return "-"
    if math.isinf(effect.high):
        return f"≥ {bare(effect.low, unit)}" if math.isfinite(effect.low) else "-"
    if math.isinf(effect.low):
        return f"≤ {bare(effect.high, unit)}"
    return f"[{bare(effect.low, unit)}, {bare(effect.high, unit)}]"


def point(effect: Interval, unit: Unit, n: int) -> str:
    """What was measured. It is a bound where the interval has one end only: then some seeds gave bounds."""
    if unit == "share":
        return f"{round(effect.point * n)}/{n}"
    if unbounded(effect):
        return bare(effect.point, unit) if n < FEWEST and math.isfinite(effect.point) else "-"
    if math.isinf(effect.high):
        return f"≥ {bare(effect.point, unit)}" if math.isfinite(effect.point) else ends(effect, unit)
    if math.isinf(effect.low):
        return f"≤ {bare(effect.point, unit)}" if math.isfinite(effect.point) else ends(effect, unit)
    return bare(effect.point, unit)


def short(number: Number) -> str:
    """For a narrow column: +1.2 pt."""
    text = point(number.effect, number.unit, number.n)
    return text if text == "-" else text + SHORT.get(number.unit, "")


def both(effect: Interval, unit: Unit, n: int) -> str:
    """An effect and its interval, in a table's cell: +1.2 [+0.4, +2.0]."""
    measured, interval = point(effect, unit, n), ends(effect, unit)
    return measured if interval in ("-", measured) else f"{measured} [{interval.strip('[]')}]"


def sentence(number: Number) -> str:
    """For a line of text: +1.2 points [+0.4, +2.0], n = 10 seeds."""
    effect, unit = number.effect, number.unit
    measured = point(effect, unit, number.n)
    if unit == "error":
        return f"{measured}, exact"
    if measured != "-":
        measured += LONG.get(unit, "")
    interval = ends(effect, unit)
    if interval == "-":
        why = f"no interval below {FEWEST} seeds" if number.n < FEWEST else "nothing bounds it"
        return f"{why if measured == '-' else f'{measured} ({why})'}, n = {number.n}"
    if not interval.startswith("["):
        interval = f"(95%: {interval})"
    return f"{measured} {interval}, n = {number.n}"


def cell(value: Cell | None, how: Estimator) -> str:
    """An arm's mean; a rate of seeds with its count and Wilson interval in percent."""
    if value is None:
        return "-"
    if value.rate is not None:
        count = round(value.rate.point * value.n / 100)
        return f"{count}/{value.n} [{value.rate.low:.0f}, {value.rate.high:.0f}]"
    if math.isinf(value.mean):
        return "never"
    match how.name:
        case "steps_ratio":
            return f"{value.mean:,.0f}"
        case "largest_trained" | "percentile_drift" | "growth_per_layer":
            return significant(value.mean)
        case "largest_error":
            return f"{value.mean:.1e}"
        case _ if how.unit in ("number", "log2"):
            return significant(value.mean)
        case _:
            return f"{round(value.mean, 1) + 0.0:.1f}"


def p_value(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}" if p >= 0.001 else "< 0.001"
