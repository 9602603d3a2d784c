"""The claims as a forest plot: effects and intervals against what would support and what would refute them."""

from collections import Counter
from typing import Any

from bnexp.claims.report import Reports
from bnexp.errors import UsageError
from bnexp.reports import words
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.effects import Panel, Row, panels
from bnexp.reports.charts.names import label, titled
from bnexp.reports.charts.themes import WIDTH

VERDICTS = ("supported", "refuted", "inconclusive")
SHAPES = ("circle", "square", "diamond")
NAMES = 190
"""Pixels for the names of claims."""
LINE = 12
"""Pixels of a line of words above a claim's numbers."""
NUMBERS = 28
"""Pixels that these take."""
EDGE = 8
"""Pixels from the left end of the axis, where the mark of a claim stands that has no place on it."""


def claims(asked: Asked) -> Any:
    """Effects and intervals of claims against the limits of support and refutation (forest plot)."""
    import altair as alt

    reports = asked.reports
    drawn = panels(reports.entries)
    if not drawn:
        raise UsageError(
            f"no claim about {reports.name} has a number; `bnexp report` says why, and `bnexp claims` lists those of "
            "the experiments file"
        )
    several = sum(len(panel.rows) for panel in drawn) > 1  # a lone claim's verdict needs no legend
    parts = [_panel(panel, _legend() if several else None) for panel in drawn]
    return alt.vconcat(*parts, spacing=14).properties(title=_title(reports))


def _title(reports: Reports) -> dict[str, object]:
    answers: Counter[str] = Counter(entry.finding.answer for entry in reports.entries)
    told = ", ".join(f"{answers[answer]} {answer}" for answer in (*VERDICTS, "not tested") if answers[answer])
    bare = [entry.finding.name for entry in reports.entries if not entry.finding.numbers]
    return titled(
        f"Claims about {words.titled(reports.name, reports.reports)}",
        f"{told[:1].upper()}{told[1:]}. Numbers in different units or of different contrasts have axes of their own.",
        "Lines: 95% intervals over seeds (exact sign-flip; Wilson of shares); an arrow: it goes on, or has no end.",
        "Thin bars: above a line, where all of it must be for support; below it, for refutation.",
        "Of a claim with several numbers, the one is drawn that its verdict hangs on.",
        f"Without a number, and not drawn: {', '.join(map(label, bare))}." if bare else "",
        "†: post hoc, younger than its data." if any(entry.post_hoc for entry in reports.entries) else "",
    )


def _panel(panel: Panel, legend: Any) -> Any:
    """The claims on one axis."""
    import altair as alt

    lines = max(len(row["contrast"]) for row in panel.rows)
    lower = LINE * lines / 2
    rows = [{name: value for name, value in row.items() if name != "limits"} for row in panel.rows]
    names = alt.Axis(ticks=False, domain=False, minExtent=NAMES, maxExtent=NAMES, labelLimit=NAMES - 8)
    y = alt.Y("claim:N", sort=[row["claim"] for row in rows], title=None, axis=names)
    base = alt.Chart(alt.InlineData(values=rows)).encode(y=y)

    def x(field: str) -> Any:
        kind = alt.Scale(type="log" if panel.logarithmic else "linear", domain=list(panel.domain), nice=False)
        even = alt.Axis(tickCount=6, grid=False)
        axis = alt.Axis(tickCount=6, grid=False, format="~g") if panel.logarithmic else even
        return alt.X(f"{field}:Q", title=panel.title, scale=kind, axis=axis)

    marks = _marks(base, lower, legend)
    nowhere = base.transform_filter("datum.point === null").mark_text(align="left", fontSize=11, dy=lower)
    layers = [
        *_no_effect(panel, x),
        *_limits(panel, x, y, lower, legend),
        base.mark_rule(strokeWidth=2, yOffset=lower).encode(x=x("low"), x2="high:Q"),
        *_arrows(base, x, lower),
        marks.encode(x=x("point")),
        marks.transform_filter("datum.point === null").encode(x=alt.value(EDGE)),
        nowhere.encode(x=alt.value(2 * EDGE), text=alt.value("nothing bounds it")),
        base.mark_text(
            align="left", baseline="top", fontSize=10, lineHeight=LINE, dx=3, dy=3 - (LINE * lines + NUMBERS) / 2
        ).encode(x=alt.value(0), text="contrast:N"),
    ]
    return alt.layer(*layers).properties(width=WIDTH - NAMES, height=alt.Step(LINE * lines + NUMBERS))


def _arrows(base: Any, x: Any, lower: float) -> list[Any]:
    """Where an interval goes on beyond the axis."""
    return [
        base.transform_filter(f"datum.{end} !== null")
        .mark_point(shape=f"triangle-{way}", filled=True, size=70, opacity=1, yOffset=lower)
        .encode(x=x(end))
        for end, way in (("below", "left"), ("above", "right"))
    ]


def _marks(base: Any, lower: float, legend: Any) -> Any:
    """The verdicts, by colour and by shape."""
    import altair as alt

    shapes = alt.Scale(domain=list(VERDICTS), range=list(SHAPES))
    return base.mark_point(filled=True, size=80, opacity=1, yOffset=lower).encode(
        color=_colour("verdict", legend),
        shape=alt.Shape("verdict:N", title=None, scale=shapes, legend=legend),
        tooltip=[alt.Tooltip(f"{name}:N") for name in ("claim", "verdict", "contrast", "measured")],
    )


def _colour(field: str, legend: Any) -> Any:
    import altair as alt

    return alt.Color(f"{field}:N", title=None, scale=alt.Scale(domain=list(VERDICTS), range="ordinal"), legend=legend)


def _legend() -> Any:
    import altair as alt

    return alt.Legend(orient="bottom", symbolOpacity=1, symbolStrokeWidth=0)


def _no_effect(panel: Panel, x: Any) -> list[Any]:
    """A rule where nothing differs."""
    import altair as alt

    if panel.no_effect is None:
        return []
    rule = alt.Chart(alt.InlineData(values=[{"none": panel.no_effect}])).mark_rule(strokeDash=[3, 3], opacity=0.6)
    return [rule.encode(x=x("none"))]


def _limits(panel: Panel, x: Any, y: Any, lower: float, legend: Any) -> list[Any]:
    """Bars where an interval must be: for support above it, for refutation below."""
    import altair as alt

    layers = []
    for verdict, place in (("supported", lower - 7), ("refuted", lower + 7)):
        rows: list[Row] = [
            {"claim": row["claim"], **limit} for row in panel.rows for limit in row["limits"] if limit["of"] == verdict
        ]
        bars = alt.Chart(alt.InlineData(values=rows)).mark_rule(strokeWidth=3, opacity=0.55, yOffset=place)
        told = [alt.Tooltip("of:N", title="if all of it is here")]
        layers.append(bars.encode(y=y, x=x("from"), x2="to:Q", color=_colour("of", legend), tooltip=told))
    return layers
