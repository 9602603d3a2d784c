"""CIFAR's binary version: records of a label, or two, and an image's planes red, green and blue."""

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bnexp.data.dataset import Dataset
from bnexp.errors import DatasetError
from bnexp.files import open_file

SIDE = 32
PIXELS = 3 * SIDE * SIDE
LARGEST = 1 << 30
"""Bytes of a file, of which the real ones have 154 million at most."""

Bytes = npt.NDArray[np.uint8]


def read_records(path: Path, labels: int) -> Bytes:
    """The records [N, labels + 3072] of a file, whose first `labels` bytes are labels, and the others planes.

    Raises DatasetError where it is no whole number of records, or none."""
    record = labels + PIXELS
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if not 0 < size <= LARGEST or size % record:
                raise DatasetError(f"{path}: its {size:,} bytes are not records of {record:,} bytes")
            content = file.read(size)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from error
    if len(content) < size:
        raise DatasetError(f"{path}: has fewer than its {size:,} bytes")
    return np.frombuffer(content, np.uint8).reshape(-1, record)


class Cifar:
    """Files of records in one folder. The label that counts is the last before the pixels."""

    name: str
    about: str
    classes: int
    margin = 0.5
    how_to_get: str
    unpacked: str
    """The folder that the authors' archive unpacks to."""
    labels: int
    """Bytes of labels in a record."""
    train_files: tuple[str, ...]
    test_file: str

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders

    def where(self) -> Path | None:
        for candidate in self._candidates():
            if all((candidate / name).is_file() for name in (*self.train_files, self.test_file)):
                return candidate
        return None

    def _candidates(self) -> list[Path]:
        return [folder / name for folder in self.folders for name in (self.name, self.unpacked)]

    def _set(self, names: tuple[str, ...]) -> tuple[Bytes, Bytes]:
        """The images [N, 32, 32, 3] and labels [N] of these files, one after the other."""
        folder = self.where()
        if folder is None:
            looked = ", ".join(map(str, self._candidates()))
            raise DatasetError(f"{self.name}: not found (looked in {looked}); {self.how_to_get}")
        parts = []
        for name in names:
            records = read_records(folder / name, self.labels)
            largest = records[:, self.labels - 1].max()
            if largest >= self.classes:
                raise DatasetError(f"{folder / name}: labels must be 0 to {self.classes - 1}, not {largest}")
            parts.append(records)
        joined = np.concatenate(parts)
        planes = joined[:, self.labels :].reshape(-1, 3, SIDE, SIDE)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), joined[:, self.labels - 1].copy()

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for names in (self.train_files, (self.test_file,)):
            for array in self._set(names):
                digest.update(repr(array.shape).encode())
                digest.update(array.data)
        return digest.hexdigest()

    def read(self) -> Dataset:
        images, labels = self._set(self.train_files)
        test_images, test_labels = self._set((self.test_file,))
        return Dataset(
            self.name,
            self.classes,
            255.0,
            images,
            labels.astype(np.int64),
            test_images,
            test_labels.astype(np.int64),
        )


class Cifar10(Cifar):
    """Krizhevsky's photographs of ten classes."""

    name = "cifar10"
    about = "60,000 photographs of 10 classes, 32x32 in colour (Krizhevsky)"
    classes = 10
    how_to_get = (
        "unpack cifar-10-binary.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html under --data-dir or $BNEXP_DATA"
    )
    unpacked = "cifar-10-batches-bin"
    labels = 1
    train_files = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    test_file = "test_batch.bin"


class Cifar100(Cifar):
    """The same of a hundred classes; of a record's two labels, coarse and fine, the fine one."""

    name = "cifar100"
    about = "60,000 photographs of 100 classes, 32x32 in colour (Krizhevsky)"
    classes = 100
    how_to_get = (
        "unpack cifar-100-binary.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html under --data-dir or $BNEXP_DATA"
    )
    unpacked = "cifar-100-binary"
    labels = 2
    train_files = ("train.bin",)
    test_file = "test.bin"
