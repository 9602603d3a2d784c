"""Images per second of BN-Inception: bnexp's program against a plain torch.nn network with the same settings, as
written and compiled, interleaved in one run. Both see the same resident batches, take the same SGD steps with momentum
and weight decay; the plain loop draws its batches by an index, as ours does.

    python benchmarks/images.py                  # on a GPU: 224 pixels, float32 and bfloat16, 1 and 4 trials
    python benchmarks/images.py --small          # on a CPU: the small form on 28 pixels, 1 and 8 trials
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.machine import ROOT, describe, slug, write
from bnexp.config import TrialConfig
from bnexp.data.batches import DeviceData, to_device
from bnexp.data.dataset import Dataset
from bnexp.engine import device as devices
from bnexp.engine.program import Program
from bnexp.models.bn_inception import scaled
from tests.conv_twins import inception_twin, weights_of

Step = Callable[[int], None]
"""Takes so many steps."""

BATCH = 32


def config(seed: int, small: bool, precision: str) -> TrialConfig:
    model: dict[str, Any] = {"name": "bn-inception"}
    if small:
        model |= {"stem": "small", "width": 0.125}
    optimizer = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
    fields = {"dataset": "digits", "model": model, "norm": "batch", "nonlinearity": "relu", "batch_size": BATCH}
    return TrialConfig.model_validate(fields | {"optimizer": optimizer, "precision": precision, "seed": seed})


def noise(small: bool, device: torch.device) -> DeviceData:
    """Pictures of noise, as many as make an epoch of a few batches: what they show does not matter to speed."""
    shape, classes = ((28, 28), 10) if small else ((224, 224, 3), 1000)
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (24 * BATCH, *shape), dtype=np.uint8)
    labels = draws.integers(0, classes, len(images))
    cut = len(images) - 2 * BATCH
    dataset = Dataset("noise", classes, 255.0, images[:cut], labels[:cut], images[cut:], labels[cut:])
    return to_device(dataset, 0, torch.float32, device)


def ours(trials: int, small: bool, precision: str, data: DeviceData) -> Step:
    program = Program([config(seed, small, precision) for seed in range(trials)], data)
    taken = 0

    def step(count: int) -> None:
        nonlocal taken
        program.run(taken + 1, count)
        taken += count

    return step


def plain(small: bool, precision: str, data: DeviceData, compiled: bool) -> Step:
    """One network as anybody would write it, in channels_last."""
    one = Program([config(0, small, precision)], data)
    width = 0.125 if small else 1.0
    weights = weights_of(one.model, 0)
    model: nn.Module = inception_twin(weights, data.shape[2], data.classes, True, small, lambda n: scaled(n, width))
    model = model.to(one.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network: Any = torch.compile(model) if compiled else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    half = precision == "bfloat16"
    height, columns, channels = data.shape
    taken = 0

    def step(count: int) -> None:
        nonlocal taken
        for index in one.batches.indices(taken + 1, count, [0]):
            x, y = (part[0] for part in one.batches.take(index))
            images = x.view(-1, height, columns, channels).permute(0, 3, 1, 2)
            optimizer.zero_grad()
            with torch.autocast(one.device.type, torch.bfloat16, enabled=half):
                loss = cross_entropy(network(images), y)
            loss.backward()
            optimizer.step()
        taken += count

    return step


def seconds(step: Step, count: int) -> float:
    _wait()
    start = time.perf_counter()
    step(count)
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(arms: dict[str, tuple[Step, int]], steps: int, rounds: int) -> dict[str, list[float]]:
    """Images per second of every arm in every round; an arm's trials all count."""
    for step, _ in arms.values():
        step(3)
    found: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, (step, trials) in arms.items():
            found[name].append(trials * steps * BATCH / seconds(step, steps))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--trials", type=int, nargs="+", help="in bnexp's cohorts")
    parser.add_argument(
        "--eager", action="store_true", help="leave the compiled loop out, which takes minutes to compile"
    )
    parser.add_argument("--steps", type=int, default=20, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    trials = options.trials or ([1, 8] if options.small else [1, 4])
    device = devices.choose("auto")
    assert device is not None
    output = options.output or ROOT / "benchmarks" / "results" / f"images-{slug(device)}.json"
    devices.settle()
    data = noise(options.small, device)
    cases = {}
    for precision in ("float32",) if options.small else ("float32", "bfloat16"):
        arms = {f"bnexp, {n}": (ours(n, options.small, precision, data), n) for n in trials}
        arms["plain"] = plain(options.small, precision, data, compiled=False), 1
        if not options.eager:
            arms["plain, compiled"] = plain(options.small, precision, data, compiled=True), 1
        found = measure(arms, options.steps, options.rounds)
        for name, rates in found.items():
            ratio = statistics.median(a / b for a, b in zip(rates, found["plain"], strict=True))
            print(
                f"{precision} {name}: {statistics.median(rates):,.0f} images/s, {ratio:.2f} times the plain loop",
                flush=True,
            )
        cases[precision] = found
    about = {"network": "small" if options.small else "whole", "batch": BATCH, "steps": options.steps}
    write(output, describe(device) | about | {"images_per_second": cases})


if __name__ == "__main__":
    main()
