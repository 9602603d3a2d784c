"""Batch normalization that trains by other statistics than those of the whole batch. Shape suffixes as in `layers`:
T trials, B batch, C units."""

import torch
from torch import Tensor

from bnexp.models.layers import Cohort, Mode, Pass
from bnexp.models.normalization import BatchNorm
from bnexp.options import GhostBatchNormOptions


class GhostBatchNorm(BatchNorm):
    """Ghost batch normalization (Hoffer, Hubara and Soudry 2017, "Train longer, generalize better", Algorithm 1): a
    batch is cut into virtual batches of consecutive examples, and each is normalized by its own mean and biased
    variance.

    The moving averages move once a virtual batch, one after the other, as if each were a batch; so what the curves use
    is debiased by 1 - (1 - momentum)^(groups step). The final numbers use means over the virtual batches. A probe's
    batch is cut into as many parts, nearly equal, but no more than leave two examples to each."""

    takes_maps = True

    def __init__(self, cohort: Cohort, name: str, units: int, options: GhostBatchNormOptions) -> None:
        super().__init__(cohort, name, units, options)
        self.groups = options.groups

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        """Of feature maps [T, B, H, W, C] a virtual batch's statistics are over its examples and all places."""
        parts = [x_TBC]
        if now.mode not in (Mode.CURVE, Mode.FINAL):
            parts = list(x_TBC.tensor_split(min(self.groups, x_TBC.shape[1] // 2), dim=1))
        of_parts = [super(GhostBatchNorm, self).forward(part.flatten(1, -2), now) for part in parts]
        return torch.cat(of_parts, dim=1).view(x_TBC.shape)

    def _averages(self, batches: Tensor) -> Tensor:
        return super()._averages(batches * self.groups)
