"""Where the files stand that are kept of finished trials. Nothing here needs torch."""

import hashlib
from pathlib import Path

from bnexp.errors import BnexpError
from bnexp.files import write_whole
from bnexp.records import Kept, KeptKind


def place(folder: Path, kept: Kept) -> Path:
    """The file in `folder` that `kept` names."""
    return folder / f"{kept.sha256}.safetensors"


def put(folder: Path, kind: KeptKind, content: bytes, trial_key: str) -> Kept:
    """Write a file of the trial, whole and on disk, under the hash of its content. Raises BnexpError where it cannot be
    written: a result without what was asked for would lie."""
    kept = Kept(kind, hashlib.sha256(content).hexdigest(), len(content))
    try:
        write_whole(place(folder, kept), content)
    except OSError as error:
        raise BnexpError(
            f"trial {trial_key[:12]}: its {kind} cannot be kept in {folder} ({error.strerror or error}); make room "
            "there, name another folder with --checkpoints, or leave out `keep`"
        ) from error
    return kept
