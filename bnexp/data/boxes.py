"""The one operation that turns pictures into inputs: boxes of pictures, sampled to the size that the network sees.

Shape suffixes: N pictures, H and W the height and width of their canvas, C channels, R rows and Q columns of what is
sampled, K numbers of a line.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

Size = tuple[int, int]
"""Rows and columns, in pixels."""


@dataclass(frozen=True)
class Canvases:
    """Pictures as they are stored, each in the upper left corner of a canvas."""

    pixels: Tensor
    """uint8 [N, H, W, C]."""
    sizes: Tensor
    """Height and width of each picture, float64 [N, 2]."""
    even: bool
    """Whether every picture fills its canvas."""

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> "Canvases":
        """On `device`; from pinned memory without waiting."""
        pixels, sizes = (tensor.to(device, non_blocking=True) for tensor in (self.pixels, self.sizes))
        return Canvases(pixels, sizes, self.even)

    def pinned(self) -> "Canvases":
        """In memory that a GPU reads by itself."""
        return Canvases(self.pixels.pin_memory(), self.sizes.pin_memory(), self.even)


def sample(pictures: Canvases, boxes_N4: Tensor, mirrored_N: Tensor | None, size: Size, dtype: torch.dtype) -> Tensor:
    """The boxes (top, left, height and width in pixels, float64) of the pictures, one of each, sampled bilinearly to
    `size`: [N, R, Q, C], in the pictures' values. Those that `mirrored_N` (boolean) names are turned left to right.

    The value of a pixel stands at its centre. A box as large as `size` at a whole pixel is cut out to the bit. Nothing
    is smoothed before it is made smaller."""
    (rows, columns), (count, height, width, channels) = size, pictures.pixels.shape
    top, left, tall, wide = boxes_N4[:, :, None].unbind(1)
    down_NR = _positions(top, tall, rows, pictures.sizes[:, :1])
    along_NQ = _positions(left, wide, columns, pictures.sizes[:, 1:])
    if mirrored_N is not None:
        along_NQ = torch.where(mirrored_N[:, None], along_NQ.flip(1), along_NQ)
    # Whole lines are copied, which is fast everywhere: first rows, then, of the picture on its side, columns.
    x_NRWC = _between(pictures.pixels.reshape(count, height, width * channels), down_NR, dtype)
    side_NWRC = x_NRWC.view(count, rows, width, channels).transpose(1, 2)
    x_NQRC = _between(side_NWRC.reshape(count, width, rows * channels), along_NQ, dtype)
    return x_NQRC.view(count, columns, rows, channels).transpose(1, 2).contiguous()


def _positions(start_N1: Tensor, length_N1: Tensor, count: int, limit_N1: Tensor) -> Tensor:
    """Where `count` samples of an interval lie, in pixels from the first one's centre, not beyond the last one's."""
    middles = torch.arange(count, dtype=torch.float64, device=start_N1.device) + 0.5
    positions = start_N1 + middles * length_N1 / count - 0.5
    return positions.clamp_min(0).minimum(limit_N1 - 1)


def _between(lines_NLK: Tensor, at_NP: Tensor, dtype: torch.dtype) -> Tensor:
    """Lines at fractional places, [N, P, K]: the nearer of two neighbours weighs more. At a whole place, the very
    line."""
    count, lines, length = lines_NLK.shape
    first_NP = at_NP.floor()
    weight_NP1 = (at_NP - first_NP).to(dtype)[:, :, None]
    flat, offset_N1 = lines_NLK.reshape(-1, length), torch.arange(count, device=at_NP.device)[:, None] * lines
    low_NP = first_NP.long()
    high_NP = (low_NP + 1).clamp_max(lines - 1)
    shape = (*at_NP.shape, length)
    low, high = (
        flat.index_select(0, (place_NP + offset_N1).flatten()).to(dtype).view(shape) for place_NP in (low_NP, high_NP)
    )
    return high.sub_(low).mul_(weight_NP1).add_(low)
