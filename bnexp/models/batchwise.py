"""Batch normalization that trains by other statistics than those of the whole batch. Shape suffixes as in `layers`:
T trials, B batch, C units."""

import torch
from torch import Tensor

from bnexp.models.layers import Cohort, Mode, Pass
from bnexp.models.normalization import BatchNorm
from bnexp.normalizers import BatchRenormOptions, GhostBatchNormOptions


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


class BatchRenorm(BatchNorm):
    """Batch renormalization (Ioffe 2017, "Batch renormalization: towards reducing minibatch dependence in
    batch-normalized models", Algorithm 1): x normalized by the batch is multiplied by r and shifted by d, and then by
    gamma and beta. r = sigma_B / sigma, within [1/rmax, rmax], and d = (mu_B - mu) / sigma, within [-dmax, dmax], are
    constants in the backward pass. Where both are within their limits, mu and sigma have normalized x.

    mu and sigma are the moving averages, debiased, of the mean and of the root of biased variance and eps over the
    batches before. Before the first batch there are none, and r = 1, d = 0. The limits are the same at all steps, where
    the paper lets them grow from 1 and 0. Curves use mu and sigma; the final numbers the means of both over batches
    gathered in `Mode.COLLECT`, as of batch normalization."""

    def __init__(self, cohort: Cohort, name: str, units: int, options: BatchRenormOptions) -> None:
        super().__init__(cohort, name, units, options)
        self.rmax, self.dmax = options.rmax, options.dmax

    def _by_batch(self, x_TBC: Tensor, now: Pass) -> tuple[Tensor, Tensor]:
        plain = torch.ones_like(self.gamma), torch.zeros_like(self.beta)
        y_TBC, mean_T1C, variance_T1C = self._normalized(x_TBC, *plain)
        deviation_T1C = (variance_T1C + self.eps).sqrt()
        r_T1C, d_T1C = self._correction(mean_T1C, deviation_T1C, now)
        y_TBC = torch.addcmul(self.beta + self.gamma * d_T1C, y_TBC, self.gamma * r_T1C)
        return y_TBC, torch.cat([mean_T1C, deviation_T1C], dim=1)

    def _correction(self, mean_T1C: Tensor, deviation_T1C: Tensor, now: Pass) -> tuple[Tensor, Tensor]:
        """r and d [T, 1, C], by the averages of the batches before."""
        batches = now.step - 1 if now.mode is Mode.TRAIN else now.step
        mu_T1C, sigma_T1C = self._averages(batches).split(1, dim=1)
        r_T1C = (deviation_T1C / sigma_T1C).clamp(1 / self.rmax, self.rmax)
        d_T1C = ((mean_T1C - mu_T1C) / sigma_T1C).clamp(-self.dmax, self.dmax)
        return torch.where(batches < 1, 1.0, r_T1C), torch.where(batches < 1, 0.0, d_T1C)

    def _with(self, x_TBC: Tensor, statistics_T2C: Tensor) -> Tensor:
        mean_T1C, deviation_T1C = statistics_T2C.split(1, dim=1)
        scale_T1C = self.gamma / deviation_T1C
        return torch.addcmul(self.beta - mean_T1C * scale_T1C, x_TBC, scale_T1C)
