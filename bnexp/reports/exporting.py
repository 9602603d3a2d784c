"""Tables of a database as CSV or Parquet: in parts, as they are read."""

import sys
from collections.abc import Callable, Iterator, Mapping
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from bnexp.errors import UsageError
from bnexp.files import rewritten
from bnexp.reports.csvlines import write_csv
from bnexp.table import Table, arrow

TRUTH = {True: "true", False: "false", None: None}


def export(parts: Iterator[Table], output: Path | None) -> int:
    """Write the rows of all parts into the file `output`, CSV or Parquet by its ending, or as CSV to standard output;
    return how many there were. Raises UsageError where the ending is another, or the file cannot be written."""
    if output is None:
        return _write_lines(sys.stdout, parts)
    form = FORMS.get(output.suffix.lower())
    if form is None:
        raise UsageError(f"--output {output}: its ending must be one of {', '.join(FORMS)}")
    try:
        with rewritten(output) as file:
            return form(file, parts)
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written ({error.strerror or error})") from error


def _write_csv(file: BinaryIO, parts: Iterator[Table]) -> int:
    text = TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
    count = _write_lines(text, parts)
    text.detach()
    return count


def _write_lines(file: TextIO, parts: Iterator[Table]) -> int:
    count = 0
    for part in parts:
        write_csv(file, part.columns, _words(part), heads=not count)
        count += len(part)
    return count


def _words(table: Table) -> Iterator[tuple[Any, ...]]:
    """Rows with booleans as true and false, and times as ISO 8601 has them: the same from every kind of database."""
    kinds = [field.kind for field in table.fields().values()]
    told = {place: WORDS[kind] for place, kind in enumerate(kinds) if kind in WORDS}
    if not told:
        yield from table.rows()
        return
    for row in table.rows():
        words = list(row)
        for place, word in told.items():
            words[place] = word(row[place])
        yield tuple(words)


def _write_parquet(file: BinaryIO, parts: Iterator[Table]) -> int:
    arrow()  # or say that it is not there
    from pyarrow import parquet

    first = next(parts)
    with parquet.ParquetWriter(file, first.to_arrow().schema) as writer:
        count = 0
        for part in chain([first], parts):
            writer.write_table(part.to_arrow())
            count += len(part)
    return count


WORDS: Mapping[str, Callable[[Any], Any]] = {
    "boolean": TRUTH.__getitem__,
    "time": lambda time: time and f"{time.isoformat(timespec='microseconds')}Z",
}
FORMS: Mapping[str, Callable[[BinaryIO, Iterator[Table]], int]] = {".csv": _write_csv, ".parquet": _write_parquet}
