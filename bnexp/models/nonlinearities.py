"""Elementwise nonlinearities, each a function of one tensor."""

import torch
from torch import Tensor


def identity(x: Tensor) -> Tensor:
    return x


def relu(x: Tensor) -> Tensor:
    return torch.relu(x)


def sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def tanh(x: Tensor) -> Tensor:
    return torch.tanh(x)
