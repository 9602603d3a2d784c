"""Trials that diverged, in charts of lines: thin lines up to marks that nothing else has, none upon another."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bnexp.reports.charts.means import Row

CROSS = "M-0.7,-0.7L0.7,0.7M0.7,-0.7L-0.7,0.7"
"""A shape that only trials that diverged have."""
WIDE = 11
"""Pixels of a mark's width."""
NEAR = 0.03
"""Of the vertical axis: marks at one step that are nearer than this stand beside each other."""


def died(
    ended: Sequence[Row], y: str, x: Any, scale: Any, colour: Any, apart: Mapping[int, Sequence[Row]]
) -> list[Any]:
    """The layers of trials that diverged, their marks `apart` as `beside` puts them. Nothing is drawn beyond what the
    vertical axis shows."""
    import altair as alt

    if not ended:
        return []
    at = alt.Y("value:Q", title=y, scale=scale)
    path = (
        alt.Chart(alt.InlineData(values=list(ended)))
        .mark_line(strokeWidth=1, opacity=0.7, clip=True)
        .encode(x=x, y=at, color=colour, detail="last:Q")
    )
    tooltip = [
        alt.Tooltip("series:N", title="series"),
        alt.Tooltip("runs:Q", title="trials that diverged"),
        alt.Tooltip("last:Q", title="last evaluation at step", format=",.0f"),
    ]
    marks = [
        alt.Chart(alt.InlineData(values=list(rows)))
        .mark_point(shape=CROSS, size=90, strokeWidth=2, opacity=1, xOffset=offset)
        .encode(x=x, y=at, color=colour, tooltip=tooltip)
        for offset, rows in apart.items()
    ]
    return [path, *marks]


def beside(ended: Iterable[Row], extent: tuple[float, float], last: float, *, log: bool) -> dict[int, list[Row]]:
    """The rows at which trials that diverged have their marks, by how many pixels these stand beside their step: to the
    right of it, or in the half before the `last` step to the left. `extent` is what the vertical axis shows; what is
    beyond it has no mark."""
    low, high = (_place(end, log) for end in extent)
    found: dict[int, list[Row]] = {}
    for row in ended:
        if row["step"] != row["last"] or not extent[0] <= row["value"] <= extent[1]:
            continue
        way = -WIDE if row["step"] > last / 2 else WIDE
        offset = 0
        while any(_near(row, other, (high - low) or 1.0, log) for other in found.get(offset, [])):
            offset += way
        found.setdefault(offset, []).append(row)
    return found


def _near(one: Row, other: Row, whole: float, log: bool) -> bool:
    apart = abs(_place(one["value"], log) - _place(other["value"], log))
    return bool(one["step"] == other["step"] and apart < NEAR * whole)


def _place(value: float, log: bool) -> float:
    return math.log10(max(value, 1e-30)) if log else value
