"""Lines over training steps: means with their bands, and trials that diverged, which end with a mark."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bnexp.reports.charts.means import Row, Series
from bnexp.reports.charts.names import labels
from bnexp.reports.charts.themes import DASHES

CROSS = "M-0.7,-0.7L0.7,0.7M0.7,-0.7L-0.7,0.7"
"""A shape that only trials that diverged have."""

LEGEND = 1600
"""Square pixels of a legend's stroke, 40 long: less does not show a whole dash."""


def rows(series: Mapping[str, Series]) -> tuple[list[Row], list[Row], list[str]]:
    """The rows of the means, those of what diverged, each with the label of its series, and all labels."""
    names = labels(series)
    means = [{"series": names[name], **row} for name, one in series.items() for row in one.mean]
    ended = [{"series": names[name], **row} for name, one in series.items() for row in one.ended]
    return means, ended, list(names.values())


def chart(
    series: Mapping[str, Series],
    y: str,
    *,
    width: int,
    height: int,
    log: bool = False,
    domain: Sequence[float] | None = None,
    x: Any = None,
    legend: Literal["right", "bottom", "bottom-right"] = "right",
) -> Any:
    """A layered Altair chart of a few series, in their order. `y` is the title of the vertical axis; `log` makes that
    axis logarithmic, and `domain` shows a part of it. `x` is the horizontal axis, `steps()` unless told, and `legend`
    where the names stand."""
    import altair as alt

    means, ended, order = rows(series)
    x = steps() if x is None else x
    key = alt.Legend(
        symbolType="stroke",
        symbolSize=LEGEND,
        symbolOpacity=1,
        symbolFillColor="transparent",
        orient=legend,
        columns=1,
    )
    colour = alt.Color("series:N", title=None, sort=None, scale=alt.Scale(domain=order), legend=key)
    scale = alt.Scale(type="log" if log else "linear", zero=False, nice=not log and domain is None)
    at = alt.Y("mean:Q", title=y, scale=scale, axis=alt.Axis(format="~g", tickCount=8) if log else alt.Axis())
    if domain is not None:
        scale.domain = list(domain)
    base = alt.Chart(alt.InlineData(values=means)).encode(x=x)
    band = base.mark_area(opacity=0.2, clip=True)
    bands = [band.encode(y=alt.Y("low:Q", title=y, scale=scale), y2="high:Q", color=colour)]
    if means and all(row["low"] is None for row in means):  # Vega warns of what has no extent
        bands = []
    return alt.layer(
        *bands,
        *died(ended, y, x, scale, colour, cut=domain is not None),
        base.mark_line(clip=True).encode(y=at, color=colour, strokeDash=dash(order, key)),
        base.mark_point(opacity=0, size=80, clip=True).encode(y=at, tooltip=_mean_tooltip(y)),
    ).properties(width=width, height=height)


def steps() -> Any:
    """The horizontal axis. Curves have more points at their beginning, where most happens, and equal ratios of steps
    are to be equal distances."""
    import altair as alt

    return alt.X(
        "step:Q",
        title="training steps (logarithmic)",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(format=",.0f", tickCount=5),
    )


def even_steps(title: str | None = "training steps") -> Any:
    """The horizontal axis of the paper's figures, on which step 0 has a place."""
    import altair as alt

    axis = alt.Axis(labelExpr="format(datum.value, '~s')", tickCount=3, grid=False)
    return alt.X("step:Q", title=title, scale=alt.Scale(nice=False, zero=True), axis=axis)


def level(value: float, text: str) -> Any:
    """A dashed rule across a chart, with words above its left end."""
    import altair as alt

    base = alt.Chart(alt.InlineData(values=[{"level": value, "text": text}])).encode(y="level:Q")
    words = base.mark_text(align="left", baseline="bottom", dx=4, dy=-3).encode(x=alt.value(0), text="text:N")
    return base.mark_rule(strokeDash=[5, 3]) + words


def dash(order: Sequence[str], legend: Any) -> Any:
    """A dash for each series, in one legend with its colour."""
    import altair as alt

    dashes = [list(DASHES[index % len(DASHES)]) for index in range(len(order))]
    return alt.StrokeDash(
        "series:N", title=None, sort=None, scale=alt.Scale(domain=list(order), range=dashes), legend=legend
    )


def died(ended: Sequence[Row], y: str, x: Any, scale: Any, colour: Any, *, cut: bool) -> list[Any]:
    """The layers of trials that diverged. `cut`: marks beyond the part of the axis that is shown are not drawn."""
    import altair as alt

    if not ended:
        return []
    tooltip = [
        alt.Tooltip("series:N", title="series"),
        alt.Tooltip("runs:Q", title="trials that diverged"),
        alt.Tooltip("last:Q", title="last evaluation at step", format=",.0f"),
    ]
    path = (
        alt.Chart(alt.InlineData(values=list(ended)))
        .mark_line(strokeWidth=1, opacity=0.7, clip=True)
        .encode(x=x, y=alt.Y("value:Q", title=y, scale=scale), color=colour, detail="last:Q")
    )
    lasts = [row for row in ended if row["step"] == row["last"]]
    mark = (
        alt.Chart(alt.InlineData(values=lasts))
        .mark_point(shape=CROSS, size=90, strokeWidth=2, opacity=1, clip=cut)
        .encode(x=x, y=alt.Y("value:Q", title=y, scale=scale), color=colour, tooltip=tooltip)
    )
    return [path, mark]


def _mean_tooltip(y: str) -> list[Any]:
    import altair as alt

    return [
        alt.Tooltip("series:N", title="series"),
        alt.Tooltip("step:Q", title="step", format=",.0f"),
        alt.Tooltip("mean:Q", title=y, format=".4~g"),
        alt.Tooltip("low:Q", title="95% from", format=".4~g"),
        alt.Tooltip("high:Q", title="to", format=".4~g"),
        alt.Tooltip("seeds:Q", title="seeds"),
    ]
