"""What a report says of one claim: what is claimed, what was measured, and what follows."""

from collections.abc import Sequence

from bnexp.claims.findings import Finding, Number
from bnexp.claims.report import Entry
from bnexp.claims.tables import Row as TableRow
from bnexp.claims.tables import table_parts
from bnexp.reports import numbers, words
from bnexp.reports.blocks import Block, Gap, Grid, Heading, Line, Quote, Row
from bnexp.reports.limits import limits
from bnexp.reports.overview import tone


def section(entry: Entry, seen: str = "") -> list[Block]:
    """One claim. `seen` is what a person wrote of these data."""
    finding, claim = entry.finding, entry.finding.claim
    blocks: list[Block] = [Heading(finding.name), Line(claim.question, "strong"), verdict(entry), *advice(finding)]
    blocks += [Gap(), Quote(words.said(claim))]
    if any(row.effect for row in finding.rows):
        blocks.append(rows_of(finding))
    if finding.numbers:
        assert entry.report is not None
        blocks += measures(finding)
        blocks += [Line(limits(claim, entry.report.instance.margin)), *significance(finding)]
    blocks += [Line(words.sentence(note), "faint") for note in finding.notes]
    if claim.caveat:
        blocks.append(Line(claim.caveat, "aside"))
    if seen:
        blocks.append(Line(seen, "strong", "What was seen: "))
    return blocks


def advice(finding: Finding) -> list[Block]:
    """What would decide an open claim."""
    return [Line(finding.advice, "strong", "What would decide it: ")] if finding.advice else []


def verdict(entry: Entry) -> Line:
    """The verdict and its sentence."""
    finding = entry.finding
    late = ", but post hoc: the claim, as it stands, is younger than its data" if entry.post_hoc else ""
    return Line(finding.sentence, tone(finding), f"{finding.answer.capitalize()}{late}. ")


def measures(finding: Finding) -> list[Block]:
    """Every number: one in a line, several in a table."""
    claim = finding.claim
    if len(finding.numbers) == 1:
        [only] = finding.numbers
        return [Line(f"{words.measured(claim, only.name)}: {numbers.sentence(only)}.")]
    rows = [_measure(finding, number) for number in finding.numbers]
    return [Grid(["measure", "effect", "95% interval", "n"], rows, right=(1, 2, 3), under="what it is")]


def _measure(finding: Finding, number: Number) -> Row:
    cells = [numbers.short(number), numbers.ends(number.effect, number.unit), str(number.n)]
    return Row([number.name, *cells], under=words.measured(finding.claim, number.name))


def significance(finding: Finding) -> list[Block]:
    """p, what it was adjusted for, and which look it is."""
    if finding.claim.exact:
        return [Line("Chance has no part in it, and so there is no p.")]
    alone = finding.family == 1
    adjusted = "" if alone else f", adjusted {numbers.p_value(finding.p_adjusted)} for {finding.family} claims (Holm)"
    text = f"p = {numbers.p_value(finding.p)}{adjusted}".replace("= <", "<")
    looks = finding.claim.looks
    if finding.look:
        text += f"; look {finding.look.number} of {len(looks)}: alpha {finding.look.alpha:g}"
    else:
        text += f"; looks at {words.listed(map(str, looks))} seeds only"
    return [Line(f"{text}.")]


def rows_of(finding: Finding) -> Grid:
    """The claim's table: a line for each combination of levels."""
    table = finding.claim.table
    assert table is not None
    arms, how = table_parts(finding.claim)
    alone = arms.control is None
    counted = how.unit == "share"  # its cells have their intervals already
    names = [words.partial(arms.treatment)]
    if arms.control is not None:
        names.insert(0, words.partial(arms.control))
    doubts = words.doubts(finding)
    columns = [*map(words.spaced, table.by), *names, *([] if counted else [words.effect_title(how, alone)])]

    def line(row: TableRow) -> Row:
        cells: Sequence[str] = [numbers.cell(cell, how) for cell in (row.control, row.treatment)]
        effect = "-" if row.effect is None else numbers.both(row.effect, row.unit, row.n)
        if alone:
            effect = "-" if row.effect is None else numbers.ends(row.effect, row.unit)
        last = [] if counted else [f"{effect} {words.mark(finding, row)}".rstrip()]
        return Row([*words.levels(row), *cells[alone:], *last])

    right = tuple(range(len(table.by), len(columns)))
    return Grid(columns, list(map(line, finding.rows)), right, words.table_title(finding), notes=doubts)
