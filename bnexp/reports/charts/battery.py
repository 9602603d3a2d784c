"""The scorecard of a battery as a chart: a row for each claim, a column for each normalizer."""

from collections.abc import Iterator
from typing import Any

from bnexp.claims.parse import parse_claims
from bnexp.claims.scorecard import SUITE, Scorecard, latest
from bnexp.errors import UsageError
from bnexp.reports import words
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.forest import NAMES, SHAPES, VERDICTS
from bnexp.reports.charts.names import label, labels, titled
from bnexp.reports.charts.themes import WIDTH
from bnexp.reports.overview import answer
from bnexp.reports.scorecard import measured

NARROWEST = 96
"""Pixels of a column: an interval."""
HIGH = 58
"""Pixels of a row: the verdict's mark, what was measured and its interval."""
LINE = 12
"""Pixels of a line of words."""


def battery(asked: Asked) -> Any:
    """Verdicts about normalizers side by side, with what was measured of each claim."""
    if asked.number is not None or SUITE not in asked.file.suites:
        raise UsageError(f"the figure is of the suite {SUITE!r} of an experiments file, as `bnexp battery` runs it")
    return chart(latest(asked.results, parse_claims(asked.file), asked.file.suites[SUITE]))


def chart(card: Scorecard) -> Any:
    """The chart of a scorecard."""
    import altair as alt

    names = labels(column.normalizer.label for column in card.columns)
    rows = list(_rows(card, names))
    width = max((WIDTH - NAMES) // len(card.columns), NARROWEST)
    axis = alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False, labelLimit=width)
    side = alt.Axis(ticks=False, domain=False, minExtent=NAMES, maxExtent=NAMES, labelLimit=NAMES - 8)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("normalizer:N", sort=[*names.values()], title=None, axis=axis),
        y=alt.Y("claim:N", sort=[*map(label, card.claims)], title=None, axis=side),
    )
    legend = alt.Legend(orient="bottom", symbolOpacity=1, symbolStrokeWidth=0)
    colours, shapes = (alt.Scale(domain=list(VERDICTS), range=kinds) for kinds in ("ordinal", list(SHAPES)))
    marks = base.transform_filter("datum.tested").mark_point(filled=True, size=110, opacity=1, yOffset=-LINE)
    marks = marks.encode(
        color=alt.Color("verdict:N", title=None, scale=colours, legend=legend),
        shape=alt.Shape("verdict:N", title=None, scale=shapes, legend=legend),
        tooltip=[alt.Tooltip(f"{name}:N") for name in ("normalizer", "claim", "verdict", "said")],
    )
    told = base.mark_text(baseline="top", fontSize=10, lineHeight=LINE, dy=-2).encode(text="measured:N")
    return alt.layer(marks, told).properties(width=alt.Step(width), height=alt.Step(HIGH), title=_title(card))


def _rows(card: Scorecard, names: dict[str, str]) -> Iterator[dict[str, object]]:
    for column in card.columns:
        for claim, entry in column.entries.items():
            tested = entry.finding.answer in VERDICTS
            lines = measured(entry) if tested else [answer(entry)]
            yield {
                "claim": label(claim),
                "normalizer": names[column.normalizer.label],
                "verdict": entry.finding.answer,
                "tested": tested,
                "measured": [f"{lines[0]}{'†' * entry.post_hoc}", *lines[1:]],
                "said": label(entry.finding.sentence, 200),
            }


def _title(card: Scorecard) -> dict[str, object]:
    late = any(entry.post_hoc for column in card.columns for entry in column.entries.values())
    return titled(
        f"The paper's claims of normalizers in the place of batch normalization, {words.scale(card.reports)}",
        "By each mark: what was measured, and its 95% interval over seeds (exact sign-flip; Wilson of shares).",
        "Limits are those of the claims about batch normalization.",
        "†: post hoc, younger than its data." if late else "",
    )
