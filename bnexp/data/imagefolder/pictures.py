"""One picture: from a file of any format that photographs come in to red, green and blue bytes of a chosen size."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bnexp.data.imagefolder.layout import inside
from bnexp.errors import DatasetError, UsageError
from bnexp.files import open_file

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Those that Pillow decodes by itself; none that starts another program."""
MOST_PIXELS = 89_478_485
"""Of a picture as it is stored: Pillow's own limit, above which it warns. In memory they are 256 MiB."""
LONGEST = 2
"""Times the shorter side; of a longer picture, the middle is taken."""
WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
"""Of Pillow's images with grey values of 16 bits."""

Picture = npt.NDArray[np.uint8]
"""[height, width, 3]"""


def decoder() -> str:
    """Which library decodes, with its version: another may decode to other bytes. Raises UsageError without one."""
    try:
        from PIL import __version__, features
    except ImportError as error:
        raise UsageError(
            "preparing pictures takes Pillow, which is not installed: pip install 'bnexp[images]'"
        ) from error
    parts = {"jpg": features.version_codec("jpg"), "libjpeg_turbo": features.version_feature("libjpeg_turbo")}
    return f"Pillow {__version__}" + "".join(f", {name} {version}" for name, version in parts.items() if version)


def read_picture(path: Path, root: Path, size: int) -> Picture:
    """The picture at `path`, upright, its shorter side `size` pixels.

    Raises DatasetError where it cannot be decoded, is too large, or is a link that leads out of `root`."""
    from PIL import Image

    if path.is_symlink() and not inside(path, root):
        raise DatasetError(f"{path}: is a link that leads out of {root}")
    try:
        with open_file(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which is not used
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise DatasetError(f"{path}: has {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
                return _resized(image, size)
    except DatasetError as error:
        raise DatasetError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except Exception as error:  # there is no list of all that Pillow raises on damaged files
        raise DatasetError(f"{path}: cannot be decoded ({type(error).__name__}: {error})") from error


def _resized(image: "Image", size: int) -> Picture:
    """The image as it is kept."""
    from PIL import Image, ImageOps

    # A JPEG may be decoded to a half, a quarter or an eighth for less, as long as twice the wanted pixels are left.
    image.draft(None, (2 * size, 2 * size))
    ImageOps.exif_transpose(image, in_place=True)
    shorter = min(image.size)
    width, height = (min(side, LONGEST * shorter) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    target = max(1, round(width * size / shorter)), max(1, round(height * size / shorter))
    coloured = _coloured(image)
    box = (left, top, left + width, top + height)
    return np.asarray(coloured.resize(target, Image.Resampling.LANCZOS, box=box), np.uint8)


def _coloured(image: "Image") -> "Image":
    """The image in red, green and blue; grey values of 16 bits by their upper 8."""
    from PIL import Image

    if image.mode in WIDE_MODES:
        grey = np.asarray(image).astype(np.int64).clip(0, 65535) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise DatasetError("holds floating-point numbers, whose range nobody says; save it with 8 or 16 bits a channel")
    return image.convert("RGB")
