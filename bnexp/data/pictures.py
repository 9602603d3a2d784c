"""Pictures as a dataset has them, on the device or left where they are, and how inputs of a network are made of them.

Shape suffixes: N pictures, H height, W width, C channels, I inputs (R rows, Q columns and channels, in this order).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bnexp.data.boxes import Canvases, Size, sample
from bnexp.data.crops import single
from bnexp.data.dataset import Images
from bnexp.data.distortion import distort
from bnexp.data.ragged import Ragged

AT_ONCE = 2**24
"""Pixels of inputs that are made at once when a whole set is resampled."""

IN_CACHE = 2**21
"""Numbers of pixels that a CPU resamples at once."""


def channels_of(images: Images) -> int:
    """How many numbers a pixel has."""
    if isinstance(images, Ragged):
        return images.channels
    return images.shape[3] if images.ndim == 4 else 1


class Pictures:
    """N pictures of a dataset: an array [.., H, W] or [.., H, W, C] or pictures of different sizes, and which ones."""

    def __init__(self, images: Images, index_N: npt.NDArray[np.int64]) -> None:
        self._images, self._index_N = images, index_N

    def __len__(self) -> int:
        return len(self._index_N)

    def first(self, count: int) -> "Pictures":
        return Pictures(self._images, self._index_N[:count])

    def read(self, places: Tensor) -> Canvases:
        """Those at `places` (int64 [n], on the host), on the host."""
        index = self._index_N[places.numpy()]
        if isinstance(self._images, Ragged):
            canvas, sizes = self._images.canvas(index)
            even = bool((sizes == canvas.shape[1:3]).all())
            return Canvases(torch.from_numpy(canvas), torch.from_numpy(sizes.astype(np.float64)), even)
        pixels = torch.from_numpy(np.ascontiguousarray(self._images[index]))
        return fixed(pixels if pixels.dim() == 4 else pixels[..., None])


def fixed(pixels_NHWC: Tensor) -> Canvases:
    """Pictures of one size, uint8."""
    count, height, width, _ = pixels_NHWC.shape
    sides = [pixels_NHWC.new_full((count,), side, dtype=torch.float64) for side in (height, width)]
    return Canvases(pixels_NHWC, torch.stack(sides, dim=1), even=True)


@dataclass(frozen=True)
class View:
    """How a network sees pictures."""

    size: Size
    scale: float
    """Of pixels: so much is 1."""
    binarize: bool
    """Pixels above half of the largest value are 1 and the others 0."""
    dtype: torch.dtype

    def single(self, pictures: Canvases) -> Tensor:
        """The single crop of each, [N, I] in [0, 1]."""
        if pictures.even and pictures.pixels.shape[1:3] == self.size:
            return self.finished(self.scaled(pictures.pixels.to(self.dtype)))
        return self.seen(pictures, single(pictures.sizes, self.size))

    def seen(
        self, pictures: Canvases, boxes_N4: Tensor, mirrored_N: Tensor | None = None, factors_3N: Tensor | None = None
    ) -> Tensor:
        """One box of each, mirrored or not, and distorted by these factors where there are any, [N, I] in [0, 1]."""
        count, pixels = len(pictures), pictures.pixels
        # A CPU is twice as fast on what its cache holds.
        part = max(1, IN_CACHE // pixels[0].numel()) if pixels.device.type == "cpu" and count else count
        parts = []
        for place in range(0, count, part):
            of = slice(place, place + part)
            mirrored = None if mirrored_N is None else mirrored_N[of]
            canvases = Canvases(pixels[of], pictures.sizes[of], pictures.even)
            x_NRQC = self.scaled(sample(canvases, boxes_N4[of], mirrored, self.size, self.dtype))
            if factors_3N is not None:
                x_NRQC = distort(x_NRQC, factors_3N[:, of].to(self.dtype))
            parts.append(self.finished(x_NRQC))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def scaled(self, x_NRQC: Tensor) -> Tensor:
        """Pixels to [0, 1]."""
        return x_NRQC / self.scale

    def finished(self, x_NRQC: Tensor) -> Tensor:
        """[0, 1] to inputs, [N, I]."""
        x_NI = x_NRQC.flatten(1)
        return (x_NI > 0.5).to(self.dtype) if self.binarize else x_NI

    def all(self, pictures: Pictures, device: torch.device) -> Tensor:
        """The single crops of all pictures, on `device`, [N, I]."""
        count = max(1, AT_ONCE // (self.size[0] * self.size[1]))
        parts = torch.arange(len(pictures)).split(count)
        return torch.cat([self.single(pictures.read(part).to(device)) for part in parts])
