"""Training pictures cropped, mirrored and distorted at random (Szegedy et al. 2015, section 6), anew at each step.

What an example meets is keyed by role, seed, step and its place in the batch: the same whoever trains beside it, when
training goes on from a checkpoint, and wherever the pictures are kept. Shape suffixes: S streams, B batch, N = S x B
pictures, I inputs.
"""

import torch
from torch import Tensor

from bnexp import random
from bnexp.data.boxes import Canvases
from bnexp.data.pictures import View
from bnexp.options import CropAugmentOptions

DRAWS = 8
"""Uniform numbers for each example: area, aspect, place down and along, mirrored, brightness, contrast, saturation."""

ASPECT = 4 / 3
"""Crops are at most so much wider than high, or higher than wide."""


class Augmentation:
    """The augmentation of each stream's batches. The keys, [2, S, 1], are all that it has of the streams."""

    def __init__(self, options: CropAugmentOptions, view: View, streams: list[int], device: torch.device) -> None:
        self.options, self.view = options, view
        self.keys = random.keys("augment", streams, device=device)
        self._counters = random.counters(0)

    def __call__(self, pictures: Canvases, step: Tensor) -> Tensor:
        """The inputs [S, B, I] that the streams' batches, one after the other in `pictures`, are at `step` (int64
        without dimension, from 1). It can be captured: it reads nothing back."""
        draws_8N = self.draws(len(pictures), step)
        boxes_N4 = crop_boxes(pictures.sizes, draws_8N[:4], self.options.area)
        mirrored_N = draws_8N[4] < self.options.flip
        factors_3N = 1 + self.options.photometric * (2 * draws_8N[5:] - 1) if self.options.photometric else None
        x_NI = self.view.seen(pictures, boxes_N4, mirrored_N, factors_3N)
        return x_NI.view(self.keys.shape[1], -1, x_NI.shape[1])

    def draws(self, count: int, step: Tensor) -> Tensor:
        """Uniform numbers in [0, 1), float64 [8, N]; those of a stream's example depend on its place in the batch."""
        streams = self.keys.shape[1]
        each = count // streams
        if len(self._counters) != DRAWS * each:
            self._counters = random.counters(DRAWS * each, self.keys.device)
        uniform = random.uniform(random.step_keys(self.keys, step), self._counters, torch.float64)
        return uniform.view(streams * each, DRAWS).T.contiguous()


def crop_boxes(sizes_N2: Tensor, draws_4N: Tensor, least: float) -> Tensor:
    """Boxes of pictures: top, left, height and width in pixels, float64 [N, 4]. `draws_4N` are uniform numbers.

    The area is uniform from `least` to all of the picture, the logarithm of the aspect uniform from that of 3/4 to that
    of 4/3 as far as such a box fits into the picture, and its place uniform. Where none fits (the picture is oblong and
    the area large), it is the largest box of the nearest aspect."""
    (height_N, width_N), (area_N, aspect_N, down_N, along_N) = sizes_N2.unbind(1), draws_4N
    area_N = (least + (1 - least) * area_N) * height_N * width_N
    narrowest_N = (area_N / height_N.square()).clamp(1 / ASPECT, ASPECT).log()
    widest_N = (width_N.square() / area_N).clamp(1 / ASPECT, ASPECT).log()
    ratio_N = (narrowest_N + (widest_N - narrowest_N) * aspect_N).exp()
    tall_N = (area_N / ratio_N).sqrt().minimum(height_N).minimum(width_N / ratio_N)
    wide_N = (tall_N * ratio_N).minimum(width_N)
    return torch.stack([(height_N - tall_N) * down_N, (width_N - wide_N) * along_N, tall_N, wide_N], dim=1)
