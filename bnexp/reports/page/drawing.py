"""The pictures of a page: specifications with what they say in words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bnexp import registry
from bnexp.claims.data import Data
from bnexp.claims.model import Claim
from bnexp.claims.report import Entry, Report, Reports
from bnexp.claims.scorecard import Scorecard
from bnexp.columns import length, take
from bnexp.errors import UsageError
from bnexp.records import Columns
from bnexp.reports import numbers, words
from bnexp.reports.charts import lines
from bnexp.reports.charts.arms import Arms, arms_of, with_claims
from bnexp.reports.charts.arms import of_claim as lines_of
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.battery import chart as chart_of
from bnexp.reports.charts.figures import Spec, about, draw
from bnexp.reports.charts.means import Series, notes, series_of
from bnexp.reports.charts.names import titled
from bnexp.reports.charts.themes import SERIES, WIDTH
from bnexp.reports.limits import limits
from bnexp.text import counted

METRIC = "validation_accuracy"
CURVES = "Mean validation accuracy by training steps, a line for each arm or for arms together."
MOST_TRIALS = 10_000
"""Whose curves are read for one picture."""


@dataclass(frozen=True)
class Picture:
    """A chart."""

    title: str
    spec: Spec
    told: str
    """What is seen, in words."""


def of_all(asked: Asked) -> list[Picture]:
    """The effects of all claims; nothing where none has a number."""
    if not any(entry.finding.numbers for entry in asked.reports.entries):
        return []
    return [_picture(draw("claims", asked), about("claims"))]


def of_card(card: Scorecard) -> Picture:
    """The scorecard of a battery."""
    return _picture(_spec(chart_of(card)), about("battery"))


def of_claim(asked: Asked, entry: Entry, data: Data, arms: Arms) -> Iterator[Picture]:
    """One claim's effect against its limits, and the curves of what it compares, by the instance's lines."""
    finding = entry.finding
    if shown := finding.shown:
        alone = Reports(asked.reports.name, asked.reports.reports, asked.reports.counts, [entry], [], [])
        spec = draw("claims", replace(asked, known=alone))
        spec["title"] = {
            "text": ["Effect and 95% interval against the limits"],
            "subtitle": [
                "Thin bars: above the line, where all of it must be for support; below it, for refutation.",
                "An arrow: the interval goes on, or has no end.",
            ],
        }
        margin = entry.report.instance.margin if entry.report else None
        told = words.measured(finding.claim, shown.name)
        yield _picture(spec, f"{told}: {numbers.sentence(shown)}. {limits(finding.claim, margin)}")
    drawn = _courses(finding.claim, data, arms)
    if drawn is not None:
        yield drawn


def of_report(asked: Asked, report: Report, trials: Columns) -> Iterator[Picture]:
    """The figures that can be drawn of an instance, its curves last."""
    for name in registry.FIGURES:
        if name == "claims" or (name == "curves" and length(trials) > MOST_TRIALS):
            continue
        try:
            spec = draw(name, replace(asked, name=None, number=report.instance.id))
        except UsageError:  # it has not what the figure takes
            continue
        yield _picture(spec, CURVES if name == "curves" else about(name))


def left_out(report: Report, trials: Columns) -> str:
    """What is not drawn, in a sentence; empty where that is nothing."""
    if length(trials) <= MOST_TRIALS:
        return ""
    command = f"`bnexp plot curves --instance {report.instance.id} --output curves.html`"
    return f"The curves of {counted(length(trials), 'trial')} are not on this page; {command} draws them."


def arms_on(asked: Asked, report: Report, data: Data) -> Arms:
    """The lines of an instance in every picture of the page: those of its figures, and those of its claims."""
    arms = arms_of(data, asked.file.experiments.get(report.instance.name))
    return with_claims(arms, [finding.claim for finding in report.findings], data)


def _courses(claim: Claim, data: Data, arms: Arms) -> Picture | None:
    """Validation accuracy over the training of what a claim compares; None where nothing was evaluated."""
    drawn, said = as_many_as_fit(lines_of(arms, claim, data))
    series = {name: series_of(trials, data.curves, METRIC) for name, trials in drawn.items()}
    if not any(one.mean or one.ended for one in series.values()):
        return None
    chart = lines.chart(series, "validation accuracy, %", width=WIDTH - 60, height=280, order=[*arms.lines])
    told = arms.about if set(drawn) & set(arms.sets) else ""
    chart = chart.properties(title=titled("Validation accuracy of its arms", told, *said, *notes(series, METRIC)))
    ends = "; ".join(f"{name}: {_last(one)}" for name, one in series.items())
    return _picture(_spec(chart), f"Mean validation accuracy at the last step of each arm. {ends}.")


def as_many_as_fit(found: dict[str, Columns]) -> tuple[dict[str, Columns], list[str]]:
    """As many lines as have a colour each, of trials that can be read, and sentences that say what was left out."""
    said = []
    if len(found) > SERIES:
        said.append(f"The first {SERIES} of {len(found)} arms.")
    drawn = dict(list(found.items())[:SERIES])
    seeds = np.unique(np.concatenate([trials["seed"] for trials in drawn.values()])) if drawn else np.empty(0)
    total = sum(map(length, drawn.values()))
    if total > MOST_TRIALS:
        kept = max(1, MOST_TRIALS * len(seeds) // total)
        drawn = {name: take(trials, np.isin(trials["seed"], seeds[:kept])) for name, trials in drawn.items()}
        said.append(f"The first {kept} of {len(seeds)} seeds.")
    return drawn, said


def _last(series: Series) -> str:
    """How the mean of a series ends."""
    diverged = sum(row["runs"] for row in series.ended if row["step"] == row["last"])
    gone = f"{diverged} diverged" if diverged else ""
    last: Mapping[str, Any] | None = series.mean[-1] if series.mean else None
    mean = f"{last['mean']:.1f}% at step {last['step']:,.0f}, {counted(last['seeds'], 'seed')}" if last else ""
    return ", ".join(filter(None, [mean, gone])) or "no curve"


def _spec(chart: Any) -> Spec:
    """A chart without the theme, which is the page's."""
    spec: Spec = chart.to_dict()
    spec.pop("config", None)
    return spec


def _picture(spec: Spec, told: str) -> Picture:
    title = " ".join(spec["title"]["text"])
    return Picture(title, spec | {"description": title}, told)
