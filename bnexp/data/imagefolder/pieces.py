"""Decoding the pictures of a listing piece by piece, each a run of them, into one file."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO

from bnexp.data.imagefolder.decoders import Decoded, Decoders
from bnexp.data.imagefolder.index import Piece
from bnexp.data.imagefolder.journal import Entry, Journal
from bnexp.data.imagefolder.layout import Listing
from bnexp.errors import DatasetError

MOST_PICTURES = 1024
"""Of a piece."""
PIECE_BYTES = 64 << 20
"""About as many, of a piece."""
CHUNK = 16
"""Pictures that a process decodes before it gives them away."""

Tell = Callable[[int, int, int], None]
"""Is told how many pictures are done, of how many, and how many of them were left out."""


def decode_pieces(
    listing: Listing, pixels: BinaryIO, journal: Journal, workers: int, skip_damaged: bool, tell: Tell
) -> None:
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
    # A piece goes to the disk while the next is decoded.
    with Decoders(min(workers, len(chunks)), listing.root, journal.plan.size) as decoders, _Storing(journal) as storing:
        decoded = decoders.decode(listing.paths[chunk.start : chunk.stop] for chunk in chunks)
        piece = _Piece(begun, pixels)
        for chunk, pictures in zip(chunks, decoded, strict=True):
            piece.add(chunk, pictures, skip_damaged)
            tell(chunk.stop, total, left_out + len(piece.left_out))
            if chunk.stop == total or chunk.stop % per_piece == 0:
                storing.store(piece)
                left_out += len(piece.left_out)
                piece = _Piece(piece.number + 1, pixels)


def pictures_a_piece(size: int) -> int:
    """How many pictures make a piece; a picture is taken for a third longer than wide."""
    return max(1, min(MOST_PICTURES, PIECE_BYTES // (4 * size * size)))


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

    def flush(self) -> None:
        """Give all of it to the system."""
        self._pixels.flush()

    def complete(self) -> Entry:
        """What the journal says of it, once it is on the disk."""
        os.fsync(self._pixels.fileno())
        piece = Piece(pictures=len(self._sizes), bytes=self._bytes, sha256=self._digest.hexdigest())
        return Entry(number=self.number, piece=piece, sizes=tuple(self._sizes), left_out=self.left_out)


class _Storing:
    """A thread that brings pieces to the disk, one after the other, and each then into the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> "_Storing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        if self._last is not None and kind is None:
            self._last.result()

    def store(self, piece: _Piece) -> None:
        """Begin to store a piece, once the one before is stored. Raises OSError where that one could not be."""
        piece.flush()
        if self._last is not None:
            self._last.result()
        self._last = self._thread.submit(lambda: self._journal.append(piece.complete()))
