"""Where the files stand that are kept of finished trials. Nothing here needs torch."""

import hashlib
from pathlib import Path

from bnexp.errors import BnexpError
from bnexp.files import write_whole
from bnexp.records import Checkpoint, Kept, KeptKind


def place(folder: Path, kept: Kept) -> Path:
    """The file in `folder` that `kept` names."""
    return folder / f"{kept.sha256}.safetensors"


def put(checkpoint: Checkpoint, slot: int, kind: KeptKind, content: bytes) -> Kept:
    """Write a file of the cohort's trial in `slot`, whole and on disk, under the hash of its content, in the folder for
    such, which there must be. Raises BnexpError where it cannot be written: a result without what was asked for would
    lie."""
    assert checkpoint.files is not None
    kept = Kept(kind, hashlib.sha256(content).hexdigest(), len(content))
    try:
        write_whole(place(checkpoint.files, kept), content)
    except OSError as error:
        raise BnexpError(
            f"trial {checkpoint.trial_key(slot)[:12]}: its {kind} cannot be kept in {checkpoint.files} "
            f"({error.strerror or error}); make room there, {checkpoint.remedy}, or leave out `keep`"
        ) from error
    return kept
