"""Elementwise nonlinearities, each a function of one tensor, whose rounding must not depend on an element's place."""

from typing import Any

import torch
from torch import Tensor


def identity(x: Tensor) -> Tensor:
    """y = x, which makes a linear network."""
    return x


def relu(x: Tensor) -> Tensor:
    """y = max(x, 0)."""
    return torch.relu(x)


VECTOR = 64
"""A multiple of the elements that any processor's vector loop takes at once."""


class _Sigmoid(torch.autograd.Function):
    """torch.sigmoid, but that its loop for the last elements, which do not fill a vector, rounds otherwise than its
    loop over vectors, so that a trial's result would depend on its slot: here those too fill a vector."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        y = torch.sigmoid(x)
        rest = x.numel() % VECTOR
        if rest:
            last = x.new_zeros(VECTOR)
            last[:rest] = x.view(-1)[-rest:]
            y.view(-1)[-rest:] = last.sigmoid_()[:rest]
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        [dy], [y] = gradients, ctx.saved_tensors
        dx: Tensor = torch.ops.aten.sigmoid_backward(dy, y)
        return dx


def sigmoid(x: Tensor) -> Tensor:
    """y = 1 / (1 + exp(-x))."""
    y: Tensor = _Sigmoid.apply(x)  # type: ignore[no-untyped-call]
    return y


def tanh(x: Tensor) -> Tensor:
    """y = tanh(x)."""
    return torch.tanh(x)
