"""A scorecard in blocks and as JSON: a line for each claim, a column for each normalizer."""

from collections.abc import Iterator, Sequence
from typing import Any

from bnexp.claims.report import Entry
from bnexp.claims.scorecard import Column, Scorecard
from bnexp.reports import data, numbers, words
from bnexp.reports.blocks import Block, Gap, Grid, Heading, Line, Row
from bnexp.reports.document import machines_together
from bnexp.reports.dumping import dump
from bnexp.reports.overview import answer
from bnexp.reports.table import BETWEEN
from bnexp.reports.tallies import tallied

NARROW = 80
"""Characters of a line of the table."""


def document(card: Scorecard, width: int | None = NARROW) -> list[Block]:
    """Scale and counts, the table, as many columns at a time as stand abreast in `width` characters (None: all),
    what each claim asks, and what was not tested and why."""
    blocks: list[Block] = [Heading(title(card), 1), Line(f"{tallied(card.counts)}.")]
    blocks += [_grid(card, columns) for columns in _abreast(card, width)]
    blocks += notes(card)
    return [*blocks, Gap(), Line(words.GLOSSARY, "faint"), *machines_together(card.reports)]


def title(card: Scorecard) -> str:
    """Whom it is about, and the scale."""
    names = ", ".join(column.normalizer.label for column in card.columns)
    return f"battery of {names}: {words.scale(card.reports)}"


def notes(card: Scorecard) -> list[Block]:
    """What belongs below the table: its mark, what each claim asks, and what was not tested and why."""
    blocks: list[Block] = []
    if any(entry.post_hoc for column in card.columns for entry in column.entries.values()):
        blocks.append(Line(f"{words.POST_HOC}.", "faint"))
    blocks.append(Heading("What each claim asks, of batch normalization"))
    blocks += [Line(claim.question, lead=f"{name}: ") for name, claim in card.claims.items()]
    reasons = list(_reasons(card))
    return [*blocks, Heading("Not tested"), *reasons] if reasons else blocks


def _abreast(card: Scorecard, width: int | None) -> list[list[Column]]:
    """The columns in parts that are no wider than `width`, or one column each."""
    if width is None:
        return [card.columns]
    parts: list[list[Column]] = []
    room = 0
    for column in card.columns:
        lines = [line for entry in column.entries.values() for line in _cell(entry).split("\n")]
        needed = BETWEEN + max(map(len, [column.normalizer.label, *lines]))
        if not parts or needed > room:
            parts.append([])
            room = width - max(map(len, ["claim", *card.claims]))
        parts[-1].append(column)
        room -= needed
    return parts


def _grid(card: Scorecard, columns: Sequence[Column]) -> Grid:
    rows = [Row([name, *(_cell(column.entries[name]) for column in columns)]) for name in card.claims]
    names = ["claim", *(column.normalizer.label for column in columns)]
    return Grid(names, rows, right=tuple(range(1, len(names))), verdicts=True)


def _cell(entry: Entry) -> str:
    """The verdict, what was measured, and its interval, each on a line of its own."""
    return "\n".join([answer(entry), *measured(entry)])


def measured(entry: Entry) -> list[str]:
    """What was measured of a claim, and its interval, where it has one; nothing where nothing was."""
    number = entry.finding.shown
    if number is None:
        return []
    point, interval = numbers.short(number), numbers.ends(number.effect, number.unit)
    return [point, *([interval] if interval not in ("-", point) else [])]


def _reasons(card: Scorecard) -> Iterator[Line]:
    """Why cells are empty; one line for those of a normalizer that have the same reason."""
    for column in card.columns:
        by_reason: dict[str, list[str]] = {}
        for name, entry in column.entries.items():
            if entry.finding.answer == "not tested":
                by_reason.setdefault(entry.finding.sentence, []).append(name)
        for reason, names in by_reason.items():
            yield Line(reason, "faint", f"{column.normalizer.label}, {', '.join(names)}: ")


def to_json(card: Scorecard) -> str:
    """Everything in the scorecard: of each normalizer its instances and findings, each with the name that its claim has
    in the file."""
    return dump({"name": "battery", "counts": card.counts.statuses, "normalizers": list(map(_column, card.columns))})


def _column(column: Column) -> dict[str, Any]:
    norm: dict[str, Any] = {"name": column.normalizer.name}
    return {
        "normalizer": column.normalizer.label,
        "norm": norm | dict(column.normalizer.fields),
        "instances": [data.instance(report) for report in column.reports],
        "findings": [{"of": name, **data.finding(entry)} for name, entry in column.entries.items()],
    }
