"""IDX files, the format of MNIST: a magic number, the sizes, then the bytes; plain or gzipped."""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bnexp.data.arrays import Arrays, Bytes
from bnexp.data.gunzip import PIECE, Gunzip
from bnexp.errors import DatasetError
from bnexp.files import open_file

LARGEST = 4 << 30
"""Bytes that a header may announce; anything more is taken for damage."""


def read_idx(path: Path, dimensions: int) -> Bytes:
    """The unsigned bytes of an IDX file with `dimensions` sizes. Never reads more than its header announces, and never
    sets memory aside that the file does not fill.

    Raises DatasetError where it is not such a file, or is shorter or longer than it says."""
    try:
        with open_file(path) as stored:
            file = Gunzip(stored) if path.suffix == ".gz" else stored
            magic = file.read(4)
            if magic != bytes([0, 0, 8, dimensions]):
                raise DatasetError(f"{path}: not an IDX file of {dimensions} dimensions (it begins {magic.hex()})")
            sizes = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
            expected = math.prod(sizes)
            if not 0 < expected <= LARGEST:
                raise DatasetError(f"{path}: its header announces {expected:,} bytes")
            content = bytearray()
            while len(content) < expected and (piece := file.read(min(expected - len(content), PIECE))):
                content += piece
            if len(content) < expected or file.read(1):
                difference = "fewer" if len(content) < expected else "more"
                raise DatasetError(f"{path}: its header announces {expected:,} bytes, and it has {difference}")
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from error
    return np.frombuffer(content, np.uint8).reshape(sizes)


class Idx(Arrays):
    """Four IDX files in one folder, named as MNIST's are, with or without .gz."""

    classes = 10
    margin = 0.3
    files = (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    )

    @staticmethod
    def path(folder: Path, name: str) -> Path:
        plain = folder / name
        return plain if plain.is_file() else folder / f"{name}.gz"

    def arrays(self, folder: Path) -> Iterator[Bytes]:
        for name in self.files:
            yield read_idx(self.path(folder, name), 3 if "images" in name else 1)


class Mnist(Idx):
    """LeCun, Cortes and Burges's handwritten digits, the data of the paper's section 4.1."""

    name = "mnist"
    about = "70,000 handwritten digits, 28x28 (the paper's section 4.1)"
    how_to_get = "put the four IDX files in a folder `mnist` under --data-dir or $BNEXP_DATA"


class FashionMnist(Idx):
    """Zalando's articles of clothing, MNIST's harder twin."""

    name = "fashion-mnist"
    about = "70,000 articles of clothing, 28x28 (Zalando)"
    how_to_get = (
        "on Debian or Ubuntu: apt-get install dataset-fashion-mnist; elsewhere put the four IDX files "
        "in a folder `fashion-mnist` under --data-dir or $BNEXP_DATA"
    )
