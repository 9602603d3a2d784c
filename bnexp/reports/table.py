"""The report in a terminal, with rich. Text from files is escaped before it is markup."""

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bnexp.claims.model import described
from bnexp.claims.report import Report
from bnexp.claims.verdicts import Finding
from bnexp.reports import words

STYLES = {"supported": "green", "refuted": "red", "inconclusive": "yellow", "not tested": "dim"}


def render(report: Report, console: Console) -> None:
    """One screen of answers, then a table for each question that was tested, then what was not."""
    console.print(Text(words.scale(report), style="bold"))
    console.print(Text(words.counts(report)))
    console.print(_answers(report.about_it) if report.about_it else Text(words.no_claims(report)))
    for finding in report.about_it:
        console.print(_question(finding, report.instance.margin))
    if report.elsewhere:
        console.print(_not_tested(report.elsewhere))
    console.print(Text(words.GLOSSARY, style="dim"))
    for machine in report.machines:
        console.print(Text(machine, style="dim"))


def _answers(findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0))
    table.add_column("Question")
    table.add_column("Measured [95% interval]", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("Answer", no_wrap=True)
    for finding in findings:
        measured = words.interval(finding.effect, finding.unit) if finding.effect else "-"
        table.add_row(escape(finding.claim.question), escape(measured), str(finding.n or "-"), _answer(finding))
    return table


def _answer(finding: Finding) -> Text:
    return Text(finding.answer, style=STYLES[finding.answer])


def _question(finding: Finding, margin: float) -> RenderableType:
    claim = finding.claim
    lines: list[RenderableType] = [
        Rule(Text(claim.question, style="bold"), align="left"),
        Text(f'The paper ({claim.section}): "{claim.quote}"' + (f"; {claim.paper}" if claim.paper else "")),
    ]
    if any(row.effect for row in finding.rows):
        lines += [Text(words.table_title(finding), style="dim"), _rows(finding)]
        lines += [Text(doubt, style="dim") for doubt in words.doubts(finding)]
    if finding.effect:
        lines += [Text(words.evidence(finding)), Text(words.limits(finding, margin))]
    lines += [Text(note, style="dim") for note in finding.notes]
    lines.append(Text.assemble((f"{finding.answer.capitalize()}. ", STYLES[finding.answer]), finding.sentence))
    if claim.caveat:
        lines.append(Text(claim.caveat, style="italic"))
    return Padding(Group(*lines), (0, 0, 1, 0))


def _rows(finding: Finding) -> Table:
    claim = finding.claim
    assert claim.arms is not None and claim.table is not None
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0))
    for factor in claim.table.by:
        table.add_column(escape(words.spaced(factor)))
    table.add_column(escape(described(claim.arms.control)), justify="right", no_wrap=True)
    table.add_column(escape(described(claim.arms.treatment)), justify="right", no_wrap=True)
    table.add_column(words.effect_title(finding), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in finding.rows:
        arms = [words.cell(cell, row.unit) for cell in (row.control, row.treatment)]
        table.add_row(*map(escape, (*words.levels(row), *arms, words.effect(row), words.mark(finding, row))))
    return table


def _not_tested(findings: list[Finding]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_header=False)
    table.add_column("Question", ratio=1)
    table.add_column("Why", ratio=1)
    for finding in findings:
        table.add_row(escape(finding.claim.question), escape(finding.sentence))
    return Padding(Group(Rule(Text("Not tested here", style="bold"), align="left"), table), (0, 0, 1, 0))
