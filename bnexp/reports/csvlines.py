"""Rows as CSV, into a file or the terminal."""

import csv
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from bnexp.text import printable

END = "\r\n"
"""Of a line, to the module `csv`, which then quotes texts with either character in them."""


class _Lines:
    """Lines that end as they do everywhere else here."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        return self.file.write(line.removesuffix(END) + "\n")


def write_csv(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]], heads: bool = True) -> None:
    """Exactly what the database has, the columns' names first if there are to be `heads`; but a terminal is not told
    its control characters."""
    told: Callable[[Any], Any] = _printable if file.isatty() else plain
    writer = csv.writer(_Lines(file), lineterminator=END)
    if heads:
        writer.writerow(map(told, columns))
    writer.writerows(map(told, row) for row in rows)
    file.flush()  # a full disk shows here


def plain(value: Any) -> Any:
    """A value as text has it; blobs as hexadecimal digits."""
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else plain(value)
