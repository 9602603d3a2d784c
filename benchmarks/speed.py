"""bnexp against the loops and tools that people use, in interleaved rounds of one run on the same trials.

    python benchmarks/speed.py                       # all, stored in benchmarks/results/speed-<device>.json
    python benchmarks/speed.py --quick               # a taste of everything in under two minutes; stores nothing
    python benchmarks/speed.py --works digits-bn --arms eager,fused --rounds 3

Arms: loader (DataLoader), eager (the plain loop on data in memory), compiled (through torch.compile) or on a GPU
captured (in a CUDA graph), parallel (the plain loop in a process a core), fused (bnexp's cohorts, in one process and in
a process a core), commands (whole commands: bnexp run, Optuna, MLflow, CSV files), grid (bnexp run grid). An arm's time
counts only where its training losses agree with the plain loop's; where one does not, the exit code is 1.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import machine
from benchmarks.arms import COHORTS, all_arms
from benchmarks.grid import measure_grid
from benchmarks.measure import Bench
from benchmarks.processes import WARM_STEPS
from benchmarks.records import Settings
from benchmarks.tools import measure_tools
from benchmarks.work import WORKS
from bnexp.executors import local

BEGAN = time.monotonic()
RESULTS = Path(__file__).parent / "results"
KINDS = ("loader", "eager", "compiled", "captured", "parallel", "fused", "commands", "grid")


@dataclass(frozen=True)
class Plan:
    """How much is measured, unless told."""

    works: tuple[str, ...]
    rounds: int
    steps: int
    trials: int
    cohorts: tuple[int, ...]
    memory: bool
    command_rounds: int
    command_steps: int
    command_seeds: int


FULL = Plan(tuple(work.name for work in WORKS), 3, 60, 16, COHORTS, True, 3, 300, 8)
QUICK = Plan(("digits-bn-dropout", "fashion-mnist"), 2, 20, 8, (1, 16), False, 1, 60, 1)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [work.name for work in WORKS]
    parser.add_argument("--quick", action="store_true", help="less of everything, and no grid")
    parser.add_argument("--works", type=_choices(names), help=f"of {', '.join(names)}")
    parser.add_argument("--arms", type=_choices(KINDS), default=KINDS, help=f"of {', '.join(KINDS)}")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--steps", type=int, help="timed steps of each trial")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--output", type=Path, help="of the record, JSON")
    return parser.parse_args(arguments)


def _choices(allowed: Iterable[str]) -> Any:
    def read(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        if unknown := [name for name in chosen if name not in allowed]:
            raise argparse.ArgumentTypeError(f"no such {unknown[0]!r}; choose from {', '.join(allowed)}")
        return chosen

    return read


def log(line: str) -> None:
    """To standard error, with the seconds since the start."""
    print(f"{time.monotonic() - BEGAN:6.1f} s  {line}", file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The whole record."""
    import torch

    plan, device, cores = QUICK if options.quick else FULL, torch.device(options.device), local.cores()
    rounds, steps = options.rounds or plan.rounds, options.steps or plan.steps
    record: dict[str, Any] = {
        "benchmark": "speed",
        "quick": options.quick,
        **machine.describe(device),
        "rounds": rounds,
        "steps": steps,
        "warm_steps": WARM_STEPS,
        "works": [],
    }
    settings = Settings(options.device, cores, rounds, steps, plan.trials, plan.memory)
    arms = [arm for arm in all_arms(options.device, cores, plan.cohorts) if arm.kind in options.arms]
    for work in WORKS:
        if arms and work.name in (options.works or plan.works):
            record["works"].append(Bench(work, arms, settings, log).run())
            if options.quick:  # compiling once is enough for a taste
                arms = [arm for arm in arms if arm.kind != "compiled"]
    if "commands" in options.arms:
        rounds = options.rounds or plan.command_rounds
        seeds, steps = plan.command_seeds, options.steps or plan.command_steps
        counts = [cores] if options.quick else sorted({1, cores})
        record["commands"] = measure_tools(options.device, counts, rounds, steps, seeds, log)
    if "grid" in options.arms and not options.quick:
        record["grid"] = measure_grid(options.device, cores if options.device == "cpu" else torch.cuda.device_count())
    return record | {"minutes": (time.monotonic() - BEGAN) / 60}


def disagreeing(record: dict[str, Any]) -> list[str]:
    """The arms and commands whose results are wrong."""
    arms = [f"{work['work']}: {arm['arm']}" for work in record["works"] for arm in work["arms"] if _wrong(arm)]
    return arms + [each["tool"] for each in record.get("commands", {}).get("commands", []) if _wrong(each)]


def _wrong(arm: dict[str, Any]) -> bool:
    return bool(arm["status"] == "disagrees")


def _show(record: dict[str, Any]) -> None:
    for work in record["works"]:
        print(f"\n{work['work']} ({work['data']}), trial-steps/s: median [range], share of the multiply peak")
        for arm in work["arms"]:
            rate = arm.get("trial_steps_per_second")
            share = arm["share_of_multiply_peak"]["median"] if rate else 0
            figures = rate and f"{rate['median']:9,.0f} [{rate['min']:,.0f}, {rate['max']:,.0f}]  {share:.1%}"
            print(f"  {arm['arm']:14} {figures or arm['status'] + ': ' + str(arm['reason'] or arm['agreement'])}")
    for each in record.get("commands", {}).get("commands", []):
        took = each["seconds"]
        figures = took and f"{took['median']:.1f} s [{took['min']:.1f}, {took['max']:.1f}]"
        print(f"{each['tool']} in {each['processes']} processes: {figures or each['status']} {each['reason'] or ''}")
    if "grid" in record:
        print(f"bnexp run grid: {record['grid']['seconds']:.0f} s")


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # so that compilation is measured from nothing
        record = run(options)
    _show(record)
    output = options.output
    if output is None and not options.quick:
        import torch

        output = RESULTS / f"speed-{machine.slug(torch.device(options.device))}.json"
    if output:
        machine.write(output, record)
        log(f"stored in {output}")
    if wrong := disagreeing(record):
        sys.exit(f"these disagree with the plain loop: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
