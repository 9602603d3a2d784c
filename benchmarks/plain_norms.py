"""The shipped normalizers as people write them for one trial: torch's own modules, and short ones, of torch's fastest
functions, where it has none."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, layer_norm, linear
from torch.nn.utils.parametrizations import weight_norm

from bnexp.normalizers import (
    BatchNormOptions,
    BatchRenormOptions,
    GhostBatchNormOptions,
    GroupNormOptions,
    LayerNormOptions,
    NoisyBatchNormOptions,
    RmsNormOptions,
    WeightNormOptions,
    WeightStandardizationOptions,
)


class NoisyBatchNorm(nn.BatchNorm1d):
    """Its output is scaled and shifted at random, by what it takes the place of gamma and beta with."""

    def __init__(self, units: int, options: NoisyBatchNormOptions) -> None:
        super().__init__(units, options.eps, options.momentum)
        self.shift, self.scale = options.shift, options.scale

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        scale = torch.empty_like(self.weight).uniform_(1, self.scale)
        shift = torch.empty_like(self.bias).uniform_(-self.shift, self.shift)
        gamma, beta = self.weight * scale, self.bias * scale + shift
        return batch_norm(x, self.running_mean, self.running_var, gamma, beta, True, self.momentum or 0.0, self.eps)


class GhostBatchNorm(nn.Module):
    """Virtual batches of consecutive examples side by side, as so many more units of one batch normalization. It is
    trained only."""

    mean: Tensor
    variance: Tensor

    def __init__(self, units: int, options: GhostBatchNormOptions) -> None:
        super().__init__()
        self.groups, self.eps, self.momentum = options.groups, options.eps, options.momentum
        self.weight, self.bias = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))
        self.register_buffer("mean", torch.zeros(self.groups * units))
        self.register_buffer("variance", torch.ones(self.groups * units))

    def forward(self, x: Tensor) -> Tensor:
        batch, units = x.shape
        beside = x.view(self.groups, -1, units).transpose(0, 1).reshape(-1, self.groups * units)
        gamma, beta = self.weight.repeat(self.groups), self.bias.repeat(self.groups)
        y = batch_norm(beside, self.mean, self.variance, gamma, beta, True, self.momentum, self.eps)
        return y.view(-1, self.groups, units).transpose(0, 1).reshape(batch, units)


class BatchRenorm(nn.Module):
    """Batch normalization with r and d in its gamma and beta; the averages are debiased, and the first batch has none.
    It is trained only."""

    averages: Tensor

    def __init__(self, units: int, options: BatchRenormOptions) -> None:
        super().__init__()
        self.options, self.batches = options, 0
        self.weight, self.bias = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))
        self.register_buffer("averages", torch.zeros(2, units))

    def forward(self, x: Tensor) -> Tensor:
        r, d = self._correction(x.detach())
        return batch_norm(x, None, None, self.weight * r, self.bias + self.weight * d, True, 0.0, self.options.eps)

    @torch.no_grad()
    def _correction(self, x: Tensor) -> tuple[Tensor, Tensor]:
        how = self.options
        variance, mean = torch.var_mean(x, 0, correction=0)
        sigma = (variance + how.eps).sqrt_()
        r, d = torch.ones_like(mean), torch.zeros_like(mean)
        if self.batches:
            mu, sigma_mu = self.averages / (1 - (1 - how.momentum) ** self.batches)
            r = (sigma / sigma_mu).clamp_(1 / how.rmax, how.rmax)
            d = ((mean - mu) / sigma_mu).clamp_(-how.dmax, how.dmax)
        self.averages.lerp_(torch.stack([mean, sigma]), how.momentum)
        self.batches += 1
        return r, d


class RmsNorm(nn.RMSNorm):
    """torch's, with the bias that the paper adds."""

    def __init__(self, units: int, eps: float) -> None:
        super().__init__(units, eps)
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.bias


class StandardizedLinear(nn.Module):
    """The weights of a linear module with mean 0 and variance 1, unit by unit: layer normalization of weights."""

    def __init__(self, product: nn.Linear, eps: float) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = product.weight, product.bias, eps

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, layer_norm(self.weight, self.weight.shape[1:], eps=self.eps), self.bias)


def has_bias(norm: Any) -> bool:
    """Whether the product before the normalizer keeps its bias."""
    return norm.name in ("none", "weight", "weight-standardization")


def normalized(norm: Any, product: nn.Linear) -> list[nn.Module]:
    """A product, as it was initialized, with its normalizer. Raises ValueError where there is none of that name for
    units."""
    units = product.out_features
    match norm:
        case BatchRenormOptions():
            return [product, BatchRenorm(units, norm)]
        case GhostBatchNormOptions():
            return [product, GhostBatchNorm(units, norm)]
        case NoisyBatchNormOptions():
            return [product, NoisyBatchNorm(units, norm)]
        case BatchNormOptions():
            return [product, nn.BatchNorm1d(units, norm.eps, norm.momentum)]
        case GroupNormOptions():
            return [product, nn.GroupNorm(norm.groups, units, norm.eps)]
        case LayerNormOptions():
            return [product, nn.LayerNorm(units, norm.eps)]
        case RmsNormOptions():
            return [product, RmsNorm(units, norm.eps)]
        case WeightNormOptions():
            return [weight_norm(product)]
        case WeightStandardizationOptions():
            return [StandardizedLinear(product, norm.eps)]
    if norm.name == "none":
        return [product]
    raise ValueError(f"no plain module of norm {norm.name!r}")
