"""The folder of a database's checkpoints, and beside it that of what is kept of finished trials. Names of checkpoints
are made here, never taken from elsewhere, so nothing outside the folder is ever read, written or removed."""

import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from bnexp.db.folders import folder_of
from bnexp.db.rows import Job
from bnexp.db.url import parse_url
from bnexp.records import Checkpoint

FILE = re.compile(r"cohort-([0-9]{1,18})\.safetensors(\.[^.]+\.tmp)?")
"""A checkpoint, or the folder of one that was being written. Those that were set aside are for a person to look at."""


def folder_for(database: str, root: Path | None = None) -> "Folder":
    """The database's own folder: under `root` if given, else beside a file, and in the user's cache for a database on a
    server."""
    return Folder(folder_of(parse_url(database), "checkpoints", root))


class Folder:
    """A folder for checkpoints, made when the first is written."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.files = self.path.with_suffix(".files")
        """For what is kept of finished trials; never tidied, as `bnexp db prune` does that."""

    def checkpoint(self, job: Job, program: str) -> Checkpoint:
        """Where the job's training is kept by `program`. It goes on from there if the database says that it was."""
        path = self._file(job)
        safe = not path.is_symlink()
        recorded = (f"{config.eval_every} {' '.join(config.probes)}" for config in job.configs)
        keys = tuple(f"{key} every {what}" for key, what in zip(job.keys, recorded, strict=True))
        return Checkpoint(path, keys, program, resume=safe and job.checkpoint == path.name, files=self.files)

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
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink(missing_ok=True)
            self.path.rmdir()

    def _file(self, job: Job) -> Path:
        return self.path / f"cohort-{job.cohort_id}.safetensors"
