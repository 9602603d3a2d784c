"""Lines over training steps: means with their bands, and trials that diverged."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bnexp.reports.charts.diverged import beside, died
from bnexp.reports.charts.means import Row, Series
from bnexp.reports.charts.names import labels
from bnexp.reports.charts.themes import DASHES, SERIES

LEGEND = 1600
"""Square pixels of a legend's stroke, 40 long: less does not show a whole dash."""
LINE = 18
"""Pixels of a legend's line."""
LEAST = 1e-6
"""The share of the largest number by which the smallest must be less, for an axis from the one to the other."""
AROUND = 5.0
"""Points of accuracy on either side of a number that is the only one."""
TOP = 90.0
"""Percent, above which words would stand beyond the chart."""
HALF = 38
"""Characters of a name, up to which two have room beside each other."""


def rows(series: Mapping[str, Series], names: Mapping[str, str]) -> tuple[list[Row], list[Row]]:
    """The rows of the means, and those of what diverged, each with the label that its series has in `names`."""
    means = [{"series": names[name], **row} for name, one in series.items() for row in one.mean]
    ended = [{"series": names[name], **row} for name, one in series.items() for row in one.ended]
    return means, ended


def chart(
    series: Mapping[str, Series],
    y: str,
    *,
    width: int,
    height: int,
    order: Sequence[str] = (),
    log: bool = False,
    domain: Sequence[float] | None = None,
    x: Any = None,
    legend: Literal["bottom", "bottom-right"] = "bottom",
) -> Any:
    """A layered Altair chart of a few series. `y` is the title of the vertical axis; `log` makes that axis logarithmic,
    and `domain` shows a part of it. `order` has every name that there may be: its place there gives a series its colour
    and dash, whichever others are drawn. `x` is the horizontal axis, `steps` unless told, and `legend` where the names
    stand, if there are several."""
    import altair as alt

    names = labels([*order, *series])
    means, ended = rows(series, names)
    shown = [names[name] for name in series]
    key = _legend(shown, legend) if len(shown) > 1 else None
    colour = alt.Color("series:N", title=None, sort=None, scale=alt.Scale(domain=list(names.values())), legend=key)
    low, high, whole = extent(means, ended, log=log)
    x = steps(*reach(series)) if x is None else x
    scale = alt.Scale(type="log" if log else "linear", zero=False, nice=not log and domain is None)
    if domain is not None or whole:
        low, high = domain or (low, high)
        scale.domain = [low, high]
    at = alt.Y("mean:Q", title=y, scale=scale, axis=alt.Axis(format="~g", tickCount=8) if log else alt.Axis())
    base = alt.Chart(alt.InlineData(values=means)).encode(x=x)
    bands = [base.mark_area(opacity=0.2, clip=True).encode(y=alt.Y("low:Q", title=y, scale=scale), y2="high:Q")]
    if means and all(row["low"] is None for row in means):  # Vega warns of what has no extent
        bands = []
    apart = beside(ended, (low, high), reach(series)[1], log=log)
    return alt.layer(
        *(band.encode(color=colour) for band in bands),
        *died(ended, y, x, scale, colour, apart),
        base.mark_line(clip=True).encode(y=at, color=colour, strokeDash=dash(list(names.values()), key)),
        *_alone(means, x, at, colour),
        base.mark_point(opacity=0, size=80, clip=True).encode(y=at, tooltip=_mean_tooltip(y)),
    ).properties(width=width, height=height)


def extent(means: Sequence[Row], ended: Sequence[Row], *, log: bool) -> tuple[float, float, bool]:
    """The smallest and the largest number that is drawn; and whether that is made up, since they are one and the same
    and an axis of them would have one tick."""
    drawn = [row[name] for row in means for name in ("mean", "low", "high") if row[name] is not None]
    drawn += [row["value"] for row in ended]
    low, high = min(drawn, default=0.0), max(drawn, default=1.0)
    if high - low > LEAST * abs(high):
        return low, high, False
    return (low / 2, 2 * high, True) if log else (max(0.0, low - AROUND), min(100.0, high + AROUND), True)


def reach(series: Mapping[str, Series]) -> tuple[float, float]:
    """The first and the last step of the horizontal axis: of what is drawn, and where all diverged, of the training
    that was asked for."""
    drawn = [row["step"] for one in series.values() for row in [*one.mean, *one.ended]]
    whole = [] if any(one.mean for one in series.values()) else [one.until for one in series.values()]
    return min(drawn, default=1.0), max([*drawn, *whole], default=1.0)


def _alone(means: Sequence[Row], x: Any, at: Any, colour: Any) -> list[Any]:
    """Points, with their intervals, of series that have one step only, of which no line can be drawn."""
    import altair as alt

    count = Counter(row["series"] for row in means)
    own = [row for row in means if count[row["series"]] == 1]
    if not own:
        return []
    base = alt.Chart(alt.InlineData(values=own)).encode(x=x, color=colour)
    points = base.mark_point(filled=True, size=70, opacity=1).encode(y=at)
    ends = [base.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q")] if own[0]["low"] is not None else []
    return [*ends, points]


def steps(first: float, last: float) -> Any:
    """The horizontal axis. Curves have more points at their beginning, where most happens, and equal ratios of steps
    are to be equal distances."""
    import altair as alt

    scale, axis = alt.Scale(type="log", nice=False, domain=[first, last]), alt.Axis(format=",.0f", tickCount=5)
    if first == last:
        scale.domain, axis = [first / 2, 2 * first], alt.Axis(format=",.0f", values=[first])
    return alt.X("step:Q", title="training steps (logarithmic)", scale=scale, axis=axis)


def even_steps(last: float, title: str | None = "training steps") -> Any:
    """The horizontal axis of the paper's figures, on which step 0 has a place, up to the `last`."""
    import altair as alt

    axis = alt.Axis(labelExpr="format(datum.value, '~s')", tickCount=3, tickMinStep=1, grid=False)
    return alt.X("step:Q", title=title, scale=alt.Scale(nice=False, domain=[0, last]), axis=axis)


def level(value: float, text: str) -> Any:
    """A dashed rule across a chart, with words above its left end; below it, where it is near the top."""
    import altair as alt

    base = alt.Chart(alt.InlineData(values=[{"level": value, "text": text}])).encode(y="level:Q")
    below = value > TOP
    words = base.mark_text(align="left", baseline="top" if below else "bottom", dx=4, dy=4 if below else -3)
    return base.mark_rule(strokeDash=[5, 3]) + words.encode(x=alt.value(0), text="text:N")


def _legend(shown: Sequence[str], place: Any) -> Any:
    """The names of the series that are drawn, two in a line where there is room."""
    import altair as alt

    return alt.Legend(
        symbolType="stroke",
        symbolSize=LEGEND,
        symbolOpacity=1,
        symbolFillColor="transparent",
        clipHeight=LINE,
        orient=place,
        columns=2 if place == "bottom" and max(map(len, shown)) <= HALF else 1,
        values=list(shown),
    )


def dash(order: Sequence[str], legend: Any) -> Any:
    """A dash for each series, in one legend with its colour. Where a colour comes again, its dash is another."""
    import altair as alt

    dashes = [list(DASHES[(index + index // SERIES) % len(DASHES)]) for index in range(len(order))]
    return alt.StrokeDash(
        "series:N", title=None, sort=None, scale=alt.Scale(domain=list(order), range=dashes), legend=legend
    )


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
