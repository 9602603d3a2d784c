"""Datasets of a person's own: the arrays that a function returns, named by its import path.

A trial is known by the content of its dataset, so the function's source is no part of its key: one that is edited and
returns the same arrays gives the same trials, and one that returns others gives others, though it was not edited."""

import hashlib
import inspect
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bnexp import own
from bnexp.data.arrays import refuse_unfit
from bnexp.data.dataset import Dataset
from bnexp.errors import DatasetError, UsageError

FORM = "it must return train images, train labels, test images and test labels"
LEAST = 3
"""Images to cut train and validation from."""


class Returned:
    """The arrays that a function returns."""

    margin = 1.0
    how_to_get = "it is made by a function of your own"

    def __init__(self, name: str, data_dir: Path | None) -> None:
        self.name, self.data_dir = name, data_dir

    @property
    def about(self) -> str:
        return f"what {self.name} returns"

    @property
    def classes(self) -> int:
        return self._dataset.classes

    def where(self) -> Path | None:
        return own.file_of(self.name)

    def fingerprint(self) -> str:
        """SHA-256 of shapes, pixels and labels. Raises UsageError where the function cannot be used, or returns other
        arrays when it is called again: no worker would train on what the fingerprint says."""
        first, second = (_digest(each) for each in (self._dataset, self._made()))
        if first != second:
            raise UsageError(f"{self.name}: it returns other arrays each time that it is called; seed what it draws")
        return first

    def read(self) -> Dataset:
        return self._dataset

    def read_as(self, fingerprint: str) -> Dataset:
        """What the function returns now and here. Raises UsageError where it is not what `fingerprint` says."""
        if _digest(self._dataset) != fingerprint:
            raise UsageError(
                f"{self.name}: it returned other arrays to the process that trains than when these trials were written "
                "down; seed what it draws, leave the files that it reads as they are, and run again"
            )
        return self._dataset

    @cached_property
    def _dataset(self) -> Dataset:
        return self._made()

    def _made(self) -> Dataset:
        """Raises UsageError where the function cannot be called, or returns what is no dataset."""
        function = own.found(self.name)
        if not callable(function):
            raise UsageError(f"{self.name}: it is no function")
        try:
            given = {"data_dir": self.data_dir} if "data_dir" in inspect.signature(function).parameters else {}
            parts = [np.asarray(part) for part in function(**given)]
        except (Exception, SystemExit) as error:
            raise UsageError(f"{self.name}: {own.said(error, self.name)}") from error
        if len(parts) != 4:
            raise UsageError(f"{self.name}: {FORM}, not {len(parts)} things")
        images, labels, test_images, test_labels = parts
        for part, pixels, named, least in (("train", images, labels, LEAST), ("test", test_images, test_labels, 1)):
            self._refuse(part, pixels, named, least)
        classes = 1 + int(max(labels.max(initial=0), test_labels.max(initial=0)))
        images, test_images = map(np.ascontiguousarray, (images, test_images))
        made = Dataset(
            self.name, classes, 255.0, images, labels.astype(np.int64), test_images, test_labels.astype(np.int64)
        )
        try:
            refuse_unfit(self.name, made)
        except DatasetError as error:
            raise UsageError(str(error)) from error
        if classes < 2:
            raise UsageError(f"{self.name}: every label is 0, and there must be two classes or more")
        return made

    def _refuse(self, part: str, pixels: npt.NDArray[Any], named: npt.NDArray[Any], least: int) -> None:
        """Raise UsageError where these are no images, or no labels."""
        if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or 0 in pixels.shape[1:]:
            wanted = "uint8 [examples, height, width] or [examples, height, width, channels]"
            raise UsageError(f"{self.name}: {part} images must be {wanted}, not {pixels.dtype} {[*pixels.shape]}")
        if named.dtype.kind not in "iu" or named.ndim != 1:
            raise UsageError(
                f"{self.name}: {part} labels must be whole numbers [examples], not {named.dtype} {[*named.shape]}"
            )
        if len(pixels) < least:
            raise UsageError(f"{self.name}: {len(pixels)} {part} images, and at least {least} are needed")
        if len(named) and named.min() < 0:
            raise UsageError(f"{self.name}: {part} labels must be 0 or more, not {named.min()}")


def _digest(data: Dataset) -> str:
    digest = hashlib.sha256()
    for array in (data.images, data.labels, data.test_images, data.test_labels):
        assert isinstance(array, np.ndarray)
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
