"""Copying the files that are kept of trials whose results come, or are here already, and their rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, bindparam, text

from bnexp.db import rows
from bnexp.db.inserts import insert_rows
from bnexp.db.kept import content, fault, named
from bnexp.db.upkeep.merging.matching import Matched
from bnexp.db.upkeep.writing import parts
from bnexp.db.wishes import keep_more
from bnexp.errors import DatabaseError, MissingFileError
from bnexp.files import write_whole

OF_TRIALS = text(f"select {', '.join(rows.FILE)} from files where trial_id in :ids").bindparams(
    bindparam("ids", expanding=True)
)


@dataclass
class Copied:
    """What came of the other database's files."""

    rows: int = 0
    missing: list[str] = field(default_factory=list)
    """The names of files that are gone or damaged there. Their rows come: they say what was kept, and with which
    hash."""


def copy_files(source: Connection, target: Connection, matched: Matched, theirs: Path, ours: Path) -> Copied:
    """Copy from the folder `theirs` into `ours` what is not there yet, also of trials that ended alike in both and are
    kept there alone, if the file is there. Raises DatabaseError where that fails; files that came before are then
    orphans, which `bnexp db prune` removes."""
    copied, have = Copied(), cache(partial(_copy, theirs, ours))
    for part in parts(matched.ended):
        found = _of(source, part, matched)
        missing = [named(sha256) for _, _, sha256, size in found if not have(sha256, size)]
        copied.missing = list(dict.fromkeys([*copied.missing, *missing]))
        _add(target, found, copied)
    for part in parts(matched.alike):
        known = {(row.trial_id, row.kind): row.sha256 for row in _rows(target, [matched.here[i] for i in part])}
        found = [row for row in _of(source, part, matched) if known.get((row[0], row[1]), row[2]) == row[2]]
        whole = [row for row in found if have(row[2], row[3])]
        new = [row for row in whole if (row[0], row[1]) not in known]
        _add(target, new, copied)
        keep_more(target, [(trial_id, kind) for trial_id, kind, *_ in new])
    return copied


File = tuple[int, str, str, int]
"""A row: the number of its trial, kind, hash and bytes."""


def _rows(connection: Connection, trials: Sequence[int]) -> Sequence[Row[Any]]:
    return connection.execute(OF_TRIALS, {"ids": trials}).all()


def _of(source: Connection, trials: Sequence[int], matched: Matched) -> list[File]:
    """The rows of these trials there, with their numbers here."""
    return [(matched.here[row.trial_id], row.kind, row.sha256, row.bytes) for row in _rows(source, trials)]


def _add(target: Connection, new: list[File], copied: Copied) -> None:
    insert_rows(target, "files", rows.FILE, new)
    copied.rows += len(new)


def _copy(theirs: Path, ours: Path, sha256: str, size: int) -> bool:
    """Have the file in the folder `ours`; whether it is there now."""
    if not fault(ours, sha256, size):
        return True
    try:
        read = content(theirs, sha256, size)
    except MissingFileError:
        return False
    path = ours / named(sha256)
    try:
        write_whole(path, read)
    except OSError as error:
        raise DatabaseError(
            f"nothing was merged: {path} cannot be written ({error.strerror or error}); make room there, or name "
            "another folder with --checkpoints"
        ) from error
    return True
