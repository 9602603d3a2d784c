"""Which method convolves fastest, by shape and device.

On a CPU it is a rule, taken from measurements (`benchmarks/convolutions.py`): a trial's results are promised to be the
same, bit for bit, in any company, which only methods keep that take each trial by itself; and to be the same in every
run, which no choice by timing keeps. On a GPU, where neither is promised, the methods are measured when a shape is
first met.
"""

import os
import time
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from bnexp.errors import UsageError, did_you_mean
from bnexp.models.convolving import METHODS, Window

LOOP, PATCHES = "loop", "patches"
FORCED = "BNEXP_CONVOLUTION"
"""An environment variable that names a method for all shapes."""

ROUNDS = 3
IMAGES = 32
"""In the batches on which methods are compared; the choice holds for batches of any size."""

ADVANTAGE = 0.9
"""A method must take less than this share of the loop's time, or noise would choose among equals."""

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""Largest difference to the loop, relative to the largest number."""


class Shape(NamedTuple):
    """What is convolved."""

    height: int
    width: int
    inputs: int
    outputs: int
    window: Window
    trials: int
    dtype: torch.dtype
    device: torch.device


def method_for(shape: Shape) -> str:
    """The name of the method. Raises UsageError where the environment names one that there is not."""
    forced = os.environ.get(FORCED)
    if forced:
        if forced not in METHODS:
            raise UsageError(f"${FORCED}: no such method {forced!r} ({did_you_mean(forced, METHODS)})")
        return forced
    if shape.device.type == "cpu":
        return PATCHES if shape.window == (1, 1, 0) else LOOP
    return fastest(shape)


@cache
def fastest(shape: Shape) -> str:
    """The fastest of those that agree with the loop in values and gradients, measured now."""
    given = _example(shape)
    expected = _results(LOOP, given, shape.window)
    best, least = LOOP, _seconds(LOOP, given, shape.window) * ADVANTAGE
    for name in METHODS:
        if name != LOOP and agrees(name, given, shape, expected):
            seconds = _seconds(name, given, shape.window)
            if seconds < least:
                best, least = name, seconds
    return best


def agrees(name: str, given: tuple[Tensor, Tensor], shape: Shape, expected: list[Tensor]) -> bool:
    """Whether the method computes what is expected, but for rounding."""
    try:
        found = _results(name, given, shape.window)
    except RuntimeError:  # a device may not have it, or not the memory
        return False
    return all(
        bool((ours - theirs).abs().max() <= TOLERANCE[shape.dtype] * theirs.abs().max())
        for ours, theirs in zip(found, expected, strict=True)
    )


def _example(shape: Shape) -> tuple[Tensor, Tensor]:
    """Numbers to convolve: x [T, B, H, W, I] and weights [T, C, K]."""
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(shape.trials, IMAGES, shape.height, shape.width, shape.inputs, generator=draws) - 0.5
    weights = torch.rand(shape.trials, shape.outputs, shape.window.kernel**2 * shape.inputs, generator=draws) - 0.5
    return x.to(shape.device, shape.dtype), weights.to(shape.device, shape.dtype)


def _results(name: str, given: tuple[Tensor, Tensor], window: Window) -> list[Tensor]:
    """Values, the gradient of x, and that of the weights, where each output's gradient is the output itself."""
    x, weights = given
    into = torch.zeros_like(weights)
    y = METHODS[name].forward(x, weights, window)
    dx = METHODS[name].backward(y, x, weights, into, window, True)
    assert dx is not None
    return [y, dx, into]


def _seconds(name: str, given: tuple[Tensor, Tensor], window: Window) -> float:
    """Of the fastest of some rounds."""
    times = []
    for _ in range(ROUNDS):
        _wait(given[0])
        start = time.perf_counter()
        _results(name, given, window)
        _wait(given[0])
        times.append(time.perf_counter() - start)
    return min(times)


def _wait(like: Tensor) -> None:
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
