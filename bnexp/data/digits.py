"""The embedded default: 1797 handwritten digits of 8x8 pixels, inside scikit-learn."""

import hashlib
import importlib.util
import zlib
from pathlib import Path

import numpy as np

from bnexp.data.dataset import Dataset, keyed_order
from bnexp.data.gunzip import Gunzip
from bnexp.errors import DatasetError
from bnexp.files import open_file

EXAMPLES = 1797
TEST_EXAMPLES = 360
LARGEST = 10_000_000
"""Bytes, of which the table has half a million."""


class Digits:
    """Alpaydin and Kaynak's optical digits as scikit-learn ships them; 360 fixed images are the test set."""

    name = "digits"
    about = "1,797 handwritten digits, 8x8 (bundled with scikit-learn)"
    classes = 10
    margin = 1.0
    how_to_get = "pip install scikit-learn"

    def __init__(self, folders: list[Path]) -> None:
        """The digits come with a library, so `folders` is not searched."""

    def where(self) -> Path | None:
        spec = importlib.util.find_spec("sklearn")
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
        return path if path.is_file() else None

    def _table(self) -> bytes:
        path = self.where()
        if path is None:
            raise DatasetError(f"digits: not found; {self.how_to_get}")
        try:
            with open_file(path) as file:
                table = Gunzip(file).read(LARGEST)
        except (OSError, EOFError, zlib.error) as error:
            raise DatasetError(f"digits: {path} is damaged ({error}); install scikit-learn again") from error
        if table.count(b"\n") != EXAMPLES:
            raise DatasetError(f"digits: {path} is damaged (not {EXAMPLES} lines); install scikit-learn again")
        return table

    def fingerprint(self) -> str:
        return hashlib.sha256(self._table()).hexdigest()

    def read(self) -> Dataset:
        # The file itself, not sklearn.datasets, whose import takes longer than a small training run.
        try:
            table = np.loadtxt(self._table().decode("ascii").splitlines(), delimiter=",", dtype=np.uint8)
        except ValueError as error:
            raise DatasetError(f"digits: {self.where()} is damaged ({error}); install scikit-learn again") from error
        if table.shape[1:] != (65,) or table[:, -1].max() >= self.classes:
            raise DatasetError(f"digits: {self.where()} is damaged (not 64 pixels and a digit a line)")
        images, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
        order = keyed_order(len(images), "digits test")
        test, rest = np.sort(order[:TEST_EXAMPLES]), np.sort(order[TEST_EXAMPLES:])
        return Dataset(self.name, self.classes, 16.0, images[rest], labels[rest], images[test], labels[test])
