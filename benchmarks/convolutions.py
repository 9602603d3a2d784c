"""What each method of convolving costs a trial, forward and backward, by shape and number of trials: the measurements
behind the rule of `bnexp.models.choosing`. Whether a trial's numbers are the same alone and in company, bit for bit, is
looked at too.

    python benchmarks/convolutions.py
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.machine import ROOT, describe, slug, write
from bnexp.engine import device as devices
from bnexp.models.convolving import METHODS, Window, same

BATCH = 32
TRIALS = (1, 4, 10)
SHAPES = [
    (28, 1, 8, same(3)),
    (28, 8, 24, same(3)),
    (14, 8, 8, same(3)),
    (14, 16, 20, same(3, 2)),
    (7, 16, 16, same(3)),
    (4, 24, 40, same(3)),
    (28, 4, 4, same(1)),
    (14, 24, 8, same(1)),
    (7, 72, 28, same(1)),
    (4, 128, 44, same(1)),
    (14, 96, 128, same(3)),
    (7, 576, 128, same(1)),
]
"""Pixels a side, input and output channels, and the kernel: of the small networks, and two of BN-Inception itself."""


def numbers(method: str, x: Tensor, weights: Tensor, window: Window) -> list[Tensor]:
    """Values and gradients."""
    into = torch.zeros_like(weights)
    y = METHODS[method].forward(x, weights, window)
    dx = METHODS[method].backward(y, x, weights, into, window, True)
    assert dx is not None
    return [y, dx, into]


def measure(method: str, x: Tensor, weights: Tensor, window: Window, rounds: int) -> float:
    """Median microseconds a trial."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        numbers(method, x, weights, window)
        if x.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times[1:]) / len(x)


def case(side: int, inputs: int, outputs: int, window: Window, device: torch.device, rounds: int) -> dict[str, Any]:
    """One shape, all methods."""
    draws = torch.Generator().manual_seed(0)
    x = (torch.rand(TRIALS[-1], BATCH, side, side, inputs, generator=draws) - 0.5).to(device)
    weights = (torch.rand(TRIALS[-1], outputs, window.kernel**2 * inputs, generator=draws) - 0.5).to(device)
    found: dict[str, Any] = {}
    for method in METHODS:
        alone, together = (numbers(method, x[:n], weights[:n], window) for n in (1, TRIALS[-1]))
        found[method] = {
            "microseconds": {str(n): round(measure(method, x[:n], weights[:n], window, rounds), 1) for n in TRIALS},
            "alone as in company": all(torch.equal(a, b[:1]) for a, b in zip(alone, together, strict=True)),
        }
    return {"side": side, "inputs": inputs, "outputs": outputs, "window": list(window), "methods": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    device = devices.choose("auto")
    assert device is not None
    devices.settle()
    record = describe(device) | {"batch": BATCH, "shapes": []}
    for shape in SHAPES:
        found = case(*shape, device, options.rounds)
        record["shapes"].append(found)
        print(shape, {name: one["microseconds"] for name, one in found["methods"].items()}, flush=True)
    write(ROOT / "benchmarks" / "results" / f"convolutions-{slug(device)}.json", record)


if __name__ == "__main__":
    main()
