"""CIFAR's binary version: records of a label, or two, and an image's planes red, green and blue."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bnexp.data.arrays import Arrays, Bytes
from bnexp.errors import DatasetError
from bnexp.files import open_file

SIDE = 32
PIXELS = 3 * SIDE * SIDE
LARGEST = 1 << 30
"""Bytes of a file, of which the real ones have 154 million at most."""


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


class Cifar(Arrays):
    """Files of records in one folder, the last of them the test set. The label that counts is the last before the
    pixels."""

    margin = 0.5
    labels: int
    """Bytes of labels in a record."""

    def arrays(self, folder: Path) -> Iterator[Bytes]:
        for names in (self.files[:-1], self.files[-1:]):
            records = np.concatenate([self._records(self.path(folder, name)) for name in names])
            planes = records[:, self.labels :].reshape(-1, 3, SIDE, SIDE)
            yield np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
            yield records[:, self.labels - 1].copy()

    def _records(self, path: Path) -> Bytes:
        records = read_records(path, self.labels)
        largest = records[:, self.labels - 1].max()
        if largest >= self.classes:
            raise DatasetError(f"{path}: labels must be 0 to {self.classes - 1}, not {largest}")
        return records


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
    files = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")


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
    files = ("train.bin", "test.bin")
