"""Folders of small pictures, which the tests of prepared datasets are about."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_picture(path: Path, height: int = 12, width: int = 16, seed: int = 0) -> Path:
    """A picture of random colours, in the format of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_folder(folder: Path, train: int = 4, val: int = 2, classes: int = 3) -> Path:
    """`train` and `val` pictures of each class, of different sizes, PNG and JPEG."""
    for part, count in (("train", train), ("val", val)):
        for label in range(classes):
            for number in range(count):
                ending = ("png", "JPEG")[number % 2]
                seed = 1000 * label + number + 100 * (part == "val")
                path = folder / part / f"class{label}" / f"{number:03}.{ending}"
                write_picture(path, 10 + seed % 7, 10 + seed % 5, seed)
    return folder
