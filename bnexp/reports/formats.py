"""Blocks and JSON in the format asked for, to standard output or a file."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bnexp.errors import UsageError
from bnexp.files import write_file
from bnexp.reports import markdown, table
from bnexp.reports.blocks import Block
from bnexp.reports.screen import Screen

WIDEST = 100
"""Columns; longer lines are hard to read."""


def render(blocks: Sequence[Block], form: str, output: Path | None, to_json: Callable[[], str]) -> None:
    """Write `blocks` as "table" or "markdown", or what `to_json` gives as "json". Raises UsageError where `output`
    cannot be written."""
    if form == "table" and output is None:
        show(blocks)
        return
    write(to_json() if form == "json" else markdown.render(blocks) if form == "markdown" else as_text(blocks), output)


def write(text: str, output: Path | None) -> None:
    """Write `text` to a file, and say so, or to standard output where there is none. Raises UsageError where that
    fails."""
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_file(output, text)
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written ({error.strerror})") from error
    click.echo(f"wrote {output}", err=True)


def show(blocks: Sequence[Block]) -> None:
    """Print blocks as wide as the terminal is, up to WIDEST."""
    console = Screen()
    console.width = min(console.width, WIDEST)
    table.render(blocks, console)


def as_text(blocks: Sequence[Block], width: int = WIDEST) -> str:
    """Blocks as plain text."""
    text = io.StringIO()
    table.render(blocks, Screen(width=width, file=text))
    return text.getvalue()
