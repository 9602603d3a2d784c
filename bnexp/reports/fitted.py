"""Tables of a terminal. Where one would have to break words, its rows are told line by line instead."""

import textwrap
from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

BESIDE = 3
"""Columns that a cell takes beside its text."""


def plain_table(*columns: str, header: bool = True) -> Table:
    """A table without lines between its columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_header=header)
    for column in columns:
        table.add_column(escape(column), overflow="fold")
    return table


def show_table(
    console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], whole: Collection[int] = ()
) -> None:
    """Print rows as a table if that breaks no word, and no cell of the columns `whole`; else a line for each cell, the
    first of a row as the heading of the others."""
    if not breaks([columns, *rows], console.width, whole):
        table = plain_table(*columns)
        for number in whole:
            table.columns[number].no_wrap = True
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
        return
    for row in rows:
        console.print(Text(f"{columns[0]} {row[0]}"), soft_wrap=True)
        for column, cell in zip(columns[1:], row[1:], strict=True):
            for line in _wrapped(f"{column}: {cell}" if column else cell, console.width - 2):
                console.print(Text(f"  {line}"), soft_wrap=True)


def breaks(rows: Sequence[Sequence[str]], width: int, whole: Collection[int] = ()) -> bool:
    """Whether a table of these rows, the headings among them, must break something to be so narrow. What is too wide is
    taken from the widest columns, which then are equally wide."""
    lengths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    wraps = [number for number in range(len(lengths)) if number not in whole]
    longest = max((len(word) for row in rows for number in wraps for word in row[number].split()), default=0)
    narrowest = [min(length, longest) if number in wraps else length for number, length in enumerate(lengths)]
    return sum(narrowest) > width - BESIDE * len(lengths) - 1


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, max(1, width), break_long_words=False, break_on_hyphens=False, subsequent_indent="  ")
