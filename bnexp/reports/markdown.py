"""The report as Markdown, and as JSON: for files and for other programs."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from bnexp.claims.model import described
from bnexp.claims.report import Report
from bnexp.claims.verdicts import Finding, Row
from bnexp.reports import words


def render(report: Report) -> str:
    """The same as in the terminal, as Markdown."""
    lines = [f"# {_plain(words.scale(report))}", "", words.counts(report) + ".", ""]
    lines += _answers(report.about_it) if report.about_it else [_plain(words.no_claims(report))]
    for finding in report.about_it:
        lines += _question(finding, report.instance.margin)
    if report.elsewhere:
        lines += ["", "## Not tested here", ""]
        lines += _table(["Question", "Why"], ([f.claim.question, f.sentence] for f in report.elsewhere))
    lines += ["", words.GLOSSARY]
    return "\n".join([*lines, "", *(f"{machine}  " for machine in report.machines), ""])


def _answers(findings: list[Finding]) -> list[str]:
    def row(finding: Finding) -> list[str]:
        measured = words.interval(finding.effect, finding.unit) if finding.effect else "-"
        return [finding.claim.question, measured, str(finding.n or "-"), f"**{finding.answer}**"]

    return _table(["Question", "Measured [95% interval]", "n", "Answer"], map(row, findings))


def _question(finding: Finding, margin: float) -> list[str]:
    claim = finding.claim
    paper = f"; {claim.paper}" if claim.paper else ""
    lines = [
        "",
        f"## {_plain(claim.question)}",
        "",
        f"> {_plain(claim.quote)} ({_plain(claim.section)}{_plain(paper)})",
    ]
    if any(row.effect for row in finding.rows) and claim.arms is not None and claim.table is not None:
        factors = [words.spaced(factor) for factor in claim.table.by]
        arms = [described(claim.arms.control), described(claim.arms.treatment)]
        lines += ["", words.table_title(finding) + ".", ""]
        lines += _table([*factors, *arms, words.effect_title(finding)], (_row(finding, row) for row in finding.rows))
        lines += [line for doubt in words.doubts(finding) for line in ("", _plain(doubt))]
    lines += ["", f"{words.evidence(finding)}. {words.limits(finding, margin)}"] if finding.effect else []
    lines += ["", "; ".join(finding.notes) + "."] if finding.notes else []
    lines += ["", f"**{finding.answer.capitalize()}.** {_plain(finding.sentence)}"]
    return lines + (["", f"*{_plain(claim.caveat)}*"] if claim.caveat else [])


def _row(finding: Finding, row: Row) -> list[str]:
    arms = [words.cell(cell, row.unit) for cell in (row.control, row.treatment)]
    return [*words.levels(row), *arms, f"{words.effect(row)} {words.mark(finding, row)}".rstrip()]


def _plain(text: str) -> str:
    """Text that Markdown leaves alone."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#" else " " if char == "\n" else char for char in text)


def _table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(header), line(["---"] * len(header)), *map(line, rows)]


def to_json(report: Report) -> str:
    """Everything in the report, as JSON. Effects in "log2" are logarithms of ratios; infinite numbers are text."""
    content = {
        "experiment": report.instance.name,
        "overrides": report.instance.overrides,
        "datasets": report.datasets,
        "models": report.models,
        "counts": report.counts,
        "machines": report.machines,
        "findings": [
            {**asdict(finding), "claim": finding.claim.definition(), "margin": report.instance.margin}
            for finding in report.findings
        ],
    }
    return json.dumps(_jsonable(content), indent=2)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
