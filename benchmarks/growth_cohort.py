"""How the time of a trial-step falls with the trials in a cohort, from 1 to 1024, in one process on one core.

    python benchmarks/growth_cohort.py               # stored in benchmarks/results/growth_cohort.json

Both networks, with and without batch normalization, no Dropout; the sizes in interleaved rounds. Only training steps
are timed: neither evaluation nor the making of the cohort.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from benchmarks import machine
from benchmarks.rounds import interleaved, summary
from benchmarks.work import WORKS, Work, load
from bnexp.data.batches import DeviceData
from bnexp.engine.device import settle
from bnexp.engine.program import Program

SIZES = tuple(2**power for power in range(11))
WARM_STEPS = 3
TRIAL_STEPS = 2048
"""Timed for each size and round, if that is not fewer than LEAST_STEPS steps nor more than MOST_STEPS."""
LEAST_STEPS, MOST_STEPS = 4, 200
RESULT = Path(__file__).parent / "results" / "growth_cohort.json"


def microseconds(work: Work, data: DeviceData, trials: int) -> float:
    """Of a trial-step in a cohort of `trials`."""
    program = Program([work.trial(number) for number in range(trials)], data)
    steps = min(MOST_STEPS, max(LEAST_STEPS, TRIAL_STEPS // trials))
    program.run(1, WARM_STEPS)
    _wait(data)
    began = time.perf_counter()
    program.run(1 + WARM_STEPS, steps)
    _wait(data)
    return (time.perf_counter() - began) / (steps * trials) * 1e6


def _wait(data: DeviceData) -> None:
    if data.train.x.is_cuda:
        torch.cuda.synchronize()


def measure(work: Work, data: DeviceData, sizes: Sequence[int], rounds: int) -> dict[int, list[float]]:
    """Microseconds of a trial-step by trials in the cohort, in every round."""
    return interleaved(sizes, rounds, lambda trials, number: microseconds(work, data, trials))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="trials in the largest cohort")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    settle()
    device = torch.device(options.device)
    points: list[dict[str, Any]] = []
    described = machine.describe(device)
    record = {"benchmark": "growth_cohort", **described, "rounds": options.rounds, "points": points}
    for work in [work for work in WORKS if not work.dropout]:
        data = load(work.dataset, device)
        sizes = [size for size in SIZES if size <= options.most]
        for size, values in measure(work, data, sizes, options.rounds).items():
            points.append({"work": work.name, "trials": size, "microseconds_per_trial_step": summary(values)})
            print(f"{work.name}: {size} trials: {summary(values)['median']:.0f} us a trial-step", flush=True)
    machine.write(options.output, record)


if __name__ == "__main__":
    main()
