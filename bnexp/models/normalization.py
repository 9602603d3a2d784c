"""Normalizers with a leading trial axis. Shape suffixes as in `layers`: T trials, S streams, B batch, C units; and G
groups of N units."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.errors import UsageError
from bnexp.models.chance import Draws
from bnexp.models.layers import Cohort, Layer, Mode, Pass
from bnexp.normalizers import BatchNormOptions, GroupNormOptions, NoisyBatchNormOptions, NoNormOptions


class Bias(Layer):
    """y = x + b, b from 0: what stands in the place of normalization where there is none."""

    def __init__(self, cohort: Cohort, name: str, units: int, options: NoNormOptions | None = None) -> None:
        super().__init__()
        self.name = name
        self.bias = nn.Parameter(cohort.full(0.0, 1, units))

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        return x_TBC + self.bias


class _Normalize(torch.autograd.Function):
    """Algorithm 1 with its gradients through mean and variance, in the fewest passes over x that eager mode allows;
    with `stop_gradient`, both are constants in the backward pass.

    Means over a whole axis are fast where torch.var_mean is not (some 50 times slower on a CPU here)."""

    @staticmethod
    def forward(
        ctx: Any, x_TBC: Tensor, gamma_T1C: Tensor, beta_T1C: Tensor, eps: float, stop_gradient: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean_T1C = x_TBC.mean(1, keepdim=True)
        centred_TBC = x_TBC - mean_T1C
        variance_T1C = (centred_TBC * centred_TBC).mean(1, keepdim=True)
        inverse_T1C = (variance_T1C + eps).rsqrt_()
        ctx.stop_gradient = stop_gradient
        ctx.save_for_backward(centred_TBC, inverse_T1C, gamma_T1C)
        ctx.mark_non_differentiable(mean_T1C, variance_T1C)
        y_TBC = torch.addcmul(beta_T1C, centred_TBC, gamma_T1C * inverse_T1C)
        return y_TBC, mean_T1C, variance_T1C

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        dy_TBC = gradients[0]
        centred_TBC, inverse_T1C, gamma_T1C = ctx.saved_tensors
        batch = dy_TBC.shape[1]
        dbeta_T1C = dy_TBC.sum(1, keepdim=True)
        dgamma_T1C = (dy_TBC * centred_TBC).sum(1, keepdim=True).mul_(inverse_T1C)
        scale_T1C = gamma_T1C * inverse_T1C
        if ctx.stop_gradient:
            return dy_TBC * scale_T1C, dgamma_T1C, dbeta_T1C, None, None
        common_T1C = scale_T1C / -batch
        dx_TBC = torch.addcmul(dbeta_T1C * common_T1C, dy_TBC, scale_T1C)
        dx_TBC.addcmul_(centred_TBC, dgamma_T1C * inverse_T1C * common_T1C)
        return dx_TBC, dgamma_T1C, dbeta_T1C, None, None


class BatchNorm(Layer):
    """Batch normalization (Ioffe and Szegedy 2015, Algorithms 1 and 2), per unit, with gamma from 1 and beta from 0.

    Training uses the batch's mean and biased variance. The curves use moving averages of the mean and of the variance
    times m/(m-1), divided by 1 - (1 - momentum)^step, because averages that start at 0 would spoil the first points.
    The final numbers use the means of both over batches gathered in `Mode.COLLECT`, as Algorithm 2 does."""

    gathers = True
    moving: Tensor
    gathered: Tensor
    batches: Tensor

    def __init__(self, cohort: Cohort, name: str, units: int, options: BatchNormOptions) -> None:
        super().__init__()
        self.name = name
        self.gamma = nn.Parameter(cohort.full(1.0, 1, units))
        self.beta = nn.Parameter(cohort.full(0.0, 1, units))
        self.register_buffer("moving", cohort.full(0.0, 2, units))
        self.register_buffer("gathered", cohort.full(0.0, 2, units))
        self.register_buffer("batches", cohort.full(0.0, 1, 1))
        self.eps, self.momentum, self.stop_gradient = options.eps, options.momentum, options.stop_gradient

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        x_TBC = x_TBC.to(self.gamma.dtype)  # products may come in bfloat16
        if now.mode is Mode.CURVE:
            return self._with(x_TBC, self._averages(now.step))
        if now.mode is Mode.FINAL:
            return self._with(x_TBC, self.gathered / self.batches)
        y_TBC, statistics_T2C = self._by_batch(x_TBC, now)
        if now.mode is Mode.TRAIN:
            # Not lerp_, which makes NaN of an average that has once overflowed.
            self.moving.mul_(1 - self.momentum).add_(statistics_T2C, alpha=self.momentum)
        elif now.mode is Mode.COLLECT:
            self.gathered.add_(statistics_T2C)
            self.batches.add_(1)
        return y_TBC

    def _averages(self, batches: Tensor) -> Tensor:
        """The moving averages [T, 2, C] of so many batches (int64 without dimension), debiased."""
        return self.moving / (1 - (1 - self.momentum) ** batches.to(self.moving.dtype))

    def _by_batch(self, x_TBC: Tensor, now: Pass) -> tuple[Tensor, Tensor]:
        """x normalized by the batch, and what of the batch is averaged [T, 2, C]."""
        y_TBC, mean_T1C, variance_T1C = self._normalized(x_TBC, self.gamma, self.beta)
        batch = x_TBC.shape[1]
        return y_TBC, torch.cat([mean_T1C, variance_T1C * (batch / (batch - 1))], dim=1)

    def _normalized(self, x_TBC: Tensor, gamma_T1C: Tensor, beta_T1C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalized x, and the batch's mean and biased variance [T, 1, C]."""
        given = (x_TBC, gamma_T1C, beta_T1C, self.eps, self.stop_gradient)
        result: tuple[Tensor, Tensor, Tensor] = _Normalize.apply(*given)  # type: ignore[no-untyped-call]
        return result

    def _with(self, x_TBC: Tensor, statistics_T2C: Tensor) -> Tensor:
        """x normalized by averages of what `_by_batch` tells."""
        mean_T1C, variance_T1C = statistics_T2C.split(1, dim=1)
        scale_T1C = self.gamma * (variance_T1C + self.eps).rsqrt()
        return torch.addcmul(self.beta - mean_T1C * scale_T1C, x_TBC, scale_T1C)


