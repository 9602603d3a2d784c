"""Normalizers of weights instead of what comes of them. Each stands where others do, after a product, and has it
prepare its weights [T, C, K] before they are used; models need not know. Shape suffixes as in `layers`: T trials,
B batch, C units; and K weights of a unit or feature map."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.models.convolution import Convolution
from bnexp.models.layers import Cohort, Layer, Linear, Pass
from bnexp.normalizers import WeightNormOptions, WeightStandardizationOptions


class OfWeights(Layer):
    """A normalizer of the weights of the product before it."""

    def follow(self, product: Linear | Convolution) -> None:
        """Have the weights of `product` prepared. It is called once, before anything is trained."""
        raise NotImplementedError


class WeightNorm(OfWeights):
    """Weight normalization (Salimans and Kingma 2016): y = g v/||v|| x + b for each unit, or feature map, as
    torch.nn.utils.parametrizations.weight_norm has it. v are the weights of the product, which gives v/||v|| x, and g
    and b are here, named gamma and beta.

    g starts as ||v|| and b as 0, so that training starts where it does without normalization; the paper's start from a
    batch's mean and variance is left out. Weight decay is of v alone."""

    def __init__(self, cohort: Cohort, name: str, units: int, options: WeightNormOptions) -> None:
        super().__init__()
        self.name = name
        self.gamma = nn.Parameter(cohort.full(1.0, 1, units))
        self.beta = nn.Parameter(cohort.full(0.0, 1, units))

    def follow(self, product: Linear | Convolution) -> None:
        product.prepare = of_length_one
        self.gamma.data = (product.weight.detach() ** 2).sum(2)[:, None].sqrt()

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        return torch.addcmul(self.beta, x_TBC.to(self.gamma.dtype), self.gamma)


class WeightStandardization(OfWeights):
    """Weight standardization (Qiao et al. 2019, "Micro-batch training with batch-channel normalization and weight
    standardization"): the product uses (W - mean) / sqrt(variance + eps) of the weights of each unit, or feature map,
    with their biased variance; b, from 0, is added to what comes of it.

    The paper normalizes activations as well, by groups; here nothing follows. So the K weights of a unit have length
    sqrt(K), whatever `init_scale` is, and what comes of them grows with that."""

    def __init__(self, cohort: Cohort, name: str, units: int, options: WeightStandardizationOptions) -> None:
        super().__init__()
        self.name = name
        self.bias = nn.Parameter(cohort.full(0.0, 1, units))
        self.eps = options.eps

    def follow(self, product: Linear | Convolution) -> None:
        product.prepare = partial(standardized, eps=self.eps)

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        return x_TBC + self.bias


class _OfLengthOne(torch.autograd.Function):
    """v/||v||, in fewer passes over v than its parts' own gradients take."""

    @staticmethod
    def forward(ctx: Any, v_TCK: Tensor) -> Tensor:
        inverse_TC1 = (v_TCK * v_TCK).sum(2, keepdim=True).rsqrt()
        w_TCK = v_TCK * inverse_TC1
        ctx.save_for_backward(w_TCK, inverse_TC1)
        return w_TCK

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        [dw_TCK], (w_TCK, inverse_TC1) = gradients, ctx.saved_tensors
        along_TC1 = (dw_TCK * w_TCK).sum(2, keepdim=True)
        return torch.addcmul(dw_TCK, w_TCK, along_TC1, value=-1).mul_(inverse_TC1)


def of_length_one(weight_TCK: Tensor) -> Tensor:
    """v/||v||."""
    result: Tensor = _OfLengthOne.apply(weight_TCK)  # type: ignore[no-untyped-call]
    return result


def standardized(weight_TCK: Tensor, eps: float) -> Tensor:
    """(W - mean) / sqrt(variance + eps)."""
    centred_TCK = weight_TCK - weight_TCK.mean(2, keepdim=True)
    return centred_TCK * ((centred_TCK * centred_TCK).mean(2, keepdim=True) + eps).rsqrt()
