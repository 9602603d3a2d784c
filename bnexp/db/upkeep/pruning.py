"""Reclaiming files of which no trial knows: of runs that crashed between a file and its result, of trials that were
deleted, of a merge that was not written."""

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from bnexp.db.connection import explained
from bnexp.db.results import Results
from bnexp.db.upkeep.writing import alone
from bnexp.db.url import parse_url
from bnexp.errors import DatabaseError

FILE = re.compile(r"([0-9a-f]{64})\.safetensors(\.[0-9]+\.tmp)?")
"""A kept file, or one that was being written. What is called otherwise is not ours."""
YOUNG_SECONDS = 3600.0
"""A file may be so old and its result not yet stored."""


@dataclass(frozen=True)
class Pruned:
    """What goes, or would."""

    folder: Path
    files: int
    """That no trial names."""
    bytes: int
    young: int
    """Files that no trial names, and that stay since a worker may be about to store what they belong to."""
    kept: int
    """Files that trials name."""


@dataclass(frozen=True)
class _Orphans:
    going: list[Path]
    pruned: Pruned


def foresee(database: str, root: Path | None = None) -> Pruned:
    """What would go from the database's folder of kept files, which lies under `root` if given."""
    results = Results(database, root)
    try:
        with explained(results.url), results.engine.connect() as connection:
            return _find(connection, results.files).pruned
    finally:
        results.close()


def prune(database: str, root: Path | None = None) -> Pruned:
    """Remove the files that no trial names; what went. Raises DatabaseError where one cannot be removed."""
    results = Results(database, root)
    results.close()
    with alone(parse_url(database), create=False) as connection:
        found = _find(connection, results.files)
        for path in found.going:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise DatabaseError(f"{path} cannot be removed ({error.strerror or error})") from error
    with suppress(OSError):
        results.files.rmdir()  # where nothing is left
    return found.pruned


def _find(connection: Connection, folder: Path) -> _Orphans:
    named = set(connection.execute(text("select sha256 from files")).scalars())
    # A cohort under lease, even one that has run out, may have written files and be about to store its results.
    trains = connection.execute(text("select count(*) from cohorts where status = 'running'")).scalar_one() > 0
    going: list[Path] = []
    size = young = kept = 0
    try:
        listed = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in listed:
            found = FILE.fullmatch(path.name)
            if not found or path.is_dir():
                continue
            about = path.lstat()
            if found[1] in named and not found[2]:
                kept += 1
            elif (found[2] or trains) and time.time() - about.st_mtime < YOUNG_SECONDS:
                young += 1
            else:
                going.append(path)
                size += about.st_size
    except OSError as error:
        raise DatabaseError(f"the folder {folder} cannot be read ({error.strerror or error})") from error
    return _Orphans(going, Pruned(folder, len(going), size, young, kept))
