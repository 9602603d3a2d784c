"""The folder of a database's files: the checkpoints of its cohorts. Names are made here, never taken from elsewhere, so
nothing outside the folder is ever read, written or removed."""

import hashlib
import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from bnexp.db.rows import Job
from bnexp.db.url import parse_url
from bnexp.records import Checkpoint

FILE = re.compile(r"cohort-([0-9]{1,18})\.safetensors(\.[0-9]+\.tmp)?")
"""A checkpoint, or one that was being written. Those that were set aside are for a person to look at."""


def folder_for(database: str, root: Path | None = None) -> "Folder":
    """The database's own folder: under `root` if given, else beside a file, and in the user's cache for a database on a
    server."""
    url = parse_url(database)
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and root is None:
        return Folder(Path(f"{Path(url.database or '').resolve()}.checkpoints"))
    place = str(Path(url.database or "").resolve()) if sqlite else str(url.set(password=None))
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bnexp"
    return Folder((cache if root is None else root) / f"{name}.checkpoints")


class Folder:
    """A folder for checkpoints, made when the first is written."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def checkpoint(self, job: Job, program: str) -> Checkpoint:
        """Where the job's training is kept by `program`. It goes on from there if the database says that it was."""
        path = self._file(job)
        safe = not path.is_symlink()
        recorded = (f"{config.eval_every} {' '.join(config.probes)}" for config in job.configs)
        keys = tuple(f"{key} every {what}" for key, what in zip(job.keys, recorded, strict=True))
        return Checkpoint(path, keys, program, resume=safe and job.checkpoint == path.name)

    def remove(self, job: Job) -> None:
        """The job has ended; what was kept of it is of no use."""
        with suppress(OSError):
            self._file(job).unlink(missing_ok=True)

    def tidy(self, unfinished: Collection[int]) -> None:
        """Remove the files of cohorts that are not `unfinished`, and the folder where nothing is left."""
        with suppress(OSError):
            for path in self.path.iterdir():
                found = FILE.fullmatch(path.name)
                if found and int(found[1]) not in unfinished:
                    path.unlink(missing_ok=True)
            self.path.rmdir()

    def _file(self, job: Job) -> Path:
        return self.path / f"cohort-{job.cohort_id}.safetensors"
