"""What stands in the folder of a prepared dataset: pixels, sizes and labels as plain arrays, and an index of them."""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bnexp.errors import DatasetError
from bnexp.files import open_file

FORMAT: Literal[1] = 1
"""Of the folder; raised when it changes."""
PIXELS = "pixels.uint8"
"""All pictures, flat, one after the other, each in the order height, width, colour; training pictures first."""
SIZES = "sizes.int32"
"""[N, 2], height and width, little endian."""
LABELS = "labels.int64"
"""[N], little endian."""
INDEX = "index.json"
LARGEST_INDEX = 1 << 28
"""Bytes. That of a hundred million pictures is smaller."""
STEP = 1 << 20
"""Bytes that are read at a time."""

Count = Annotated[int, Field(ge=0, le=1 << 50)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Strict(BaseModel):
    """What refuses anything but what it was written as."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Piece(Strict):
    """A run of the pixels: those of some pictures."""

    pictures: Count
    bytes: Count
    sha256: Digest


class Index(Strict):
    """What has been prepared. It is written last, so that where it stands, all stands."""

    format: Literal[1]
    classes: Annotated[tuple[str, ...], Field(strict=False, min_length=2, max_length=1_000_000)]
    """Their names, by label."""
    train: Annotated[int, Field(ge=1, le=1 << 40)]
    test: Annotated[int, Field(ge=1, le=1 << 40)]
    size: Annotated[int, Field(ge=1, le=1 << 20)]
    """The shorter side of each picture, in pixels."""
    cut: bool
    """Whether the test set was cut from the only pictures that there were."""
    left_out: Count
    """Damaged pictures that are not here."""
    pieces: Annotated[tuple[Piece, ...], Field(strict=False)]
    sizes_sha256: Digest
    labels_sha256: Digest
    decoder: str
    source: str
    """Digest of the list of files that it was prepared from."""

    @property
    def pictures(self) -> int:
        return self.train + self.test

    @property
    def bytes(self) -> int:
        """Of all pixels."""
        return sum(piece.bytes for piece in self.pieces)

    def content(self) -> str:
        """SHA-256 of what the pictures and labels are, and which of them are the test set."""
        parts = [len(self.classes), self.train, self.test, self.sizes_sha256, self.labels_sha256]
        parts += [piece.sha256 for piece in self.pieces]
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def read_index(folder: Path) -> Index:
    """The index in `folder`. Raises DatasetError where there is none that can be used."""
    path = folder / INDEX
    text = read_bytes(path, LARGEST_INDEX)
    try:
        return Index.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise damaged(path, f"{where}: {first['msg']}") from error


def damaged(path: Path, what: str) -> DatasetError:
    """The error about a file of a prepared dataset."""
    return DatasetError(f"{path}: is damaged ({what}); delete its folder, and let `bnexp data prepare` make it again")


def read_bytes(path: Path, most: int) -> bytes:
    """A whole file of at most so many bytes. Raises DatasetError where there is no such file."""
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise damaged(path, f"has {size:,} bytes, more than the {most:,} that it may have")
            return file.read(size)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from error
