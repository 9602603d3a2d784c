"""Figure 2 of the paper: accuracy by training steps of its variants, and when each comes to the control's best."""

from collections.abc import Sequence
from typing import Any

from bnexp.reports.charts import lines
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.beside import Variants, steps_of, variants
from bnexp.reports.charts.means import Row, notes, series_of
from bnexp.reports.charts.names import label, labels, titled
from bnexp.reports.charts.themes import WIDTH
from bnexp.text import with_overrides

PANEL = WIDTH - 60
"""Pixels; the rest is for the axis."""
ABOVE, BELOW = 1.5, 6.0
"""Points of accuracy above the highest mean, and below the target, that the enlarged panel shows."""
WORTH = 15.0
"""Points; a panel that would show more than these enlarges too little."""


def figure_2(asked: Asked) -> Any:
    """Accuracy by training steps of the paper's variants, with the control's best (Figure 2)."""
    import altair as alt

    found = variants(asked)
    told = {found.names[line.name]: f"{found.names[line.name]}: {steps_of(line)}" for line in found.lines}
    order = [told.get(name, name) for name in found.order]
    series = {
        told[found.names[line.name]]: series_of(found.trials[line.name], asked.results.curves) for line in found.lines
    }
    axis = "validation accuracy, %"
    whole = lines.chart(series, axis, width=PANEL, height=260, order=order)
    title = titled(
        f"Validation accuracy of the paper's variants: {with_overrides(found.instance.name, found.instance.overrides)}",
        f"On {found.scale}.",
        _target(found),
        *notes(series),
        found.absent,
    )
    target = found.beside.target
    if target is None:
        return whole.properties(title=title)
    highest = max(row["mean"] for one in series.values() for row in one.mean)
    domain = [max(0.0, target - BELOW), min(100.0, highest + ABOVE)]
    marks = _marks(found, order, target)
    control = label(found.names[found.beside.table.control or ""])
    upper = whole + lines.level(target, f"best of {control}: {target:.1f}%") + marks
    if domain[1] - domain[0] > WORTH:
        return upper.properties(title=title)
    enlarged = lines.chart(series, axis, width=PANEL, height=200, order=order, domain=domain)
    lower = (enlarged + lines.level(target, "") + marks).properties(title=alt.Title("Enlarged", fontSize=12, offset=4))
    return alt.vconcat(upper, lower).properties(title=title)


def _target(found: Variants) -> str:
    control = found.beside.control
    if found.beside.target is None or control is None:
        return "There is no target: the control has no curves that have ended."
    return (
        f"Rule: the best of the mean curve of {found.names[control.name]}. Diamonds, and numbers in the legend: the "
        "steps by which half of the seeds (where fewer do: their mean) have come to it."
    )


def _marks(found: Variants, order: Sequence[str], target: float) -> Any:
    """A diamond a variant, where it comes to the target. `order` has the names of all series."""
    import altair as alt

    names = labels(order)
    series = dict(zip(found.order, names.values(), strict=True))
    reached = [line for line in found.lines if steps_of(line) != "diverged"]
    rows: list[Row] = [
        {"series": series[found.names[line.name]], "target": target}
        | {"step": line.course.steps, "reached": line.course.reached}
        for line in reached
        if line.course and line.course.steps is not None
    ]
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_point(shape="diamond", filled=True, size=110, opacity=1)
        .encode(
            x="step:Q",
            y="target:Q",
            color=alt.Color("series:N", scale=alt.Scale(domain=list(names.values()))),
            tooltip=[
                alt.Tooltip("series:N", title="variant"),
                alt.Tooltip("step:Q", title="steps to the control's best", format=",.0f"),
                alt.Tooltip("reached:Q", title="seeds that come to it"),
            ],
        )
    )
