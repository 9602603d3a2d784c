"""The files that are kept of finished trials, read back. Names are made here from the hash of the content, so nothing
outside the folder is read, whatever a database says."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, bindparam, text

from bnexp.errors import MissingFileError
from bnexp.files import open_file
from bnexp.records import PREDICTIONS_FORMAT

PARAMETERS = 500
"""In one query; SQLite may allow no more than 999."""
HASH = re.compile("[0-9a-f]{64}")

OF_TRIALS = text(
    "select t.key, f.sha256, f.bytes from files f join trials t on t.id = f.trial_id "
    "where f.kind = :kind and t.key in :keys"
).bindparams(bindparam("keys", expanding=True))


@dataclass(frozen=True)
class Predictions:
    """What a trial's network says of every example of the validation and of the test set."""

    validation: npt.NDArray[np.float32]
    """[N, classes] Probabilities."""
    validation_labels: npt.NDArray[np.int64]
    """[N]"""
    test: npt.NDArray[np.float32]
    test_labels: npt.NDArray[np.int64]


def named(sha256: str) -> str:
    """The name of the file whose content has this hash."""
    return f"{sha256}.safetensors"


def fault(folder: Path, sha256: str, size: int) -> str:
    """What is wrong with a file of `folder` that should have this hash and so many bytes, in words; empty where
    nothing is."""
    try:
        content(folder, sha256, size)
    except MissingFileError as error:
        return str(error)
    return ""


def predictions(connection: Connection, folder: Path, keys: Sequence[str]) -> Iterator[Predictions]:
    """The predictions of these trials, one after the other in the order of `keys`, each read when it is wanted. Raises
    MissingFileError where one is not kept, or its file is gone or damaged."""
    found: dict[str, tuple[str, int]] = {}
    for start in range(0, len(keys), PARAMETERS):
        asked = {"kind": "predictions", "keys": list(keys[start : start + PARAMETERS])}
        for key, sha256, size in connection.execute(OF_TRIALS, asked):
            found[key] = sha256, size
    missing = [key for key in keys if key not in found]
    if missing:
        raise MissingFileError(
            f"no predictions were kept of {len(missing):,} of {len(keys):,} trials, trial {missing[0][:12]} for one; "
            "use another --db to train them with `keep: [predictions]`"
        )
    return (_predictions(folder, key, *found[key]) for key in keys)


def _predictions(folder: Path, key: str, sha256: str, size: int) -> Predictions:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        read = content(folder, sha256, size)
    except MissingFileError as error:
        raise MissingFileError(f"the predictions of trial {key[:12]} cannot be read: {error}") from error
    try:
        written, of = _about(read)
        tensors: dict[str, Any] = load(read)
        sets = [_of_set(tensors[f"{name}_probabilities"], tensors[f"{name}_labels"]) for name in ("validation", "test")]
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MissingFileError(f"the file {folder / named(sha256)} holds no predictions ({error})") from error
    if written != PREDICTIONS_FORMAT:
        raise MissingFileError(f"the file {folder / named(sha256)} is in the format {written!r}, which is unknown here")
    if of != key:
        raise MissingFileError(f"the file {folder / named(sha256)} is of another trial, {of[:12]}")
    return Predictions(*sets[0], *sets[1])


def _about(read: bytes) -> tuple[str, str]:
    """What the file says of its own format, and of which trial it is. (The library's reader of bytes gives tensors
    only: a file begins with the length of its header, 8 bytes, and the header, which is JSON.)"""
    length = int.from_bytes(read[:8], "little")
    about = json.loads(json.loads(read[8 : 8 + length])["__metadata__"]["bnexp"])
    return str(about["format"]), str(about["trial_key"])


def _of_set(probabilities: Any, labels: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not labels.size:
        raise ValueError(f"probabilities {probabilities.shape} of labels {labels.shape}")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"labels from {labels.min()} to {labels.max()} of {probabilities.shape[1]} classes")
    return probabilities.astype(np.float32, copy=False), labels.astype(np.int64, copy=False)


def content(folder: Path, sha256: str, size: int) -> bytes:
    """What stands in the file of `folder` with this hash and so many bytes. Raises MissingFileError where it is not
    there, or is another content."""
    if not HASH.fullmatch(sha256):
        raise MissingFileError(f"{sha256[:80]!r} is no SHA-256")
    path = folder / named(sha256)
    try:
        with open_file(path) as file:
            length = os.fstat(file.fileno()).st_size
            read = file.read() if length == size else b""
    except OSError as error:
        raise MissingFileError(
            f"{path} ({error.strerror or error}); bring the folder along with its database, or name the one that "
            "`bnexp run` was given with --checkpoints"
        ) from error
    if length != size:
        raise MissingFileError(f"{path} is damaged: it has {length:,} bytes, not {size:,}")
    if hashlib.sha256(read).hexdigest() != sha256:
        raise MissingFileError(f"{path} is damaged: its content is not what was written")
    return read
