"""A claim's number on an axis: in which unit and contrast it is, and where its limits lie. Pure functions.

Numbers share an axis only where both unit and contrast are the same.
"""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bnexp.claims.findings import Finding, Limits, Number
from bnexp.claims.model import Estimator, Unit
from bnexp.claims.report import Entry
from bnexp.claims.rules import Rule, bounds
from bnexp.reports import numbers, words
from bnexp.reports.charts.names import label

Row = dict[str, Any]

AXES = {
    "difference": "test accuracy: treatment minus control, percentage points",
    "best_difference": "test accuracy: treatment minus control, percentage points",
    "spread_difference": "spread of test accuracy over a factor: treatment minus control, percentage points",
    "interaction": "gain in test accuracy: treatment minus control, percentage points",
    "maximum_difference": "largest validation accuracy: treatment minus control, percentage points",
    "matched_loss_gap": "gap of accuracies at equal loss: control minus treatment, percentage points",
    "steps_ratio": "steps to the target: control over treatment",
    "largest_trained": "largest level that trains: treatment over control",
    "percentile_drift": "drift of the last hidden layer's inputs: control over treatment",
    "tolerated_range": "levels near the best: treatment minus control, decades",
    "rate": "share of seeds that trained: treatment alone",
    "growth_per_layer": "growth of the squared gradient norm: factor a layer",
    "largest_error": "largest relative error",
    "ensemble_gain": "test error: ensemble minus its best member, percentage points",
}
"""What each estimator's axis says. One that is not here has an axis of its own name and unit."""
LOGARITHMIC = ("log2", "error")
NO_EFFECT: dict[Unit, float] = {"points": 0.0, "rate": 0.0, "decades": 0.0, "log2": 1.0, "factor": 1.0, "number": 0.0}
"""Where nothing differs; shares and errors have no such place."""
LEAST = 1e-18
"""Stands for 0 on a logarithmic axis."""
CONTRAST = 84
"""Characters of a line that says what is compared."""
ROOM = 0.08
"""Of an axis's length, beyond the outermost number."""
ENLARGED = 8.0
"""How many times smaller numbers must be than the largest to have an axis of their own, on which they can be seen."""


@dataclass(frozen=True)
class Panel:
    """The claims on one axis."""

    title: str
    logarithmic: bool
    rows: list[Row]
    """A row a claim: claim, verdict, contrast (in lines), measured (in words); point, the bound where only that is
    known, low and high, None where there is none; below and above: the ends of the axis, where the interval goes on
    beyond them; limits: from, to, and which verdict they are of."""
    domain: tuple[float, float]
    no_effect: float | None
    """Where nothing differs."""


def axis_of(how: Estimator) -> tuple[str, bool]:
    """The title of the axis that an estimator's effect belongs on, and whether it is logarithmic."""
    title = AXES.get(how.name, f"{how.name.rpartition(':')[2].replace('_', ' ')} ({how.unit})")
    if how.of == "trained" and how.unit == "rate":
        title = title.replace("test accuracy", "seeds that trained")
    if how.name == "ensemble_gain":
        title = title.replace("test error", how.measure.replace("top", "top-").replace("_", " "))
    logarithmic = how.unit in LOGARITHMIC
    return title + " (logarithmic)" * logarithmic, logarithmic


def panels(entries: list[Entry]) -> list[Panel]:
    """The claims that have numbers, those of one unit and contrast together, in the order of the entries."""
    together: dict[tuple[str, bool, float | None], list[Row]] = {}
    for entry in entries:
        if shown := entry.finding.shown:
            how = entry.finding.claim.parts()[shown.name].estimator
            together.setdefault((*axis_of(how), NO_EFFECT.get(how.unit)), []).append(row_of(entry, shown))
    found = []
    for (title, logarithmic, no_effect), rows in together.items():
        for part, own in _by_size(title, rows, logarithmic):
            domain = _domain(own, logarithmic, no_effect)
            found.append(Panel(part, logarithmic, [_within(row, domain) for row in own], domain, no_effect))
    return found


