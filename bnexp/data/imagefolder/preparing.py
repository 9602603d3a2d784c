"""Decoding a folder of pictures once, into one file that experiments map. It goes on where it was stopped."""

import hashlib
from pathlib import Path

import numpy as np

from bnexp.data.imagefolder.index import (
    FORMAT,
    INDEX,
    LABELS,
    PIXELS,
    SIZES,
    Index,
    read_index,
)
from bnexp.data.imagefolder.journal import JOURNAL, Entry, Journal, Plan
from bnexp.data.imagefolder.layout import Listing, inside
from bnexp.data.imagefolder.pictures import decoder
from bnexp.data.imagefolder.pieces import Tell, decode_pieces
from bnexp.errors import DatasetError, UsageError
from bnexp.files import force, remove_unfinished, write_whole


def prepare(listing: Listing, target: Path, size: int, workers: int, skip_damaged: bool, tell: Tell) -> Index:
    """Decode the pictures of `listing` into the folder `target`, each with a shorter side of `size` pixels, in
    `workers` processes. What an earlier call has done is not done again, and the result is the same bytes.

    Raises DatasetError where a picture is damaged, unless `skip_damaged`; UsageError where something else stands
    there."""
    plan = Plan(format=FORMAT, source=listing.digest, size=size, decoder=decoder())
    if inside(target, listing.root):
        raise UsageError(f"{target}: is in the folder of the pictures; choose another --data-dir")
    if (index := _found(target, plan)) is not None:
        _tidy(target)
        return index
    target.mkdir(parents=True, exist_ok=True)
    with Journal(target, plan) as journal:
        if (index := _found(target, plan)) is None:  # else another process was done just now
            with (target / PIXELS).open("ab") as pixels:
                force(target)
                decode_pieces(listing, pixels, journal, workers, skip_damaged, tell)
            index = _finish(listing, target, journal.entries, plan)
        _tidy(target)
    return index


def _tidy(target: Path) -> None:
    """The index is there: remove the journal, and what processes that were killed have left."""
    for name in (SIZES, LABELS, INDEX):
        remove_unfinished(target / name)
    (target / JOURNAL).unlink(missing_ok=True)


def _found(target: Path, plan: Plan) -> Index | None:
    """The index, where this plan has been carried out. Raises UsageError where something else is there."""
    if not target.exists() or ((target / JOURNAL).exists() and not (target / INDEX).exists()):
        return None
    if not (target / INDEX).exists():
        if any(target.iterdir()):
            raise UsageError(f"{target}: has files that bnexp did not make; give another --name")
        return None
    index = read_index(target)
    if (index.source, index.size) != (plan.source, plan.size):
        raise UsageError(
            f"{target}: was prepared from other pictures, or other than with --size {plan.size}; delete it to prepare "
            "it anew, or give another --name"
        )
    return index


def _finish(listing: Listing, target: Path, entries: list[Entry], plan: Plan) -> Index:
    """Write sizes, labels and, last, the index."""
    left_out = np.array([int(place) for entry in entries for place in entry.left_out], np.int64)
    kept = np.delete(np.arange(len(listing.paths)), left_out)
    train = int(np.count_nonzero(kept < listing.train))
    if not 0 < train < len(kept):
        raise DatasetError(f"{listing.root}: too few pictures can be decoded for a training and a test set")
    sizes = np.array([size for entry in entries for size in entry.sizes], "<i4").tobytes()
    labels = listing.labels[kept].astype("<i8").tobytes()
    index = Index(
        format=FORMAT,
        classes=listing.classes,
        train=train,
        test=len(kept) - train,
        size=plan.size,
        cut=listing.test_folder is None,
        left_out=len(left_out),
        pieces=tuple(entry.piece for entry in entries),
        sizes_sha256=hashlib.sha256(sizes).hexdigest(),
        labels_sha256=hashlib.sha256(labels).hexdigest(),
        decoder=plan.decoder,
        source=plan.source,
    )
    write_whole(target / SIZES, sizes)
    write_whole(target / LABELS, labels)
    write_whole(target / INDEX, index.model_dump_json(indent=1).encode())
    return index
