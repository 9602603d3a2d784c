"""Initializations in the place of normalizers: nothing is normalized, but weights begin otherwise, those of the output
layer too. Shape suffixes as in `layers`: T trials, S streams, B batch, C units; and K weights of a unit or feature
map."""

import math
from functools import partial

import torch
from torch import Tensor, nn

from bnexp.models.convolution import Convolution
from bnexp.models.layers import Cohort, Linear, Mode, Pass, initial_draws, scaled
from bnexp.models.of_weights import OfWeights
from bnexp.normalizers import FixupOptions, LsuvOptions


class Fixup(OfWeights):
    """Fixup-style initialization (Zhang, Dauphin and Ma 2019, "Fixup initialization: residual learning without
    normalization", section 3.2), of a hidden layer: y = gamma W(x + alpha) + beta, with three scalars a layer, alpha
    and beta from 0 and gamma from 1.

    The paper has it for residual networks, and those here have no residual branches. What remains of its three rules in
    a plain network, which is one branch:

    1. The classification layer begins at 0 (`FixupOutput`). It is the last layer of the branch too.
    2. The other weights begin as He et al. (2015) have them, with standard deviation init_scale sqrt(2/fan_in),
       whatever the nonlinearity. Those within L branches of m layers are multiplied by L^(-1/(2m-2)), with one by 1.
    3. A scalar bias stands before each weight layer and each nonlinearity, and a scalar multiplier after each weight
       layer, where the paper has one a branch.

    The first step moves the output layer alone, since no gradient passes weights of 0. A depthwise convolution before W
    begins as ever. Weight decay is of W alone."""

    def __init__(self, cohort: Cohort, name: str, units: int, options: FixupOptions) -> None:
        super().__init__()
        self.name = name
        self.alpha = nn.Parameter(cohort.full(0.0, 1, 1))
        self.gamma = nn.Parameter(cohort.full(1.0, 1, 1))
        self.beta = nn.Parameter(cohort.full(0.0, 1, 1))

    def follow(self, product: Linear | Convolution) -> None:
        product.enter = partial(shifted, by_T11=self.alpha)
        product.weight.data *= math.sqrt(2)

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        units = x_TBC.shape[2]
        beta, gamma = (scalar.expand(-1, 1, units) for scalar in (self.beta, self.gamma))
        return torch.addcmul(beta, x_TBC.to(self.gamma.dtype), gamma)


class FixupOutput(OfWeights):
    """The output layer of `Fixup`: y = W(x + alpha) + b, all of it from 0; alpha is a scalar, b one number a class."""

    def __init__(self, cohort: Cohort, name: str, units: int, options: FixupOptions) -> None:
        super().__init__()
        self.name = name
        self.bias = nn.Parameter(cohort.full(0.0, 1, units))
        self.alpha = nn.Parameter(cohort.full(0.0, 1, 1))

    def follow(self, product: Linear | Convolution) -> None:
        product.enter = partial(shifted, by_T11=self.alpha)
        product.weight.data.zero_()

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        return x_TBC + self.bias


class Lsuv(OfWeights):
    """Layer-sequential unit-variance initialization (Mishkin and Matas 2015, "All you need is a good init", algorithm
    1), of a hidden layer or the output layer: weights begin orthonormal, times `init_scale`, and before the first step,
    layer by layer, W is divided by the standard deviation of Wx over the first batch's examples, places and units,
    unless its variance is nearer to 1 than the tolerance. From then on the layer is plain: y = Wx + b, b from 0.

    Algorithm 1 divides until the variance is within its tolerance, at most 10 times. Wx is linear in W, so after one
    division the variance is 1 but for rounding, and one is all there is. It cancels `init_scale`, of which nothing is
    left but rounding, and of a layer that was within its tolerance all that it had. A layer whose variance is 0 or not
    finite stays as it is.

    A depthwise convolution before W begins as ever. Weight decay is of W alone."""

    begins = True

    def __init__(self, cohort: Cohort, name: str, units: int, options: LsuvOptions) -> None:
        super().__init__()
        self.name = name
        self.bias = nn.Parameter(cohort.full(0.0, 1, units))
        self._cohort, self._tolerance = cohort, options.tolerance
        self._products: list[Linear | Convolution] = []
        """The one before it. In a list, so that it is no part of this layer."""

    def follow(self, product: Linear | Convolution) -> None:
        self._products.append(product)
        if product.weight.device.type != "meta":
            draws_SCK = initial_draws(self._cohort, product.name, *product.weight.shape[1:])
            product.weight.data = scaled(self._cohort, orthonormal(draws_SCK))

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        if now.mode is Mode.BEGIN:
            factor_T11 = to_unit_variance(x_TBC, self._tolerance).to(self.bias.dtype)
            for product in self._products:
                product.weight.mul_(factor_T11)
            x_TBC = x_TBC * factor_T11
        return x_TBC + self.bias


def shifted(x: Tensor, by_T11: Tensor) -> Tensor:
    """x [S, B, ...] of each trial, plus its number: [T, B, ...]. Its gradient is summed over the batch and then over
    the rest, in an order that is the same in any company."""
    shared = len(by_T11) // len(x)
    x = x.repeat_interleave(shared, 0) if shared > 1 else x
    flat = x.flatten(2)
    return (flat + by_T11.expand(-1, 1, flat.shape[2])).view(x.shape)


def orthonormal(draws_SCK: Tensor) -> Tensor:
    """Weights whose rows are orthonormal, or whose columns are where these are fewer, uniform among all such where the
    draws are normal (as Saxe, McClelland and Ganguli 2014 begin). One stream after the other, on a CPU, so that they
    are the same in any company and on any device."""
    found = []
    for draws_CK in draws_SCK.cpu():
        wide = draws_CK.shape[0] < draws_CK.shape[1]
        q, r = torch.linalg.qr(draws_CK.T.contiguous() if wide else draws_CK.clone())
        q *= r.diagonal().sign()
        found.append(q.T if wide else q)
    return torch.stack(found).to(draws_SCK.device)


def to_unit_variance(x_TBC: Tensor, tolerance: float) -> Tensor:
    """What brings the variance of each trial's numbers to 1, [T, 1, 1]: 1 where it is nearer to that than `tolerance`,
    or 0, or not finite. One trial after the other, so that no sum depends on their number."""
    variance_T = torch.stack([x_BC.double().var(correction=0) for x_BC in x_TBC])
    divided_T = ((variance_T - 1).abs() >= tolerance) & (variance_T > 0) & variance_T.isfinite()
    factor_T = torch.where(divided_T, variance_T.rsqrt(), 1.0)
    return factor_T[:, None, None]
