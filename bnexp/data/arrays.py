"""Datasets that are a few files of images and labels, read whole into memory."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bnexp.data.dataset import Dataset
from bnexp.errors import DatasetError

Bytes = npt.NDArray[np.uint8]


class Arrays:
    """A source whose files lie in one folder. A kind of file says how they are read, and a dataset which they are."""

    name: str
    about: str
    classes: int
    margin: float
    how_to_get: str
    unpacked = ""
    """The folder that the authors' archive unpacks to, where it has a name of its own."""
    files: tuple[str, ...]

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders

    def arrays(self, folder: Path) -> Iterator[Bytes]:
        """Images [N, H, W] or [N, H, W, C] and labels [N], and those of the test set, from the files in `folder`."""
        raise NotImplementedError

    @staticmethod
    def path(folder: Path, name: str) -> Path:
        """The file of this name in `folder`, there or not."""
        return folder / name

    def where(self) -> Path | None:
        return next((folder for folder in self._candidates() if not self._lacks(folder)), None)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for array in self.arrays(self._found()):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def read(self) -> Dataset:
        folder = self._found()
        images, labels, test_images, test_labels = self.arrays(folder)
        sets = (images, labels.astype(np.int64), test_images, test_labels.astype(np.int64))
        found = Dataset(self.name, self.classes, 255.0, *sets)
        refuse_unfit(str(folder), found)
        return found

    def _candidates(self) -> list[Path]:
        return [folder / name for folder in self.folders for name in (self.name, self.unpacked) if name]

    def _lacks(self, folder: Path) -> list[str]:
        """The names of the files that are not in `folder`."""
        return [name for name in self.files if not self.path(folder, name).is_file()]

    def _found(self) -> Path:
        """The folder. Raises DatasetError where none has all files."""
        folder = self.where()
        if folder is not None:
            return folder
        looked = ", ".join(map(self._seen, self._candidates()))
        raise DatasetError(f"{self.name}: not found (looked in {looked}); {self.how_to_get}")

    def _seen(self, folder: Path) -> str:
        """A folder that was looked in, and what it lacks if some of the files are there."""
        lacking = self._lacks(folder)
        return str(folder) if len(lacking) == len(self.files) else f"{folder}, which lacks {' and '.join(lacking)}"


def refuse_unfit(where: str, data: Dataset) -> None:
    """Raise DatasetError, which begins with `where`, unless each image has a label that is a class, and images of both
    sets have one shape."""
    images, test_images = data.images, data.test_images
    assert isinstance(images, np.ndarray) and isinstance(test_images, np.ndarray)
    for part, pixels, named in (("train", images, data.labels), ("test", test_images, data.test_labels)):
        if len(pixels) != len(named):
            raise DatasetError(f"{where}: {len(pixels)} {part} images but {len(named)} labels")
        if named.max() >= data.classes:
            raise DatasetError(f"{where}: {part} labels must be 0 to {data.classes - 1}, not {named.max()}")
    if images.shape[1:] != test_images.shape[1:]:
        raise DatasetError(f"{where}: train images are {images.shape[1:]}, test images {test_images.shape[1:]}")
