"""Copying the files that are kept of trials whose results come, or are here already, and their rows."""

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, bindparam, text

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
    """Copy from the folder `theirs` into `ours` what is not there yet. Raises DatabaseError where that fails; files
    that came before are then orphans, which `bnexp db prune` removes."""
    copied, seen = Copied(), set[str]()
    for part in parts([*matched.ended, *matched.alike]):
        known = {
            (row.trial_id, row.kind) for row in target.execute(OF_TRIALS, {"ids": [matched.here[i] for i in part]})
        }
        found = [(matched.here[trial_id], *rest) for trial_id, *rest in source.execute(OF_TRIALS, {"ids": part})]
        new = [row for row in found if row[:2] not in known]
        for _, _, sha256, size in new:
            if sha256 not in seen and fault(ours, sha256, size):
                _copy(copied, sha256, size, theirs, ours)
            seen.add(sha256)
        insert_rows(target, "files", rows.FILE, new)
        keep_more(target, [(trial_id, kind) for trial_id, kind, *_ in new])
        copied.rows += len(new)
    return copied


def _copy(copied: Copied, sha256: str, size: int, theirs: Path, ours: Path) -> None:
    try:
        read = content(theirs, sha256, size)
    except MissingFileError:
        copied.missing.append(named(sha256))
        return
    path = ours / named(sha256)
    try:
        write_whole(path, read)
    except OSError as error:
        raise DatabaseError(
            f"nothing was merged: {path} cannot be written ({error.strerror or error}); make room there, or name "
            "another folder with --checkpoints"
        ) from error
