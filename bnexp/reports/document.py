"""The report from beginning to end, in blocks."""

from collections.abc import Mapping, Sequence

from bnexp.claims.report import Report, Reports
from bnexp.reports import words
from bnexp.reports.beside import tables
from bnexp.reports.blocks import Block, Gap, Line
from bnexp.reports.overview import not_tested, overview
from bnexp.reports.section import section


def document(reports: Reports) -> list[Block]:
    """One screen of answers, the paper's tables with ours, a section for each claim, what was not tested, and on what
    it ran."""
    return [*overview(reports), *tables(reports), *sections(reports), *machines(reports)]


def sections(reports: Reports, seen: Mapping[str, str] | None = None) -> list[Block]:
    """What follows the first screen. `seen` has what people wrote about a claim's data, by the claim's name."""
    blocks: list[Block] = []
    for entry in reports.entries:
        blocks += section(entry, (seen or {}).get(entry.finding.name, ""))
    blocks += [*not_tested(reports), Gap()]
    if any(entry.finding.numbers for entry in reports.entries):
        blocks.append(Line(words.GLOSSARY, "faint"))
    return blocks


def machines(reports: Reports) -> list[Block]:
    """What the trials of all experiments ran on."""
    return machines_of(reports.reports[0]) if len(reports.reports) == 1 else machines_together(reports.reports)


def machines_together(reports: Sequence[Report]) -> list[Block]:
    """What the trials of several instances ran on, each device and set of versions once."""
    without_counts = (line.partition(" ")[2] for report in reports for line in map(str, report.origins))
    return [Line(words.sentence(line), "faint") for line in dict.fromkeys(without_counts)]


def machines_of(report: Report) -> list[Block]:
    """What an instance's trials ran on, a line for each device and set of versions."""
    return [Line(words.sentence(str(origin)), "faint") for origin in report.origins]
