"""What stands on the page, gathered once: blocks, pictures and cells, but no HTML."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import bnexp
from bnexp.claims.data import Data
from bnexp.claims.evidence import Evidence, rests_on
from bnexp.claims.findings import Answer
from bnexp.claims.report import Entry, Report, data_of
from bnexp.claims.scorecard import Scorecard
from bnexp.columns import length
from bnexp.db.url import shown
from bnexp.reports import beside, claim, overview, scorecard, words
from bnexp.reports.blocks import Block, Grid, Line, Row
from bnexp.reports.charts.arms import Arms
from bnexp.reports.charts.asked import Asked
from bnexp.reports.claims import definition
from bnexp.reports.document import machines_of
from bnexp.reports.page import again, drawing
from bnexp.reports.page import card as cards
from bnexp.reports.page.card import CardPart
from bnexp.reports.page.cells import Cells, cells
from bnexp.reports.page.drawing import Picture
from bnexp.reports.section import advice, verdict
from bnexp.text import with_overrides

DataOf = Callable[[int], Data]
"""What is stored of an instance, by its number."""
ArmsOf = Callable[[int], Arms]
"""The lines of an instance, likewise."""

LARGEST_FILE = 500_000
"""Characters of an experiments file that stands on the page; of a larger one only its hash does."""


@dataclass(frozen=True)
class ClaimPart:
    """A claim, and all that its verdict rests on."""

    anchor: str
    name: str
    answer: Answer
    marked: str
    """The answer, with the mark of a claim that is younger than its data."""
    row: Row
    """Its line in the table of verdicts: name, effect, interval, n and answer; below it what the paper says."""
    said: list[Block]
    """The question, the verdict in a sentence, and what would decide it."""
    pictures: list[Picture]
    numbers: list[Block]
    fixed: list[Block]
    """The quote, how it is measured, and the limits."""
    origin: list[Block]
    """The SQL, the trials, times and machines."""


@dataclass(frozen=True)
class Experiment:
    """An instance: the paper's table beside ours, and its figures."""

    title: str
    blocks: list[Block]
    pictures: list[Picture]


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    summary: list[Block]
    notes: list[Block]
    """Below the table of verdicts."""
    pictures: list[Picture]
    card: CardPart | None
    """Of the battery; None where the database has none."""
    of_card: bool
    """Whether the page is about the scorecard, which then stands for the table of verdicts."""
    claims: list[ClaimPart]
    not_tested: list[Block]
    experiments: list[Experiment]
    grids: list[Cells]
    again: list[Block]
    """How to reproduce it."""
    file: str
    """The experiments file's text; empty where that is too long."""
    footer: str


def page(asked: Asked, now: datetime, card: Scorecard | None = None) -> Page:
    """The page about what `asked.reports` reports, which are those of `card` where the page is to be about that. `now`
    is when it is made, UTC."""
    reports = asked.reports

    @cache
    def data(number: int) -> Data:
        return data_of(asked.results, next(one.instance for one in reports.reports if one.instance.id == number))

    @cache
    def arms(number: int) -> Arms:
        report = next(one for one in reports.reports if one.instance.id == number)
        return drawing.arms_on(asked, report, data(number))

    first = overview.overview(reports)
    table = next((index for index, block in enumerate(first) if isinstance(block, Grid)), len(first))
    text = again.text_of(asked.file.document.name)
    claims = [_claim(asked, number, entry, data, arms) for number, entry in enumerate(reports.entries, 1)]
    anchors = {cards.place(entry): one.anchor for entry, one in zip(reports.entries, claims, strict=True)}
    side_by_side = card or cards.stored(asked)
    return Page(
        scorecard.title(card) if card else words.titled(reports.name, reports.reports),
        [] if card else first[1:table],
        [] if card else [*first[table + 1 :], Line(words.GLOSSARY, "faint")],
        [] if card else drawing.of_all(asked),
        cards.part(side_by_side, anchors) if side_by_side else None,
        card is not None,
        claims,
        overview.not_tested(reports),
        [_experiment(asked, report, data(report.instance.id)) for report in reports.reports],
        [_cells(report, data(report.instance.id)) for report in reports.reports if _any(data, report)],
        [*again.again(asked, text, card), *again.seeds(reports, data)],
        text if len(text) <= LARGEST_FILE else "",
        f"Made by bnexp {bnexp.__version__} at {claim.time_of(now)} from {_source(asked)}.",
    )


def _claim(asked: Asked, number: int, entry: Entry, data: DataOf, arms: ArmsOf) -> ClaimPart:
    finding, report = entry.finding, entry.report
    known = data(report.instance.id) if report else None
    evidence: Evidence | None = rests_on(asked.results, entry, known) if known else None
    [row] = overview.table([entry]).rows
    question, *fixed = definition(finding.name, finding.claim)
    return ClaimPart(
        f"claim-{number}",
        finding.name,
        finding.answer,
        overview.answer(entry),
        row,
        [question, verdict(entry), *advice(finding)],
        list(drawing.of_claim(asked, entry, known, arms(report.instance.id))) if known and report else [],
        [*claim.measured(finding), *claim.rates(evidence)] if evidence else [],
        fixed,
        [*claim.trials(evidence), *_origin(report)] if evidence and report else [],
    )


def _origin(report: Report) -> Iterator[Block]:
    """When and on what the instance ran."""
    one = report.instance
    began, last = claim.time_of(one.created_at), claim.time_of(one.last_run_at)
    yield Line(f"Instance {one.id}: {_title(report)}; first run at {began}, last at {last}. Ran on:")
    yield from machines_of(report)


def _experiment(asked: Asked, report: Report, data: Data) -> Experiment:
    blocks: list[Block] = [Line(report.instance.about)] if report.instance.about else []
    blocks += beside.table(report.beside) if report.beside else []
    missing = drawing.left_out(report, data.trials)
    blocks += [Line(missing)] if missing else []
    pictures = list(drawing.of_report(asked, report, data.trials)) if length(data.trials) else []
    return Experiment(_title(report), blocks, pictures)


def _cells(report: Report, data: Data) -> Cells:
    return cells(_title(report), data.trials, report.counts.tuning)


def _title(report: Report) -> str:
    one = report.instance
    return with_overrides(one.name, one.overrides)


def _source(asked: Asked) -> str:
    """The database, without the folder that it is in."""
    url = asked.results.url
    return Path(url.database or "").name if url.get_backend_name() == "sqlite" else shown(url)


def _any(data: DataOf, report: Report) -> bool:
    return length(data(report.instance.id).trials) > 0
