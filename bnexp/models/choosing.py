"""Which method convolves fastest, by shape and device: measured once, then remembered in the user's cache, so that
every process on a machine computes alike. Where nothing can be remembered nothing is measured, for the same reason.

On a CPU only those methods compete whose results for a trial are the same, bit for bit, alone and in company.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bnexp.files import write_file
from bnexp.models.convolving import METHODS, Window

FALLBACK = "loop"
FORCED = "BNEXP_CONVOLUTION"
"""An environment variable that names a method for all shapes."""

ROUNDS = 3
IMAGES, PIXELS = 16, 50_000
"""In the batches on which methods are compared, at most so many of either, but one image; the choice holds for batches
of any size."""

COMPANY = 2
"""Trials side by side while methods are compared on a CPU."""

ADVANTAGE = 0.95
"""A method must take less than this share of the time of the one before it, or noise would choose among equals."""

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""Largest difference to the loop, relative to the largest number."""


class Shape(NamedTuple):
    """What is convolved."""

    height: int
    width: int
    inputs: int
    outputs: int
    window: Window
    dtype: torch.dtype
    device: str
    """Its type."""
    trials: int
    """0 on a CPU, where methods compete at one number of trials, so that none's choice depends on company."""


@cache
def fastest(shape: Shape) -> str:
    """The name of the method."""
    forced = os.environ.get(FORCED)
    if forced:
        return forced
    name = " ".join(str(part) for part in (*shape[:4], *shape.window, *shape[5:]))
    try:
        with _remembered() as known:
            if known.get(name) not in METHODS:
                known[name] = _measure(shape)
            return known[name]
    except (OSError, ImportError):
        return FALLBACK


@contextmanager
def _remembered() -> Iterator[dict[str, str]]:
    """The choices of this kind of machine by shape; those that are added are written down. One process at a time.
    Raises OSError where they cannot be."""
    import fcntl  # which not every system has

    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bnexp"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"convolutions-{_machine()}.json"
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read(path)
        before = dict(known)
        yield known
        if known != before:
            write_file(path, json.dumps(known, indent=0, sort_keys=True))


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}


@cache
def _machine() -> str:
    """What decides which is fastest, as a hash."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    parts = torch.__version__, torch.backends.cpu.get_cpu_capability(), os.cpu_count(), gpu
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _measure(shape: Shape) -> str:
    """The fastest of those that agree with the loop in values and gradients."""
    given = _example(shape)
    expected = _results(FALLBACK, given, shape.window)
    best, least = FALLBACK, _seconds(FALLBACK, given, shape.window)
    for name in METHODS:
        if name == FALLBACK or not _agrees(name, given, shape, expected):
            continue
        seconds = _seconds(name, given, shape.window)
        if seconds < ADVANTAGE * least:
            best, least = name, seconds
    return best


def _example(shape: Shape) -> tuple[Tensor, Tensor]:
    """Numbers to convolve: x [T, B, H, W, I] and weights [T, C, K]."""
    trials = shape.trials or COMPANY
    draws = torch.Generator().manual_seed(0)
    images = max(1, min(IMAGES, PIXELS // (shape.height * shape.width)))
    x = torch.rand(trials, images, shape.height, shape.width, shape.inputs, generator=draws) - 0.5
    weights = torch.rand(trials, shape.outputs, shape.window.kernel**2 * shape.inputs, generator=draws) - 0.5
    return x.to(shape.device, shape.dtype), weights.to(shape.device, shape.dtype)


def _results(name: str, given: tuple[Tensor, Tensor], window: Window) -> list[Tensor]:
    """Values, the gradient of x, and that of the weights, where each output's gradient is the output itself."""
    x, weights = given
    into = torch.zeros_like(weights)
    y = METHODS[name].forward(x, weights, window)
    dx = METHODS[name].backward(y, x, weights, into, window, True)
    assert dx is not None
    return [y, dx, into]


def _agrees(name: str, given: tuple[Tensor, Tensor], shape: Shape, expected: list[Tensor]) -> bool:
    """Whether it computes the same but for rounding, and on a CPU the same for a trial alone, bit for bit."""
    try:
        found = _results(name, given, shape.window)
        alone = _results(name, (given[0][:1], given[1][:1]), shape.window)
    except RuntimeError:  # a device may not have it, or not the memory
        return False
    for ours, theirs in zip(found, expected, strict=True):
        if (ours - theirs).abs().max() > TOLERANCE[shape.dtype] * theirs.abs().max():
            return False
    return shape.device != "cpu" or all(torch.equal(a[:1], b) for a, b in zip(found, alone, strict=True))


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
