"""A report in the format asked for, to standard output or a file."""

import io
from pathlib import Path

import click
from rich.console import Console

from bnexp.claims.report import Report
from bnexp.errors import UsageError
from bnexp.reports import markdown, table

WIDEST = 100
"""Columns; longer lines are hard to read."""


def render(report: Report, form: str, output: Path | None) -> None:
    """Write `report` as "table", "json" or "markdown". Raises UsageError where `output` cannot be written."""
    if form == "table" and output is None:
        console = Console()
        console.width = min(console.width, WIDEST)
        table.render(report, console)
        return
    text = _as_text(report, form)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written ({error.strerror})") from error


def _as_text(report: Report, form: str) -> str:
    if form == "markdown":
        return markdown.render(report)
    if form == "json":
        return markdown.to_json(report) + "\n"
    text = io.StringIO()
    table.render(report, Console(width=WIDEST, file=text))
    return text.getvalue()
