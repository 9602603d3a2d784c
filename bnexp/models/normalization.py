"""Normalizers with a leading trial axis. Shape suffixes as in `layers`: T trials, B batch, C units."""

from typing import Any

import torch
from torch import Tensor, nn

from bnexp.config import BatchNormOptions, NoNormOptions
from bnexp.models.layers import Cohort, Layer, Mode, Pass


class Bias(Layer):
    """y = x + b, b from 0: what stands in the place of normalization where there is none."""

    def __init__(self, cohort: Cohort, options: NoNormOptions | None, units: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(cohort.full(0.0, 1, units))

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        return x_TBC + self.bias


class _Normalize(torch.autograd.Function):
    """Algorithm 1 with its gradients through mean and variance, in the fewest passes over x that eager mode allows.

    Means over a whole axis are fast where torch.var_mean is not (some 50 times slower on a CPU here)."""

    @staticmethod
    def forward(
        ctx: Any, x_TBC: Tensor, gamma_T1C: Tensor, beta_T1C: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean_T1C = x_TBC.mean(1, keepdim=True)
        centred_TBC = x_TBC - mean_T1C
        variance_T1C = (centred_TBC * centred_TBC).mean(1, keepdim=True)
        inverse_T1C = (variance_T1C + eps).rsqrt_()
        ctx.save_for_backward(centred_TBC, inverse_T1C, gamma_T1C)
        ctx.mark_non_differentiable(mean_T1C, variance_T1C)
        y_TBC = torch.addcmul(beta_T1C, centred_TBC, gamma_T1C * inverse_T1C)
        return y_TBC, mean_T1C, variance_T1C

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        dy_TBC = gradients[0]
        centred_TBC, inverse_T1C, gamma_T1C = ctx.saved_tensors
        batch = dy_TBC.shape[1]
        dbeta_T1C = dy_TBC.sum(1, keepdim=True)
        dgamma_T1C = (dy_TBC * centred_TBC).sum(1, keepdim=True).mul_(inverse_T1C)
        scale_T1C = gamma_T1C * inverse_T1C
        common_T1C = scale_T1C / -batch
        dx_TBC = torch.addcmul(dbeta_T1C * common_T1C, dy_TBC, scale_T1C)
        dx_TBC.addcmul_(centred_TBC, dgamma_T1C * inverse_T1C * common_T1C)
        return dx_TBC, dgamma_T1C, dbeta_T1C, None


def _normalize(x_TBC: Tensor, gamma_T1C: Tensor, beta_T1C: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalized x, and the batch's mean and biased variance [T, 1, C]."""
    result: tuple[Tensor, Tensor, Tensor] = _Normalize.apply(x_TBC, gamma_T1C, beta_T1C, eps)  # type: ignore[no-untyped-call]
    return result


class BatchNorm(Layer):
    """Batch normalization (Ioffe and Szegedy 2015, Algorithms 1 and 2), per unit, with gamma from 1 and beta from 0.

    Training uses the batch's mean and biased variance. The curves use moving averages of the mean and of the variance
    times m/(m-1), divided by 1 - (1 - momentum)^step, because averages that start at 0 would spoil the first points.
    The final numbers use the means of both over batches gathered in `Mode.COLLECT`, as Algorithm 2 does."""

    gathers = True
    moving: Tensor
    gathered: Tensor
    batches: Tensor

    def __init__(self, cohort: Cohort, options: BatchNormOptions, units: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(cohort.full(1.0, 1, units))
        self.beta = nn.Parameter(cohort.full(0.0, 1, units))
        self.register_buffer("moving", cohort.full(0.0, 2, units))
        self.register_buffer("gathered", cohort.full(0.0, 2, units))
        self.register_buffer("batches", cohort.full(0.0, 1, 1))
        self.eps, self.momentum = options.eps, options.momentum

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        if now.mode is Mode.CURVE:
            return self._with(x_TBC, self.moving / (1 - (1 - self.momentum) ** now.step.to(self.moving.dtype)))
        if now.mode is Mode.FINAL:
            return self._with(x_TBC, self.gathered / self.batches)
        y_TBC, mean_T1C, variance_T1C = _normalize(x_TBC, self.gamma, self.beta, self.eps)
        batch = x_TBC.shape[1]
        statistics_T2C = torch.cat([mean_T1C, variance_T1C * (batch / (batch - 1))], dim=1)
        if now.mode is Mode.TRAIN:
            # Not lerp_, which makes NaN of an average that has once overflowed.
            self.moving.mul_(1 - self.momentum).add_(statistics_T2C, alpha=self.momentum)
        else:
            self.gathered.add_(statistics_T2C)
            self.batches.add_(1)
        return y_TBC

    def _with(self, x_TBC: Tensor, statistics_T2C: Tensor) -> Tensor:
        mean_T1C, variance_T1C = statistics_T2C.split(1, dim=1)
        scale_T1C = self.gamma * (variance_T1C + self.eps).rsqrt()
        return torch.addcmul(self.beta - mean_T1C * scale_T1C, x_TBC, scale_T1C)
