"""Faster-looking ways that were measured and left: what each would gain, and what it would cost.

    python benchmarks/alternatives.py                # stored in benchmarks/results/alternatives.json; three minutes

Wide first layer: trials that see the same batch have the same left operand in their first layer, which one wide
multiplication could share. The gain is small, and a result then depends on the cohort: the share of products of odd
sizes whose bits differ from the same product alone is counted, with MKL's conditional reproducibility as bnexp sets it.

Threads: all cores within operations, where bnexp has a process of one thread a core.

Compiled: the network of a cohort through torch.compile.
"""

import argparse
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from torch import Tensor

from benchmarks import machine
from benchmarks.rounds import interleaved, ratios, summary
from benchmarks.work import WORKS, Work, load
from bnexp.engine.device import settle
from bnexp.engine.program import Program
from bnexp.executors.local import cores

TRIALS = 48
BATCH, UNITS = 60, 100
REPEATS = 20
STEPS = 16
ODD_UNITS, ODD_BATCHES, ODD_TRIALS = (5, 10, 33, 100, 101), (7, 60, 61), (2, 3, 8)


def per_trial(x_BI: Tensor, weight_TCI: Tensor) -> Tensor:
    """[T, B, C], as the engine does it."""
    return torch.bmm(x_BI.expand(len(weight_TCI), *x_BI.shape), weight_TCI.transpose(1, 2))


def wide(x_BI: Tensor, weight_TCI: Tensor) -> Tensor:
    """[T, B, C], by one multiplication. It is a view of [B, T, C]: to go on, it would still have to be copied."""
    product_BN = torch.mm(x_BI, weight_TCI.view(-1, x_BI.shape[1]).T)
    return product_BN.view(len(x_BI), len(weight_TCI), -1).transpose(0, 1)


WAYS = {"per trial": per_trial, "wide": wide}


def microseconds(name: str, inputs: int) -> float:
    """Of one trial's output and weight gradient."""
    x_BI, weight_TCI = torch.rand(BATCH, inputs), torch.rand(TRIALS, UNITS, inputs)
    dy_TBC, velocity_TCI = torch.rand(TRIALS, BATCH, UNITS), torch.zeros(TRIALS, UNITS, inputs)
    dy_BN, velocity_NI = dy_TBC.view(BATCH, -1), velocity_TCI.view(-1, inputs)
    x_TBI = x_BI.expand(TRIALS, BATCH, inputs)
    began = 0.0
    for number in range(1 + REPEATS):
        if number == 1:
            began = time.perf_counter()
        WAYS[name](x_BI, weight_TCI)
        if name == "wide":
            velocity_NI.addmm_(dy_BN.T, x_BI)
        else:
            velocity_TCI.baddbmm_(dy_TBC.transpose(1, 2), x_TBI)
    return (time.perf_counter() - began) / (REPEATS * TRIALS) * 1e6


def unequal(way: Callable[[Tensor, Tensor], Tensor], inputs: int) -> float:
    """The share of trials whose product differs in any bit from what it is alone, over odd sizes."""
    differ = []
    for units, batch, trials in product(ODD_UNITS, ODD_BATCHES, ODD_TRIALS):
        x_BI, weight_TCI = torch.randn(batch, inputs), torch.randn(trials, units, inputs)
        for trial, together in enumerate(way(x_BI, weight_TCI)):
            [alone] = way(x_BI, weight_TCI[trial : trial + 1].clone())
            differ.append(not torch.equal(together, alone))
    return sum(differ) / len(differ)


def first_layer(rounds: int) -> list[dict[str, Any]]:
    """For 64 and 784 inputs: microseconds a trial of either way, their ratio, and how often bits differ."""
    found = []
    for inputs in (64, 784):

        def measure(name: str, number: int, inputs: int = inputs) -> float:
            return microseconds(name, inputs)

        took = interleaved(WAYS, rounds, measure)
        found.append(
            {
                "inputs": inputs,
                "microseconds": {name: summary(values) for name, values in took.items()},
                "times_faster": ratios(took["per trial"], took["wide"]),
                "unequal_share": {name: unequal(way, inputs) for name, way in WAYS.items()},
            }
        )
    return found


def threads(work: Work, rounds: int) -> dict[str, Any]:
    """Microseconds a trial-step of one process with one thread and with all."""
    program = Program([work.trial(n) for n in range(TRIALS)], load(work.dataset, torch.device("cpu")))
    program.run(1, STEPS)

    def measure(count: int, number: int) -> float:
        torch.set_num_threads(count)
        began = time.perf_counter()
        program.run(1 + number * STEPS, STEPS)
        took = (time.perf_counter() - began) / (STEPS * TRIALS) * 1e6
        torch.set_num_threads(1)
        return took

    counts = (1, cores())
    took = interleaved(counts, rounds, measure)
    return {
        "work": work.name,
        "threads": counts[1],
        "microseconds_per_trial_step": {str(count): summary(values) for count, values in took.items()},
        "times_faster": ratios(took[counts[0]], took[counts[1]]),
    }


def compiled(work: Work, rounds: int) -> dict[str, Any]:
    """Microseconds a trial-step of the same cohort eager and compiled, and the seconds that compiling took."""
    data = load(work.dataset, torch.device("cpu"))
    programs = {name: Program([work.trial(n) for n in range(TRIALS)], data) for name in ("eager", "compiled")}
    programs["compiled"].model.compile(dynamic=False)
    seconds = {}
    for name, program in programs.items():
        began = time.perf_counter()
        program.run(1, 1)
        seconds[name] = time.perf_counter() - began

    def measure(name: str, number: int) -> float:
        began = time.perf_counter()
        programs[name].run(2 + (number - 1) * STEPS, STEPS)
        return (time.perf_counter() - began) / (STEPS * TRIALS) * 1e6

    took = interleaved(programs, rounds, measure)
    states = [program.model.state_dict() for program in programs.values()]
    return {
        "work": work.name,
        "weights_apart": max(float((states[0][name] - states[1][name]).abs().max()) for name in states[0]),
        "microseconds_per_trial_step": {name: summary(values) for name, values in took.items()},
        "times_faster": ratios(took["eager"], took["compiled"]),
        "seconds_of_first_step": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=machine.ROOT / "benchmarks" / "results" / "alternatives.json")
    options = parser.parse_args()
    settle()
    record: dict[str, Any] = {"benchmark": "alternatives", **machine.describe(), "rounds": options.rounds}
    record["first_layer"] = first_layer(options.rounds)
    record["threads"] = [threads(work, options.rounds) for work in WORKS if not work.dropout]
    record["compiled"] = [compiled(work, options.rounds) for work in WORKS if work.dropout]
    machine.write(options.output, record)
    for each in record["first_layer"]:
        faster, unlike = each["times_faster"]["median"], each["unequal_share"]
        print(f"{each['inputs']} inputs: wide {faster:.2f} times faster; share of products with other bits: {unlike}")
    for each in record["threads"]:
        print(f"{each['work']}: {each['threads']} threads {each['times_faster']['median']:.2f} times faster than one")
    for each in record["compiled"]:
        first, apart = each["seconds_of_first_step"]["compiled"], each["weights_apart"]
        times = f"compiled {each['times_faster']['median']:.2f} times faster, after {first:.0f} s"
        print(f"{each['work']}: {times}; weights apart by {apart:.0e}")


if __name__ == "__main__":
    main()