class NoisyBatchNorm(BatchNorm):
    """Batch normalization whose output is then multiplied by s and shifted by m while it trains, m uniform in
    [-shift, shift] and s in [1, scale], for each unit, anew at each step (Santurkar et al. 2018, "How does batch
    normalization help optimization?", section 2.1).

    Both belong to (seed, layer, step, unit), so trials of one seed share them. A network that is probed has the noise
    of the present step, as in training; evaluation has none."""

    def __init__(self, cohort: Cohort, name: str, units: int, options: NoisyBatchNormOptions) -> None:
        super().__init__(cohort, name, units, options)
        self.shift, self.scale = options.shift, options.scale
        self.draws = Draws(cohort, "noise", name)

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        y_TBC = super().forward(x_TBC, now)
        if now.mode not in (Mode.TRAIN, Mode.PROBE):
            return y_TBC
        trials, _, units = y_TBC.shape
        uniform = self.draws.uniform(2 * units, now, y_TBC)
        uniform = uniform.repeat_interleave(trials // len(uniform), 0).view(trials, 2, units)
        first_T1C, second_T1C = uniform.split(1, dim=1)
        shift_T1C = first_T1C * (2 * self.shift) - self.shift
        scale_T1C = second_T1C * (self.scale - 1) + 1
        return torch.addcmul(shift_T1C, y_TBC, scale_T1C)


class GroupNorm(Layer):
    """Group normalization (Wu and He 2018): each example by the mean and the biased variance of each of its groups of
    units, then gamma from 1 and beta from 0 per unit, as torch.nn.GroupNorm. Evaluation is no different."""

    takes_maps = True

    def __init__(self, cohort: Cohort, name: str, units: int, options: GroupNormOptions) -> None:
        super().__init__()
        if units % options.groups:
            raise UsageError(f"norm.groups: {options.groups} groups do not divide the {units} units of layer {name!r}")
        self.name = name
        self.gamma = nn.Parameter(cohort.full(1.0, 1, units))
        self.beta = nn.Parameter(cohort.full(0.0, 1, units))
        self.groups, self.eps = options.groups, options.eps

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        """Of feature maps [T, B, H, W, C] a group's mean and variance are over all places."""
        trials, batch, *_, units = x_TBC.shape
        size = units // self.groups
        x_TBGPN = x_TBC.to(self.gamma.dtype).view(trials, batch, -1, self.groups, size).transpose(2, 3)
        y_TBGPN = functional.layer_norm(x_TBGPN, x_TBGPN.shape[3:], eps=self.eps)
        y_TBPC = y_TBGPN.transpose(2, 3).flatten(3)
        return torch.addcmul(self.beta[:, None], y_TBPC, self.gamma[:, None]).view(x_TBC.shape)
