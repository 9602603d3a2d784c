"""The journal of a preparation: a line for each piece whose pixels are on the disk, so that it can go on after
anything."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Annotated

from pydantic import Field, ValidationError

from bnexp.data.imagefolder.index import Piece, Strict
from bnexp.errors import UsageError

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

JOURNAL = "journal.jsonl"

Side = Annotated[int, Field(ge=1, le=1 << 20)]
Size = Annotated[tuple[Side, Side], Field(strict=False)]


class Plan(Strict):
    """What is prepared, and how: with all of it the same, the bytes are the same."""

    format: int
    source: str
    size: int
    decoder: str


class Entry(Strict):
    """A piece that is complete."""

    number: int
    piece: Piece
    sizes: Annotated[tuple[Size, ...], Field(strict=False)]
    """Height and width of each picture in it."""
    left_out: dict[str, str]
    """Of pictures that are not in it, what is wrong with each, by its place in the listing."""


class Journal:
    """The journal in a folder, which this process alone may write. Its entries are those of pieces 0, 1, 2, ..."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        """Go on with the journal there, or begin one. Raises UsageError where another process writes it, or it is
        about other pictures, or prepares them otherwise."""
        self.path, self.plan = folder / JOURNAL, plan
        self.entries: list[Entry] = []
        self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        try:
            self._lock()
            end = self._read()
            self._file.truncate(end)
            self._file.seek(end)
            if end == 0:
                self._write(plan)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{self.path.parent}: another process is preparing it") from error

    def _read(self) -> int:
        """Read the entries; the place behind the last that is whole. What follows it was being written at the end."""
        end = 0
        for number, line in enumerate(self._file, -1):
            try:
                if not line.endswith(b"\n"):
                    break
                if number < 0:
                    self._compare(Plan.model_validate_json(line))
                else:
                    entry = Entry.model_validate_json(line)
                    if entry.number != number or len(entry.sizes) != entry.piece.pictures:
                        break
                    self.entries.append(entry)
            except ValidationError:
                break
            end += len(line)
        return end

    def _compare(self, begun: Plan) -> None:
        plan = self.plan
        for what, before, now in (
            ("from other pictures", begun.source, plan.source),
            (f"with --size {begun.size}", begun.size, plan.size),
            (f"by {begun.decoder}, and this is {plan.decoder}", begun.decoder, plan.decoder),
            (f"in format {begun.format}", begun.format, plan.format),
        ):
            if before != now:
                raise UsageError(
                    f"{self.path.parent}: was begun {what}; delete it to begin anew, or give another --name"
                )

    def keep(self, count: int) -> None:
        """Forget all but the first `count` entries."""
        del self.entries[count:]
        self._file.seek(0)
        end = sum(len(self._file.readline()) for _ in range(count + 1))
        self._file.truncate(end)
        self._file.seek(end)

    def append(self, entry: Entry) -> None:
        """Write down that a piece is complete."""
        self.entries.append(entry)
        self._write(entry)

    def _write(self, line: Strict) -> None:
        self._file.write(json.dumps(line.model_dump(mode="json")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
