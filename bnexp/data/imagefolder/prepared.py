"""A prepared folder of pictures as a dataset."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from bnexp.data.dataset import Dataset, Labels
from bnexp.data.imagefolder.index import (
    INDEX,
    LABELS,
    PIXELS,
    SIZES,
    STEP,
    Index,
    damaged,
    read_bytes,
    read_index,
)
from bnexp.data.imagefolder.pictures import LONGEST
from bnexp.data.ragged import Ragged
from bnexp.errors import DatasetError
from bnexp.files import open_file

CHANNELS = 3


class ImageFolder:
    """Pictures that `bnexp data prepare` has decoded, under the name imagefolder/NAME. Nothing of their pixels is read
    before it is asked for."""

    margin = 0.5
    how_to_get = "bnexp data prepare FOLDER --name NAME --data-dir DIR makes it of any folder of class folders"

    def __init__(self, name: str, folders: list[Path]) -> None:
        self.name, self.folders = name, folders

    def where(self) -> Path | None:
        return next((path for path in self._candidates() if (path / INDEX).is_file()), None)

    def _candidates(self) -> list[Path]:
        return [folder / self.name for folder in self.folders]

    @property
    def about(self) -> str:
        try:
            index = self._index()[1]
        except DatasetError as error:
            return str(error)
        return f"{index.pictures:,} pictures of {len(index.classes):,} classes, {index.size} pixels or more (your own)"

    @property
    def classes(self) -> int:
        """How many. Raises DatasetError where the index is missing or damaged."""
        return len(self._index()[1].classes)

    def _index(self) -> tuple[Path, Index]:
        folder = self.where()
        if folder is None:
            looked = ", ".join(map(str, self._candidates()))
            raise DatasetError(f"{self.name}: not found (looked in {looked}); {self.how_to_get}")
        return folder, read_index(folder)

    def _arrays(self, folder: Path, index: Index) -> tuple[npt.NDArray[np.int32], Labels]:
        """Sizes and labels. Raises DatasetError where they, or the file of pixels, are not as the index says."""
        contents = []
        for name, length, digest in ((SIZES, 8, index.sizes_sha256), (LABELS, 8, index.labels_sha256)):
            content = read_bytes(folder / name, length * index.pictures)
            if hashlib.sha256(content).hexdigest() != digest:
                raise damaged(folder / name, "its checksum is not the index's")
            if len(content) != length * index.pictures:
                raise damaged(folder / name, f"it has {len(content):,} bytes")
            contents.append(content)
        sizes = np.frombuffer(contents[0], "<i4").reshape(-1, 2).astype(np.int32)
        labels = np.frombuffer(contents[1], "<i8").astype(np.int64)
        shorter, longer = sizes.min(axis=1), sizes.max(axis=1)
        if (shorter != index.size).any() or (longer > LONGEST * index.size).any():
            raise damaged(folder / SIZES, f"not every picture has a shorter side of {index.size} pixels")
        if int(_lengths(sizes).sum()) != index.bytes:
            raise damaged(folder / SIZES, "the pictures are not as large as the pieces together")
        if labels.min() < 0 or labels.max() >= len(index.classes):
            raise damaged(folder / LABELS, f"labels must be 0 to {len(index.classes) - 1}")
        return sizes, labels

    def fingerprint(self) -> str:
        """Of the checksums in the index; the pixels themselves are not read, only their file's size is looked at."""
        folder, index = self._index()
        self._arrays(folder, index)
        with _pixels(folder, index):
            return index.content()

    def read(self) -> Dataset:
        folder, index = self._index()
        sizes, labels = self._arrays(folder, index)
        with _pixels(folder, index) as file:
            mapped = np.asarray(np.memmap(file, np.uint8, "r"))
        ends = np.cumsum(_lengths(sizes))
        pictures = Ragged(mapped, sizes, ends - _lengths(sizes), CHANNELS)
        train, test = np.arange(index.train), np.arange(index.train, index.pictures)
        return Dataset(
            self.name,
            len(index.classes),
            255.0,
            pictures[train],
            labels[train],
            pictures[test],
            labels[test],
        )

    def check(self, tell: Callable[[int, int], None]) -> int:
        """Read everything and compare it with the checksums in the index; how many pieces there are. `tell` is told
        how many pictures are read, of how many. Raises DatasetError at the first piece that has changed."""
        folder, index = self._index()
        self._arrays(folder, index)
        done, start = 0, 0
        with _pixels(folder, index) as file:
            for piece in index.pieces:
                tell(done, index.pictures)
                digest, left = hashlib.sha256(), piece.bytes
                while left and (content := file.read(min(left, STEP))):
                    digest.update(content)
                    left -= len(content)
                if digest.hexdigest() != piece.sha256:
                    end = start + piece.bytes
                    raise damaged(folder / PIXELS, f"bytes {start:,} to {end:,} do not have their checksum")
                done, start = done + piece.pictures, start + piece.bytes
        tell(done, index.pictures)
        return len(index.pieces)


@contextmanager
def _pixels(folder: Path, index: Index) -> Iterator[BinaryIO]:
    """The file of pixels, open. Raises DatasetError where it is not as large as the index says."""
    path = folder / PIXELS
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != index.bytes:
                raise damaged(path, f"it has {size:,} bytes, not {index.bytes:,}")
            yield file
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from error


def _lengths(sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """The bytes [N] of pictures of these sizes [N, 2]."""
    return sizes[:, 0].astype(np.int64) * sizes[:, 1] * CHANNELS
