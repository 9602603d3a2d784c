"""Between a verdict and the row that keeps it. Pure functions."""

import math
from collections.abc import Mapping
from typing import Any

from bnexp.claims.expectations import Known
from bnexp.claims.findings import Finding, Number
from bnexp.claims.model import Unit
from bnexp.claims.statistics import Interval
from bnexp.db.rows import Judged

STORED_UNITS: dict[Unit, str] = {"rate": "points", "log2": "times"}
"""What a stored effect is in, where it is not what it was judged in."""


def judged(finding: Finding) -> Judged:
    """A finding as it is stored, the number that its answer hangs on in front. Ratios are stored as ratios."""
    measures = [stored(number) | {"deciding": number is finding.shown} for number in finding.numbers]
    shown = next((measure for measure in measures if measure["deciding"]), {})
    return Judged(
        finding.claim.key(finding.name),
        finding.answer,
        effect=shown.get("effect"),
        low=shown.get("low"),
        high=shown.get("high"),
        unit=shown.get("unit"),
        n=finding.n if measures else None,
        p=finding.p,
        p_adjusted=finding.p_adjusted,
        sentence=finding.sentence,
        look=finding.look.number if finding.look else None,
        alpha=finding.look.alpha if finding.look else None,
        measures=[_as_json(measure) for measure in measures] or None,
        trials=len(finding.trial_keys) if measures else None,
    )


def stored(number: Number) -> dict[str, Any]:
    """A number as it is stored: name, effect, low, high, unit and n, ratios as ratios."""
    ends = {"effect": number.effect.point, "low": number.effect.low, "high": number.effect.high}
    ratio = number.unit == "log2"
    return {
        "name": number.name,
        **{name: 2.0**end if ratio else end for name, end in ends.items()},
        "unit": STORED_UNITS.get(number.unit, number.unit),
        "n": number.n,
    }


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no infinite numbers: they are text."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def known_effects(rows: Mapping[str, tuple[float, float, float, str, int]]) -> dict[str, Known]:
    """Stored effects as they were measured, ratios as logarithms again."""
    known = {}
    for claim, (effect, low, high, unit, n) in rows.items():
        ratio = unit == STORED_UNITS["log2"]
        point, *ends = (_log2(number) if ratio else number for number in (effect, low, high))
        known[claim] = Known(Interval(point, *ends), n)
    return known


def _log2(ratio: float) -> float:
    return math.log2(ratio) if ratio > 0 else -math.inf
