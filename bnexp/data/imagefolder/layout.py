"""Which pictures a folder has, of which classes, and which of them are the test set."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnexp.data.dataset import Labels, keyed_order
from bnexp.errors import DatasetError

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Of pictures' file names, in small letters or capitals."""
TRAIN_FOLDER = "train"
TEST_FOLDERS = ("val", "validation", "test")
"""The first that is there is the test set."""
CUT = 6
"""Where there is no test set, one picture in so many becomes it."""


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder, those for training first; in each set by class and file name."""

    root: Path
    """Without links."""
    classes: tuple[str, ...]
    paths: list[str]
    """[N], under the root."""
    labels: Labels
    """[N]"""
    train: int
    """How many are for training."""
    test_folder: str | None
    """None: the test set was cut from the training pictures."""
    digest: str
    """Of classes, sets, and names and sizes of files."""


@dataclass(frozen=True)
class _Found:
    """A picture's file."""

    path: str
    label: int
    bytes: int


def find(folder: Path) -> Listing:
    """What `folder` has: train/CLASS/PICTURE and val (or validation, or test)/CLASS/PICTURE, or CLASS/PICTURE only.

    Raises DatasetError where it has no such form, or a class folder leads out of it."""
    try:
        root = folder.resolve(strict=True)
        train = root / TRAIN_FOLDER if (root / TRAIN_FOLDER).is_dir() else root
        test = next((name for name in TEST_FOLDERS if train != root and (root / name).is_dir()), None)
        classes = _folders(root, train)
        if len(classes) < 2:
            raise DatasetError(
                f"{train}: {len(classes)} class folders; what is wanted is a folder for each of at least two classes, "
                f"in {folder}, or in {folder / 'train'} and {folder / 'val'}"
            )
        labels = {name: label for label, name in enumerate(classes)}
        train_set = list(_pictures(root, train, classes, labels))
        if test is None:
            train_set, test_set = _cut(train_set)
        else:
            test_set = list(_pictures(root, root / test, _folders(root, root / test), labels))
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error})") from error
    for found, place in ((train_set, train), (test_set, root / test if test else train)):
        if not found:
            raise DatasetError(f"{place}: too few pictures for a training and a test set")
    both = train_set + test_set
    content = repr((classes, len(train_set), [(found.path, found.bytes) for found in both]))
    return Listing(
        root,
        classes,
        [found.path for found in both],
        np.array([found.label for found in both], np.int64),
        len(train_set),
        test,
        hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest(),
    )


def _cut(found: list[_Found]) -> tuple[list[_Found], list[_Found]]:
    """The pictures without a keyed sixth of them, and the sixth, both in their order."""
    test = set(keyed_order(len(found), "imagefolder test")[: len(found) // CUT].tolist())
    parts: tuple[list[_Found], list[_Found]] = [], []
    for number, picture in enumerate(found):
        parts[number in test].append(picture)
    return parts


def _folders(root: Path, folder: Path) -> tuple[str, ...]:
    """The names of the class folders, sorted."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    _sayable(folder, names)
    for path in (folder, *(folder / name for name in names)):
        if path.is_symlink() and not inside(path, root):
            raise DatasetError(f"{path}: is a link that leads out of {root}; copy what it leads to, or leave it out")
    return tuple(names)


def _pictures(root: Path, folder: Path, classes: tuple[str, ...], labels: dict[str, int]) -> Iterator[_Found]:
    """The pictures of these class folders, in order."""
    for name in classes:
        if name not in labels:
            raise DatasetError(f"{folder / name}: is a class that the training pictures do not have")
        with os.scandir(folder / name) as entries:
            pictures = sorted(
                (entry.name, entry.stat(follow_symlinks=False).st_size)
                for entry in entries
                if entry.name.lower().endswith(ENDINGS) and not entry.name.startswith(".")
            )
        _sayable(folder / name, [file for file, _ in pictures])
        if not pictures:
            raise DatasetError(f"{folder / name}: has no pictures (their names end in {', '.join(ENDINGS)})")
        inner = (folder / name).relative_to(root)
        for file, size in pictures:
            yield _Found(str(inner / file), labels[name], size)


def _sayable(folder: Path, names: Iterable[str]) -> None:
    """Refuse names that cannot be written down."""
    for name in names:
        if name.encode("utf-8", "replace").decode() != name:
            raise DatasetError(f"{folder / name}: its name is not UTF-8; rename it")


def inside(path: Path, root: Path) -> bool:
    """Whether `path`, its links followed, is in `root`."""
    return Path(os.path.realpath(path)).is_relative_to(root)
