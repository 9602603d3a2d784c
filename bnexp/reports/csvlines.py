"""Rows as CSV, into a file or the terminal, for programs and for spreadsheets.

A spreadsheet takes a text that begins with a sign such as = for a formula and runs it. Such a text has an apostrophe in
front here, and so has one that begins with an apostrophe, so that programs get the text back by taking one away.
"""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from bnexp.text import printable

END = "\r\n"
"""Of a line, to the module `csv`, which then quotes texts with either character in them."""


FORMULA = frozenset("=+-@\t\r\n'")
"""What a text begins with that gets an apostrophe in front."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class _Lines:
    """Lines that end as they do everywhere else here."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        return self.file.write(line.removesuffix(END) + "\n")


def write_csv(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]], heads: bool = True) -> None:
    """What the database has, the columns' names first if there are to be `heads`; no text of it is a formula, and a
    terminal is not told its control characters."""
    told: Callable[[Any], Any] = _printable if file.isatty() else guarded
    writer = csv.writer(_Lines(file), lineterminator=END)
    if heads:
        writer.writerow(map(told, columns))
    writer.writerows(map(told, row) for row in rows)
    file.flush()  # a full disk shows here


def plain(value: Any) -> Any:
    """A value as text has it; blobs as hexadecimal digits."""
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


def guarded(value: Any) -> Any:
    """A value as it is written: a text that a spreadsheet would run, or that looks as if it had been guarded, with an
    apostrophe in front; numbers, written as text or not, as they are."""
    if isinstance(value, str) and value[:1] in FORMULA and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return plain(value)


def unguarded(text: str) -> str:
    """A text as it was before it was `guarded`."""
    return text[1:] if text[:1] == "'" and text[1:2] in FORMULA else text


def _printable(value: Any) -> Any:
    return printable(guarded(value)) if isinstance(value, str) else plain(value)
