"""Reading a whole dataset to see that nothing of it is damaged."""

from collections.abc import Callable
from pathlib import Path

from bnexp.data.dataset import source
from bnexp.data.imagefolder.prepared import ImageFolder
from bnexp.installed import resolved


def check(name: str, data_dir: Path | None, tell: Callable[[int, int], None]) -> str:
    """Read all of the dataset `name`; what was found in order. `tell` is told how many pictures of a prepared folder
    are read, of how many.

    Raises UsageError where there is no such dataset, or no two readings are alike; DatasetError where it is missing or
    damaged."""
    found = source(resolved("dataset", name), data_dir)
    if isinstance(found, ImageFolder):
        pieces = found.check(tell)
        return f"{found.where()}: {pieces:,} pieces have the checksums of the index"
    data = found.read()
    found.fingerprint()  # for which a function of a person's own is called once more, and must return the same
    examples = f"{len(data.images):,} training and {len(data.test_images):,} test examples"
    return f"{found.where()}: {examples} of {data.classes:,} classes can be read"
