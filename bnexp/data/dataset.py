"""What a dataset is, where it is looked for, and how train and validation are cut from it."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bnexp import own, registry
from bnexp.data.ragged import Ragged

SYSTEM_FOLDER = Path("/usr/share/datasets")
"""Where Debian's dataset packages install."""

Images = npt.NDArray[np.uint8] | Ragged
"""[examples, height, width] or [examples, height, width, channels], in memory or mapped from a file; Ragged where each
has a size of its own."""
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Labelled images, with a test set of their own."""

    name: str
    classes: int
    scale: float
    """Pixels are divided by it, so that they lie in [0, 1]."""
    images: Images
    """Train and validation are cut from these."""
    labels: Labels
    """[examples], from 0 to classes - 1."""
    test_images: Images
    test_labels: Labels

    def split(self, number: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Indices of the train and validation examples in cut `number`, each in random order. Validation is as large
        as the test set, but at most 10,000 and at most a third of the examples."""
        order = keyed_order(len(self.images), f"split {self.name} {number}")
        return order[self.held_out :], order[: self.held_out]

    @property
    def held_out(self) -> int:
        """How many of the images are for validation."""
        return min(len(self.test_images), 10_000, len(self.images) // 3)


class Source(Protocol):
    """A dataset that may or may not be on this machine. A source is made with the folders to look in, a prepared one
    with its name before them, a person's own with its name and the folder that was told."""

    name: str
    margin: float
    """The difference of accuracies, in percentage points, below which two results count as equal."""
    how_to_get: str

    @property
    def about(self) -> str:
        """What it is, in a few words."""

    @property
    def classes(self) -> int:
        """How many. Raises DatasetError where that is only known of a dataset that is here, and it is not."""

    def where(self) -> Path | None:
        """The file or folder found, or None."""

    def fingerprint(self) -> str:
        """Hash of the content as it is used. Raises DatasetError where it is missing or damaged."""

    def read(self) -> Dataset:
        """The whole dataset. Raises DatasetError where it is missing or damaged."""


def keyed_order(count: int, key: str) -> npt.NDArray[np.int64]:
    """A permutation of range(count) that depends on `key` alone: the order of Philox's raw words, which NumPy keeps
    the same for ever (its shuffles it does not)."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "little")
    words = np.random.Philox(key=seed).random_raw(count)
    return np.argsort(words, kind="stable")


def search_folders(data_dir: Path | None) -> list[Path]:
    """Where datasets are looked for, in order: `data_dir`, $BNEXP_DATA, the system's folder."""
    named = [data_dir, Path(env) if (env := os.environ.get("BNEXP_DATA")) else None]
    return [folder for folder in named if folder is not None] + [SYSTEM_FOLDER]


def source(name: str, data_dir: Path | None = None) -> Source:
    """The source of the dataset `name`, which is registered or prepared, or the import path of a function."""
    if own.is_own(name):
        returned: Source = registry.load(registry.RETURNED)(name, data_dir)
        return returned
    if registry.is_prepared(name):
        found: Source = registry.load(registry.PREPARED)(name, search_folders(data_dir))
        return found
    made: Source = registry.load(registry.DATASETS[name])(search_folders(data_dir))
    return made


def read_as(name: str, data_dir: Path | None, fingerprint: str | None) -> Dataset:
    """The whole dataset `name`, which is known by `fingerprint`, if that is told. Raises UsageError where it is a
    person's own and something else by now, or in this process."""
    if fingerprint is not None and own.is_own(name):
        same: Dataset = registry.load(registry.RETURNED)(name, data_dir).read_as(fingerprint)
        return same
    return source(name, data_dir).read()


def sources(data_dir: Path | None = None) -> Iterator[Source]:
    """Every source that is registered, and those that are prepared on this machine."""
    return (source(name, data_dir) for name in [*sorted(registry.DATASETS), *_prepared(search_folders(data_dir))])


def _prepared(folders: list[Path]) -> list[str]:
    found = {
        f"imagefolder/{path.parent.name}" for folder in folders for path in folder.glob("imagefolder/*/index.json")
    }
    return sorted(name for name in found if registry.is_prepared(name))
