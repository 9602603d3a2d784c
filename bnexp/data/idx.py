"""IDX files, the format of MNIST: a magic number, the sizes, then the bytes; plain or gzipped."""

import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bnexp.data.dataset import Dataset
from bnexp.data.gunzip import PIECE, Gunzip
from bnexp.errors import DatasetError
from bnexp.files import open_file

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
LARGEST = 4 << 30
"""Bytes that a header may announce; anything more is taken for damage."""


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
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


class Idx:
    """Four IDX files in one folder, named as MNIST's are, with or without .gz."""

    name: str
    about: str
    classes = 10
    margin = 0.3
    how_to_get: str

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders

    def where(self) -> Path | None:
        for folder in self.folders:
            candidate = folder / self.name
            if all(self._file(candidate, name) for name in FILES):
                return candidate
        return None

    @staticmethod
    def _file(folder: Path, name: str) -> Path | None:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
        return None

    def _arrays(self) -> list[npt.NDArray[np.uint8]]:
        folder = self.where()
        if folder is None:
            looked = ", ".join(str(place / self.name) for place in self.folders)
            raise DatasetError(f"{self.name}: not found (looked in {looked}); {self.how_to_get}")
        paths = [self._file(folder, name) for name in FILES]
        return [read_idx(path, 3 if "images" in path.name else 1) for path in paths if path is not None]

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for array in self._arrays():
            digest.update(repr(array.shape).encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def read(self) -> Dataset:
        images, labels, test_images, test_labels = self._arrays()
        where = self.where()
        for part, pixels, names in (("train", images, labels), ("test", test_images, test_labels)):
            if len(pixels) != len(names):
                raise DatasetError(f"{where}: {len(pixels)} {part} images but {len(names)} labels")
            if names.max() >= self.classes:
                raise DatasetError(f"{where}: {part} labels must be 0 to {self.classes - 1}, not {names.max()}")
        if images.shape[1:] != test_images.shape[1:]:
            raise DatasetError(f"{where}: train images are {images.shape[1:]}, test images {test_images.shape[1:]}")
        return Dataset(
            self.name,
            self.classes,
            255.0,
            images,
            labels.astype(np.int64),
            test_images,
            test_labels.astype(np.int64),
        )


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
