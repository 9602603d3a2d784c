"""Figure 3 of the paper, a table, as a chart: steps to the control's best, and the best accuracy, of each variant."""

from typing import Any

from bnexp.claims.beside import Line
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.beside import Variants, steps_of, variants
from bnexp.reports.charts.means import Row
from bnexp.reports.charts.names import labels, titled
from bnexp.reports.charts.themes import WIDTH
from bnexp.text import with_overrides

OURS, PAPER = "measured here", "the paper"
PANEL = (WIDTH - 160) // 2
"""Pixels of each of two panels; the rest is for the names of the variants."""
ROW = 44
"""Pixels of a variant."""
BEYOND = 0.06
"""Of the extent of the accuracies, on either side."""
LEFT, RIGHT = 1.5, 8
"""Factors by which the axis of ratios goes on beyond the smallest and the largest, for words beside them."""


def figure_3(asked: Asked) -> Any:
    """Steps to the control's best and best accuracy of the paper's variants, beside the paper's numbers (Figure 3)."""
    import altair as alt

    found = variants(asked)
    rows = _rows(found)
    order = list(dict.fromkeys(row["variant"] for row in rows))
    panels = [_panel(rows, order, "times", "times fewer steps than the control (logarithmic)", log=True)]
    panels.append(_panel(rows, order, "accuracy", "best validation accuracy, %", log=False))
    return alt.hconcat(*panels, spacing=18).properties(title=_title(found))


def _title(found: Variants) -> dict[str, object]:
    table = found.beside.table
    target = found.beside.target
    best = "" if target is None else f" ({target:.1f}% here)"
    name = with_overrides(found.instance.name, found.instance.overrides)
    return titled(
        f"Steps and best accuracy of the paper's variants: {name}",
        f"Left: the control's steps to its own best{best} over a variant's steps to it; words where it has none.",
        "Right: the largest on each seed's curve, mean over seeds; bars: its 95% interval (exact sign-flip), of ours.",
        f"Here: {found.scale}. The paper: {table.scale or 'at its own scale'}; its accuracies are of other data.",
        found.absent,
    )


def _rows(found: Variants) -> list[Row]:
    """Two rows a variant: ours and the paper's."""
    names = labels(found.names[line.name] for line in found.lines)
    control = found.beside.table.rows[found.beside.table.control or ""].steps
    rows = []
    for line in found.lines:
        name = names[found.names[line.name]]
        rows.append({"variant": name, "who": OURS, **_ours(line)})
        rows.append({"variant": name, "who": PAPER, **_theirs(line, control)})
    return rows


def _ours(line: Line) -> Row:
    course = line.course
    best = course.best if course else None
    ends = {} if best is None or best.low == -float("inf") else {"low": best.low, "high": min(best.high, 100.0)}
    steps = steps_of(line)
    return {
        "times": course.ratio if course and steps != "diverged" else None,
        "words": f"{steps} steps" if steps[0].isdigit() else steps,
        "accuracy": best.point if best else None,
        **ends,
    }


def _theirs(line: Line, control: float | str | None) -> Row:
    row = line.paper
    steps = row.steps
    there = isinstance(steps, float) and isinstance(control, float)
    words = f"{steps / 1e6:g} million steps" if isinstance(steps, float) else steps or row.outcome or "not said"
    return {
        "times": control / steps if there and isinstance(steps, float) and isinstance(control, float) else None,
        "words": words,
        "accuracy": row.accuracy,
    }


def shares(rows: list[Row]) -> list[float]:
    """The ends of the axis of accuracies, some room beyond the outermost; none is below 0 or above 100%."""
    known = [row[name] for row in rows for name in ("accuracy", "low", "high") if row.get(name) is not None]
    low, high = min(known, default=0.0), max(known, default=100.0)
    room = BEYOND * ((high - low) or 1.0)
    return [max(0.0, low - room), min(100.0, high + room)]


def _panel(rows: list[Row], order: list[str], field: str, title: str, *, log: bool) -> Any:
    """A dot for us and the paper in each variant's place, and our interval where there is one."""
    import altair as alt

    first = field == "times"
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("variant:N", sort=order, title=None, axis=alt.Axis(labels=first, ticks=False, domain=False)),
        yOffset=alt.YOffset("who:N", sort=[OURS, PAPER]),
        color=alt.Color("who:N", title=None, scale=alt.Scale(domain=[OURS, PAPER]), legend=alt.Legend(orient="bottom")),
    )
    scale, axis = alt.Scale(domain=shares(rows), nice=False, zero=False), alt.Axis(tickCount=4)
    if log:
        known = [row["times"] for row in rows if row["times"]] or [1.0]
        scale = alt.Scale(type="log", nice=False, domain=[min(known) / LEFT, max(known) * RIGHT])
    at = alt.X(f"{field}:Q", title=title, scale=scale, axis=axis)
    shape = alt.Shape("who:N", title=None, scale=alt.Scale(domain=[OURS, PAPER], range=["circle", "diamond"]))
    tooltip = [
        alt.Tooltip("variant:N"),
        alt.Tooltip("who:N", title="of"),
        alt.Tooltip("times:Q", title="times fewer steps", format=".3~g"),
        alt.Tooltip("words:N", title="steps"),
        alt.Tooltip("accuracy:Q", title="best accuracy, %", format=".4~g"),
    ]
    layers = [base.mark_point(filled=True, size=90, opacity=1).encode(x=at, shape=shape, tooltip=tooltip)]
    if first:
        told = base.mark_text(align="left", fontSize=11, dx=9).encode(x=at, text="words:N")
        missing = base.transform_filter("datum.times === null")
        layers += [told, missing.mark_text(align="left", fontSize=11, dx=9).encode(x=alt.value(0), text="words:N")]
    else:
        layers.insert(0, base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q"))
    return alt.layer(*layers).properties(width=PANEL, height=alt.Step(ROW // 2))