def _by_size(title: str, rows: list[Row], logarithmic: bool) -> list[tuple[str, list[Row]]]:
    """Large numbers, and small ones that could not be seen beside them, which have the same axis enlarged."""
    extents = [max((abs(value) for value in _finite([row])), default=0.0) for row in rows]
    small = [row for row, extent in zip(rows, extents, strict=True) if ENLARGED * extent < max(extents)]
    if logarithmic or not small:
        return [(title, rows)]
    large = [row for row in rows if row not in small]
    return [(title, large), (f"{title} (enlarged)", small)]


def row_of(entry: Entry, number: Number) -> Row:
    """A claim's number as it is drawn, ratios as ratios; ends may be infinite."""
    finding = entry.finding
    several = len(finding.numbers)
    more = f" (1 of {several} numbers)" if several > 1 else ""
    point, low, high = (_drawn(end, number) for end in (number.effect.point, number.effect.low, number.effect.high))
    unbounded = numbers.unbounded(number.effect)
    at = next((value for value in (point, low, high) if math.isfinite(value)), None)
    return {
        "claim": label(finding.name) + "†" * entry.post_hoc,
        "verdict": finding.answer,
        "contrast": textwrap.wrap(label(words.measured(finding.claim, number.name), 160) + more, CONTRAST)[:2],
        "measured": "; ".join(f"{label(one.name)}: {numbers.sentence(one)}" for one in finding.numbers),
        "point": at,
        "low": None if unbounded else low,
        "high": None if unbounded else high,
        "limits": list(limits(entry, number)),
    }


def limits(entry: Entry, number: Number) -> Iterator[Row]:
    """Where the whole interval of a claim's number must be for each verdict; ends may be infinite."""
    finding, scale = entry.finding, _scale(entry)
    for verdict, rule in (("supported", finding.claim.supported_if), ("refuted", finding.claim.refuted_if)):
        for leaf in _leaves(rule, finding, number):
            low, high = (_drawn(end, number) for end in bounds(leaf, number.name, scale))
            yield {"of": verdict, "from": low, "to": high}


def _scale(entry: Entry) -> Limits:
    margin = entry.report.instance.margin if entry.report else 1.0
    return Limits({one.name: one.unit for one in entry.finding.numbers}, margin)


def _leaves(rule: Rule | None, finding: Finding, number: Number) -> list[Rule]:
    """The rules about a number."""
    alone = (None,) if len(finding.numbers) == 1 else ()
    return [leaf for leaf in (rule.leaves() if rule else ()) if leaf.of in (number.name, *alone)]


def _drawn(value: float, number: Number) -> float:
    """As it stands on the axis."""
    if number.unit == "log2":
        return 2.0**value if abs(value) <= numbers.LARGEST_LOG else value
    return value


def _finite(rows: list[Row]) -> list[float]:
    """The numbers of rows, and their limits, that have a place on an axis."""
    known = [row[name] for row in rows for name in ("point", "low", "high")]
    known += [limit[end] for row in rows for limit in row["limits"] for end in ("from", "to")]
    return [value for value in known if value is not None and math.isfinite(value)]


def _domain(rows: list[Row], logarithmic: bool, no_effect: float | None) -> tuple[float, float]:
    """From the smallest to the largest finite number of the rows, no effect included, and some room."""
    finite = _finite(rows) + [value for value in (no_effect,) if value is not None]
    if logarithmic:
        finite = [math.log10(max(value, LEAST)) for value in finite]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    room = ROOM * (high - low or 1.0)
    return (10.0 ** (low - room), 10.0 ** (high + room)) if logarithmic else (low - room, high + room)


def _within(row: Row, domain: tuple[float, float]) -> Row:
    """The row with all ends on the axis; an interval that goes on beyond it says at which end."""

    def cut(value: float | None) -> float | None:
        return None if value is None else min(max(value, domain[0]), domain[1])

    beyond: Row = {"below": None, "above": None}
    if row["low"] is not None and row["point"] is not None:
        beyond = {
            "below": domain[0] if row["low"] < domain[0] else None,
            "above": domain[1] if row["high"] > domain[1] else None,
        }
    limits = [{**limit, "from": cut(limit["from"]), "to": cut(limit["to"])} for limit in row["limits"]]
    return {**row, **{name: cut(row[name]) for name in ("point", "low", "high")}, **beyond, "limits": limits}
