"""Which boxes of a picture stand for it when a network is measured: one, ten, or 144.

With S the smaller side of what the network sees, a picture's *frame* is the largest box of the network's aspect in it
(a square, for square inputs), and a crop at scale L is S/L of the frame: 224 of 256 for S = 224, in proportion else.
Shape suffixes: N pictures; boxes are top, left, height and width in pixels, float64 [N, 4].
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from bnexp.data.boxes import Size

SCALES = (256, 288, 320, 352)
"""Of a picture's shorter side where the network sees 224 pixels (Szegedy et al. 2015, section 7)."""

CORNERS_AND_CENTRE = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))
"""Places of a box in another: how much of the room above it and to its left lies there."""


def boxes(count: int, sizes_N2: Tensor, size: Size) -> Iterator[tuple[Tensor, Tensor | None]]:
    """`count` boxes of each picture, for what the network sees of `size`, each with which are mirrored (boolean [N];
    None: none). `sizes_N2`: height and width of each picture, float64.

    1: `single`. 10: corners and centre of the picture (Krizhevsky et al. 2012). 144: at four scales three squares of
    the picture, of each the corners, the centre, and the whole, which is the same at every scale (Szegedy et al.
    2015)."""
    if count == 1:
        yield single(sizes_N2, size), None
        return
    for box_N4 in _ten(sizes_N2, size) if count == 10 else _many(sizes_N2, size):
        yield box_N4, None
        yield box_N4, torch.ones(len(sizes_N2), dtype=torch.bool, device=sizes_N2.device)


def single(sizes_N2: Tensor, size: Size) -> Tensor:
    """The central crop at the smallest scale; of a picture that has the network's size already, all of it."""
    crop_N4 = _placed(_crop(sizes_N2, size, SCALES[0]), whole(sizes_N2), (0.5, 0.5))
    ready_N1 = (sizes_N2 == _pair(sizes_N2, size)).all(1, keepdim=True)
    return torch.where(ready_N1, whole(sizes_N2), crop_N4)


def whole(sizes_N2: Tensor) -> Tensor:
    """All of each picture."""
    return torch.cat([torch.zeros_like(sizes_N2), sizes_N2], dim=1)


def _ten(sizes_N2: Tensor, size: Size) -> Iterator[Tensor]:
    extent_N2 = _crop(sizes_N2, size, SCALES[0])
    return (_placed(extent_N2, whole(sizes_N2), place) for place in CORNERS_AND_CENTRE)


def _many(sizes_N2: Tensor, size: Size) -> Iterator[Tensor]:
    frame_N2 = _frame(sizes_N2, size)
    for scale in SCALES:
        extent_N2 = _crop(sizes_N2, size, scale)
        for share in (0.0, 0.5, 1.0):  # left, centre and right, or top, centre and bottom: there is room one way only
            square_N4 = _placed(frame_N2, whole(sizes_N2), (share, share))
            yield from (_placed(extent_N2, square_N4, place) for place in CORNERS_AND_CENTRE)
            yield square_N4


def _pair(sizes_N2: Tensor, size: Size) -> Tensor:
    """`size` as a tensor beside `sizes_N2`, [2]."""
    return torch.tensor(size, dtype=sizes_N2.dtype, device=sizes_N2.device)


def _frame(sizes_N2: Tensor, size: Size) -> Tensor:
    """Height and width of the largest box of the aspect of `size` in each picture."""
    (rows, columns), (height_N, width_N) = size, sizes_N2.unbind(1)
    return torch.stack([height_N.minimum(width_N * rows / columns), width_N.minimum(height_N * columns / rows)], dim=1)


def _crop(sizes_N2: Tensor, size: Size, scale: int) -> Tensor:
    """Height and width of the crops at `scale`."""
    smaller = min(size)
    return _frame(sizes_N2, size) * smaller / max(smaller, round(smaller * scale / 224))


def _placed(extent_N2: Tensor, within_N4: Tensor, place: tuple[float, float]) -> Tensor:
    """Boxes of this height and width, at a place within others."""
    corner_N2, room_N2 = within_N4[:, :2], within_N4[:, 2:] - extent_N2
    down, along = place
    top_N1, left_N1 = corner_N2[:, :1] + room_N2[:, :1] * down, corner_N2[:, 1:] + room_N2[:, 1:] * along
    return torch.cat([top_N1, left_N1, extent_N2], dim=1)
