"""The scorecard of a battery on the page: a row for each claim, a column for each normalizer, and its chart."""

from collections.abc import Mapping
from dataclasses import dataclass

from bnexp.claims.findings import Answer
from bnexp.claims.parse import parse_claims
from bnexp.claims.report import Entry
from bnexp.claims.scorecard import SUITE, Scorecard, has_battery, latest
from bnexp.reports import scorecard, words
from bnexp.reports.blocks import Block, Line
from bnexp.reports.charts.asked import Asked
from bnexp.reports.overview import answer
from bnexp.reports.page import drawing
from bnexp.reports.page.drawing import Picture
from bnexp.reports.tallies import tallied

SEVERAL = (
    "Of a claim with several numbers, the one stands here that its verdict hangs on; "
    "`bnexp report --claim NAME@NORMALIZER` has them all."
)
Anchors = Mapping[tuple[str, int | None], str]
"""Where the page has the evidence of a claim, by its name and the number of the instance that it is about."""


@dataclass(frozen=True)
class Cell:
    """What was found of a claim about a normalizer."""

    answer: Answer
    marked: str
    """The answer, with the mark of a claim that is younger than its data."""
    lines: list[str]
    """What was measured, and its interval."""
    anchor: str
    """Of its evidence on this page; empty where that is not here."""


@dataclass(frozen=True)
class CardRow:
    """A claim about all normalizers."""

    name: str
    cells: list[Cell]


@dataclass(frozen=True)
class CardPart:
    """The whole scorecard."""

    title: str
    """Whom it is about, and the scale."""
    counts: str
    """How their trials ended, in a sentence."""
    columns: list[str]
    rows: list[CardRow]
    picture: Picture
    notes: list[Block]
    """Below it: what each claim asks, and what was not tested."""


def stored(asked: Asked) -> Scorecard | None:
    """What the database holds of the file's battery; None where no normalizer but batch has been tested."""
    members = asked.file.suites.get(SUITE, [])
    if not has_battery(asked.results, members):
        return None
    card = latest(asked.results, parse_claims(asked.file), members)
    return None if all(column.normalizer.itself for column in card.columns) else card


def part(card: Scorecard, anchors: Anchors) -> CardPart:
    """The scorecard, its verdicts with the places of their evidence."""
    return CardPart(
        scorecard.title(card),
        f"{tallied(card.counts)}.",
        [column.normalizer.label for column in card.columns],
        [CardRow(name, [_cell(column.entries[name], anchors) for column in card.columns]) for name in card.claims],
        drawing.of_card(card),
        [*_read_so(card), *scorecard.notes(card)],
    )


def place(entry: Entry) -> tuple[str, int | None]:
    """What tells its evidence from others'."""
    return entry.finding.name, entry.report.instance.id if entry.report else None


def _read_so(card: Scorecard) -> list[Block]:
    """How the numbers of the cells are to be read."""
    adjusted = "p is adjusted within each experiment of a normalizer, for all claims about it together (Holm)."
    entries = [entry for column in card.columns for entry in column.entries.values()]
    several = [Line(SEVERAL, "faint")] if any(len(entry.finding.numbers) > 1 for entry in entries) else []
    return [*several, Line(adjusted, "faint"), Line(words.GLOSSARY, "faint")]


def _cell(entry: Entry, anchors: Anchors) -> Cell:
    return Cell(entry.finding.answer, answer(entry), scorecard.measured(entry), anchors.get(place(entry), ""))
