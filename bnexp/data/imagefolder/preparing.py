"""Decoding a folder of pictures once, into one file that experiments map. It goes on where it was stopped."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bnexp.data.imagefolder.decoders import Chunk, Decoded, Decoders
from bnexp.data.imagefolder.index import (
    FORMAT,
    INDEX,
    LABELS,
    PIXELS,
    SIZES,
    Index,
    Piece,
    read_index,
    sync_folder,
    write_whole,
)
from bnexp.data.imagefolder.journal import JOURNAL, Entry, Journal, Plan
from bnexp.data.imagefolder.layout import Listing, inside
from bnexp.data.imagefolder.pictures import decoder
from bnexp.errors import DatasetError, UsageError

MOST_PICTURES = 1024
"""Of a piece."""
PIECE_BYTES = 64 << 20
"""About as many, of a piece."""
CHUNK = 16
"""Pictures that a process decodes before it gives them away."""

Tell = Callable[[int, int, int], None]
"""Is told how many pictures are done, of how many, and how many of them were left out."""


def prepare(listing: Listing, target: Path, size: int, workers: int, skip_damaged: bool, tell: Tell) -> Index:
    """Decode the pictures of `listing` into the folder `target`, each with a shorter side of `size` pixels, in
    `workers` processes. What an earlier call has done is not done again, and the result is the same bytes.

    Raises DatasetError where a picture is damaged, unless `skip_damaged`; UsageError where something else stands
    there."""
    plan = Plan(format=FORMAT, source=listing.digest, size=size, decoder=decoder())
    if inside(target, listing.root):
        raise UsageError(f"{target}: is in the folder of the pictures; choose another --data-dir")
    if (index := _found(target, plan)) is not None:
        return index
    target.mkdir(parents=True, exist_ok=True)
    with Journal(target, plan) as journal:
        if (index := _found(target, plan)) is None:  # else another process was done just now
            with (target / PIXELS).open("ab") as pixels:
                sync_folder(target)
                _decode(listing, pixels, journal, workers, skip_damaged, tell)
            index = _finish(listing, target, journal.entries, plan)
        journal.end()
    return index


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


def _decode(listing: Listing, pixels: BinaryIO, journal: Journal, workers: int, skip_damaged: bool, tell: Tell) -> None:
    """Make the pieces that the journal does not have yet."""
    per_piece = pictures_a_piece(journal.plan.size)
    _cut_back(pixels, journal)
    left_out = 0
    for entry in journal.entries:
        for reason in entry.left_out.values():
            left_out += 1
            if not skip_damaged:
                raise _damage(reason)
    total, begun = len(listing.paths), len(journal.entries)
    tell(min(begun * per_piece, total), total, left_out)
    chunks = [
        range(at, min(at + CHUNK, start + per_piece, total))
        for start in range(begun * per_piece, total, per_piece)
        for at in range(start, min(start + per_piece, total), CHUNK)
    ]
    if not chunks:
        return
    with Decoders(min(workers, len(chunks)), listing.root, journal.plan.size) as decoders:
        decoded = decoders.decode(_paths(listing, chunk) for chunk in chunks)
        piece = _Piece(begun, pixels)
        for chunk, pictures in zip(chunks, decoded, strict=True):
            piece.add(chunk, pictures, skip_damaged)
            if chunk.stop == total or chunk.stop % per_piece == 0:
                entry = piece.complete()
                journal.append(entry)
                left_out += len(entry.left_out)
                piece = _Piece(piece.number + 1, pixels)
            tell(chunk.stop, total, left_out + len(piece.left_out))


def pictures_a_piece(size: int) -> int:
    """How many pictures make a piece; a picture is taken for a third longer than wide."""
    return max(1, min(MOST_PICTURES, PIECE_BYTES // (4 * size * size)))


def _paths(listing: Listing, chunk: range) -> Chunk:
    return listing.paths[chunk.start : chunk.stop]


def _cut_back(pixels: BinaryIO, journal: Journal) -> None:
    """Cut the pixels off behind the last piece that is complete, and forget pieces that are not there after all."""
    there, whole, end = os.fstat(pixels.fileno()).st_size, 0, 0
    for entry in journal.entries:
        if end + entry.piece.bytes > there:
            break
        whole, end = whole + 1, end + entry.piece.bytes
    journal.keep(whole)
    pixels.truncate(end)


def _damage(reason: str) -> DatasetError:
    return DatasetError(f"{reason}; --skip-damaged leaves such pictures out")


class _Piece:
    """A piece that is being written."""

    def __init__(self, number: int, pixels: BinaryIO) -> None:
        self.number, self._pixels = number, pixels
        self._digest, self._bytes = hashlib.sha256(), 0
        self._sizes: list[tuple[int, int]] = []
        self.left_out: dict[str, str] = {}

    def add(self, chunk: range, pictures: Decoded, skip_damaged: bool) -> None:
        for place, picture in zip(chunk, pictures, strict=True):
            if isinstance(picture, str):
                if not skip_damaged:
                    raise _damage(picture)
                self.left_out[str(place)] = picture
                continue
            self._pixels.write(picture.data)
            self._digest.update(picture.data)
            self._bytes += picture.nbytes
            self._sizes.append(picture.shape[:2])

    def complete(self) -> Entry:
        """What the journal says of it, once it is on the disk."""
        self._pixels.flush()
        os.fsync(self._pixels.fileno())
        piece = Piece(pictures=len(self._sizes), bytes=self._bytes, sha256=self._digest.hexdigest())
        return Entry(number=self.number, piece=piece, sizes=tuple(self._sizes), left_out=self.left_out)


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
