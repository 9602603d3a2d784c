"""Plain twins of the normalizers: what torch.nn has, and what it has not as its paper writes it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from bnexp import random
from bnexp.normalizers import (
    BatchNormOptions,
    BatchRenormOptions,
    FixupOptions,
    GhostBatchNormOptions,
    GroupNormOptions,
    LayerNormOptions,
    RmsNormOptions,
    WeightNormOptions,
    WeightStandardizationOptions,
)

Statistics = tuple[Tensor, Tensor]
"""Mean and variance, [units] each."""


class BatchTwin(nn.BatchNorm1d):
    """Batch normalization, which knows how this program evaluates it."""

    def averages(self, steps: int) -> Statistics:
        """The moving averages after `steps` steps, debiased: running_mean starts at 0 and running_var at 1."""
        assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
        left = (1 - self.momentum) ** steps
        return self.running_mean / (1 - left), (self.running_var - left) / (1 - left)

    def gathering(self, x: Tensor) -> tuple[Tensor, list[Statistics]]:
        """x normalized by its batch, and the statistics of each batch in it, for Algorithm 2."""
        mean, variance = x.mean(0), x.var(0, correction=1)
        biased = ((x - mean) ** 2).mean(0)
        return (x - mean) / (biased + self.eps).sqrt() * self.weight + self.bias, [(mean, variance)]

    def population(self, seen: list[Statistics]) -> Statistics:
        """Of many batches."""
        means, variances = zip(*seen, strict=True)
        return torch.stack(means).mean(0), torch.stack(variances).mean(0)


class GhostTwin(BatchTwin):
    """torch's, of one virtual batch after the other."""

    def __init__(self, units: int, eps: float, momentum: float, groups: int) -> None:
        super().__init__(units, eps, momentum)
        self.groups = groups

    def _parts(self, x: Tensor) -> Sequence[Tensor]:
        return x.tensor_split(min(self.groups, len(x) // 2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(GhostTwin, self).forward(part) for part in self._parts(x)])

    def averages(self, steps: int) -> Statistics:
        return super().averages(steps * self.groups)

    def gathering(self, x: Tensor) -> tuple[Tensor, list[Statistics]]:
        normalized, seen = zip(*(super(GhostTwin, self).gathering(part) for part in self._parts(x)), strict=True)
        return torch.cat(normalized), [one for of_part in seen for one in of_part]


class RenormTwin(BatchTwin):
    """Algorithm 1 of Ioffe 2017, with constant limits and with averages that are debiased."""

    running: Tensor
    still = False
    """Whether the averages are to stay."""

    def __init__(self, units: int, eps: float, momentum: float, rmax: float, dmax: float) -> None:
        super().__init__(units, eps, momentum)
        self.rmax, self.dmax, self.rate, self.batches = rmax, dmax, momentum, 0
        self.register_buffer("running", torch.zeros(2, units))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(0)
        sigma = (((x - mean) ** 2).mean(0) + self.eps).sqrt()
        normalized = (x - mean) / sigma
        if self.batches:
            mu, sigma_mu = self.running / (1 - (1 - self.rate) ** self.batches)
            r = (sigma / sigma_mu).detach().clamp(1 / self.rmax, self.rmax)
            normalized = normalized * r + ((mean - mu) / sigma_mu).detach().clamp(-self.dmax, self.dmax)
        if not self.still:
            self.batches += 1
            self.running = (1 - self.rate) * self.running + self.rate * torch.stack([mean, sigma]).detach()
        return normalized * self.weight + self.bias

    def averages(self, steps: int) -> Statistics:
        mu, sigma = self.running / (1 - (1 - self.rate) ** steps)
        return mu, sigma**2 - self.eps

    def gathering(self, x: Tensor) -> tuple[Tensor, list[Statistics]]:
        self.still = True
        return self(x), [(x.mean(0), (x.var(0, correction=0) + self.eps).sqrt())]

    def population(self, seen: list[Statistics]) -> Statistics:
        mean, sigma = super().population(seen)
        return mean, sigma**2 - self.eps


class RmsTwin(nn.RMSNorm):
    """torch's, with the bias that the paper adds afterwards."""

    def __init__(self, units: int, eps: float) -> None:
        super().__init__(units, eps)
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.bias


class UnitLinear(nn.Linear):
    """Its weights are divided by their length, unit by unit."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, normalize(self.weight, dim=1, eps=0.0))


class StandardizedLinear(nn.Linear):
    """Its weights have mean 0 and variance 1, unit by unit."""

    eps = 0.0

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, 1, correction=0, keepdim=True)
        return linear(x, (self.weight - mean) / (variance + self.eps).sqrt(), self.bias)


class ShiftedLinear(nn.Linear):
    """A scalar is added to what enters."""

    def __init__(self, inputs: int, units: int, bias: bool) -> None:
        super().__init__(inputs, units, bias)
        self.before = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.before)


class ScalarsTwin(nn.Module):
    """A scalar multiplier and a scalar bias, after a product."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


def draws(seed: int, layer: str, like: Tensor) -> Tensor:
    """The standard normal numbers behind a layer's weights, float64."""
    return random.normal(random.keys("init", [seed], layer), like.numel()).view(like.shape)


def begin_fixup(linears: Sequence[nn.Linear], names: Sequence[str], seed: int, init_scale: float) -> None:
    """He's deviations, and 0 for the last layer."""
    for layer, name in zip(linears, names, strict=True):
        he = draws(seed, name, layer.weight) * (2 / layer.in_features) ** 0.5
        layer.weight.data.copy_(he * init_scale)
    linears[-1].weight.data.zero_()


@torch.no_grad()
def begin_lsuv(
    linears: Sequence[nn.Linear],
    names: Sequence[str],
    seed: int,
    init_scale: float,
    forward: Callable[[int], Tensor],
    tolerance: float,
) -> list[int]:
    """Algorithm 1 as it is printed, with a forward pass before each division: `forward` gives what comes of a layer by
    its number. How often each layer was divided."""
    divisions = []
    for number, (layer, name) in enumerate(zip(linears, names, strict=True)):
        normal = draws(seed, name, layer.weight)
        tall = normal if normal.shape[0] >= normal.shape[1] else normal.T
        q, r = torch.linalg.qr(tall)
        q = q @ r.diagonal().sign().diag()
        layer.weight.data.copy_((q if tall is normal else q.T) * init_scale)
        iterations = 0
        while abs(float(forward(number).var(correction=0)) - 1) >= tolerance and iterations < 10:
            layer.weight /= forward(number).var(correction=0).sqrt()
            iterations += 1
        divisions.append(iterations)
    return divisions


class ScaleTwin(nn.Module):
    """What weight normalization does after its product."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias

    def begin(self, weight: Tensor) -> None:
        self.weight.data = weight.detach().norm(dim=1)


def linear_twin(options: Any, inputs: int, units: int) -> nn.Linear:
    """The product before the normalizer of a layer, or the whole of a layer without one."""
    if isinstance(options, WeightNormOptions):
        return UnitLinear(inputs, units, bias=False)
    if isinstance(options, WeightStandardizationOptions):
        product = StandardizedLinear(inputs, units)
        product.eps = options.eps
        return product
    if isinstance(options, FixupOptions):
        return ShiftedLinear(inputs, units, bias=False)
    return nn.Linear(inputs, units, bias=options.name in ("none", "lsuv"))


def output_twin(options: Any, inputs: int, classes: int) -> nn.Linear:
    """The output layer, which has a bias."""
    return (ShiftedLinear if isinstance(options, FixupOptions) else nn.Linear)(inputs, classes, bias=True)


def norm_twin(options: Any, units: int) -> Any:
    """The normalizer of a layer of so many units, with weight and bias; None where there is none."""
    match options:
        case BatchRenormOptions():
            return RenormTwin(units, options.eps, options.momentum, options.rmax, options.dmax)
        case GhostBatchNormOptions():
            return GhostTwin(units, options.eps, options.momentum, options.groups)
        case BatchNormOptions():
            return BatchTwin(units, options.eps, options.momentum)
        case GroupNormOptions():
            return nn.GroupNorm(options.groups, units, options.eps)
        case LayerNormOptions():
            return nn.LayerNorm(units, options.eps)
        case RmsNormOptions():
            return RmsTwin(units, options.eps)
        case WeightNormOptions():
            return ScaleTwin(units)
        case FixupOptions():
            return ScalarsTwin()
    return None
