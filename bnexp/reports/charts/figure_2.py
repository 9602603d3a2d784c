"""Figure 2 of the paper: accuracy by training steps of its variants, and when each comes to the control's best."""

from typing import Any

from bnexp.reports.charts import lines
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.beside import Variants, called, steps_of, variants
from bnexp.reports.charts.means import Row, notes, series_of
from bnexp.reports.charts.names import label, titled
from bnexp.reports.charts.themes import WIDTH
from bnexp.text import with_overrides

PANEL = WIDTH - 280
"""Pixels; the rest is for the names of the variants."""
ABOVE, BELOW = 1.5, 6.0
"""Points of accuracy above the highest mean, and below the target, that the enlarged panel shows."""
WORTH = 15.0
"""Points; a panel that would show more than these enlarges too little."""


def figure_2(asked: Asked) -> Any:
    """Accuracy by training steps of the paper's variants, with the control's best (Figure 2)."""
    import altair as alt

    found = variants(asked)
    series = {
        f"{called(line)}: {steps_of(line)}": series_of(found.trials[line.name], asked.results.curves)
        for line in found.lines
    }
    axis = "validation accuracy, %"
    whole = lines.chart(series, axis, width=PANEL, height=260)
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
    names = {line.name: name for line, name in zip(found.lines, lines.rows(series)[2], strict=True)}
    highest = max(row["mean"] for one in series.values() for row in one.mean)
    domain = [max(0.0, target - BELOW), min(100.0, highest + ABOVE)]
    marks = _marks(found, names, target)
    upper = whole + lines.level(target, f"best of {label(found.beside.table.control or '')}: {target:.1f}%") + marks
    if domain[1] - domain[0] > WORTH:
        return upper.properties(title=title)
    enlarged = lines.chart(series, axis, width=PANEL, height=200, domain=domain)
    lower = (enlarged + lines.level(target, "") + marks).properties(title=alt.Title("Enlarged", fontSize=12, offset=4))
    return alt.vconcat(upper, lower).properties(title=title)


def _target(found: Variants) -> str:
    control = found.beside.control
    if found.beside.target is None or control is None:
        return "There is no target: the control has no curves that have ended."
    return (
        f"Rule: the best of the mean curve of {called(control)}. Diamonds, and numbers in the legend: the steps by "
        "which half of the seeds (where fewer do: their mean) have come to it."
    )


def _marks(found: Variants, names: dict[str, str], target: float) -> Any:
    """A diamond a variant, where it comes to the target."""
    import altair as alt

    rows: list[Row] = [
        {"series": names[line.name], "step": line.course.steps, "target": target, "reached": line.course.reached}
        for line in found.lines
        if line.course and line.course.steps is not None and steps_of(line) != "diverged"
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
