"""Panels of percentiles by training steps: of one setting, a panel a norm; and of all settings, small ones."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bnexp.reports.charts.diverged import CROSS
from bnexp.reports.charts.lines import dash as series_dash
from bnexp.reports.charts.lines import even_steps
from bnexp.reports.charts.means import Row
from bnexp.reports.charts.names import label
from bnexp.reports.charts.percentiles import PERCENTILES, Inside
from bnexp.reports.charts.themes import WIDTH

WIDE, HIGH = (WIDTH - 150) // 3, 190
"""Pixels of a panel."""
LOW = 90
"""Pixels of a small panel's height."""
PERCENTILE_DASHES = [[2, 2], [1, 0], [6, 3]]
"""For the 15th, 50th and 85th percentile."""
COLUMNS = 3
ROOM = 0.05
"""Of the vertical axis, beyond the outermost number."""


def heading(text: str) -> Any:
    import altair as alt

    return alt.Title(text, fontSize=12, offset=4, frame="group")


def panels(by_norm: Mapping[str, Inside], norms: Sequence[str]) -> list[Any]:
    """A panel for each norm, all with the same vertical axis. `norms` has every norm that there is, which gives each
    its colour."""
    domain, last = _domain(by_norm.values()), last_step(by_norm.values())
    return [
        _panel(norm, one, norms, domain, even_steps(last), first=letter == "b").properties(
            title=heading(f"({letter}) inputs, {norm}")
        )
        for letter, (norm, one) in zip("bcdefgh", by_norm.items(), strict=False)
    ]


def last_step(measured: Iterable[Inside]) -> float:
    """The last step at which something was measured."""
    return float(max((row["step"] for one in measured for row in [*one.lines, *one.ended]), default=1))


def _panel(norm: str, one: Inside, norms: Sequence[str], domain: list[float], x: Any, *, first: bool) -> Any:
    import altair as alt

    axis = alt.Axis(grid=False)
    scale = alt.Scale(domain=domain, nice=False)
    title = "input of a unit" if first else None
    colour = _colour(norms)

    def y(field: str) -> Any:
        return alt.Y(f"{field}:Q", title=title, scale=scale, axis=axis)

    def base(rows: list[Row]) -> Any:
        named = [{"series": norm, **row} for row in rows]
        return alt.Chart(alt.InlineData(values=named)).encode(x=x, color=colour)

    names = list(PERCENTILES)
    dash = alt.StrokeDash("percentile:N", legend=None, scale=alt.Scale(domain=names, range=PERCENTILE_DASHES))
    seen = base(one.lines)
    ends = base([row for row in one.lines if row["step"] == one.lines[-1]["step"]])
    died = base(one.ended).mark_point(shape=CROSS, size=80, strokeWidth=2, opacity=1, clip=True)
    gone = [alt.Tooltip("runs:Q", title="trials that diverged"), alt.Tooltip("step:Q")]
    said = alt.Chart(alt.InlineData(values=[{"text": "all diverged"}])).mark_text()
    empty = [said.encode(x=alt.value(WIDE / 2), y=alt.value(HIGH / 2), text="text:N")]
    return alt.layer(
        *([] if one.lines else empty),
        base(one.units).mark_area(opacity=0.12, clip=True).encode(y=y("low"), y2="high:Q"),
        seen.mark_area(opacity=0.25, clip=True).encode(y=y("low"), y2="high:Q", detail="percentile:N"),
        seen.mark_line(strokeWidth=2, clip=True).encode(y=y("mean"), strokeDash=dash),
        ends.mark_text(align="right", dy=-7, fontSize=11).encode(y=y("mean"), text="percentile:N"),
        seen.mark_point(opacity=0, size=60, clip=True).encode(y=y("mean"), tooltip=_tooltip()),
        *([died.encode(y=y("value"), tooltip=gone)] if one.ended else []),  # without rows Vega warns of it
    ).properties(width=WIDE, height=HIGH)


def _tooltip() -> list[Any]:
    import altair as alt

    return [
        alt.Tooltip("percentile:N"),
        alt.Tooltip("step:Q", format=",.0f"),
        alt.Tooltip("mean:Q", format=".3~g"),
        alt.Tooltip("low:Q", title="95% from", format=".3~g"),
        alt.Tooltip("high:Q", title="to", format=".3~g"),
    ]


def surface(measured: Mapping[str, Mapping[str, Inside]], norms: Sequence[str]) -> Any:
    """A small panel for each setting: from the 15th to the 85th percentile, and the 50th, of all `norms`."""
    import altair as alt

    every = [one for by_norm in measured.values() for one in by_norm.values()]
    domain, last = _domain(every, outer=False), last_step(every)
    charts = []
    for place, (at, by_norm) in enumerate(measured.items()):
        below = place >= len(measured) - COLUMNS
        x = even_steps(last, "training steps" if below else None)
        chart = _small(by_norm, norms, domain, x, first=place % COLUMNS == 0)
        charts.append(chart.properties(title=heading(label(at))))
    return alt.concat(*charts, columns=COLUMNS, spacing=10)


def _small(by_norm: Mapping[str, Inside], norms: Sequence[str], domain: list[float], x: Any, *, first: bool) -> Any:
    import altair as alt

    rows = [row for norm, one in by_norm.items() for row in _bands(norm, one)]
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=x, color=_colour(norms))
    scale = alt.Scale(domain=domain, nice=False)
    upper = alt.Y("p15:Q", title="input" if first else None, scale=scale, axis=alt.Axis(grid=False, tickCount=4))
    told = [alt.Tooltip("series:N"), alt.Tooltip("step:Q", format=",.0f")]
    told += [alt.Tooltip(f"{name}:Q", format=".3~g") for name in PERCENTILES]
    middle = alt.Y("p50:Q", title=None, scale=scale)
    dash = series_dash(norms, None)
    return alt.layer(
        base.mark_area(opacity=0.25).encode(y=upper, y2="p85:Q"),
        base.mark_line(strokeWidth=2).encode(y=middle, strokeDash=dash, tooltip=told),
    ).properties(width=WIDE, height=LOW)


def _bands(norm: str, one: Inside) -> Iterable[Row]:
    """A row a step, with the three percentiles side by side."""
    steps: dict[int, Row] = {}
    for row in one.lines:
        steps.setdefault(row["step"], {"series": norm, "step": row["step"]})[row["percentile"]] = row["mean"]
    return [row for row in steps.values() if set(PERCENTILES) <= set(row)]


def _colour(norms: Sequence[str]) -> Any:
    import altair as alt

    return alt.Color("series:N", title=None, scale=alt.Scale(domain=list(norms)), legend=None)


def _domain(measured: Iterable[Inside], *, outer: bool = True) -> list[float]:
    """From the smallest to the largest number that is drawn; `outer`: intervals and the units' too."""
    known = list(measured)
    drawn = [row["mean"] for one in known for row in one.lines]
    if outer:
        every = (row for one in known for row in [*one.lines, *one.units])
        drawn += [row[end] for row in every for end in ("low", "high") if row[end] is not None]
    low, high = min(drawn, default=0.0), max(drawn, default=1.0)
    room = ROOM * (high - low or 1.0)
    return [low - room, high + room]
