"""A battery's trials fused, as `bnexp battery` trains them, and one after the other in a plain PyTorch loop, in turn.

    python benchmarks/battery.py                     # all normalizers, stored in benchmarks/results/battery.json
    python benchmarks/battery.py --norms layer,rms --rounds 2 --steps 5

Of each shipped normalizer that works on units, and of none, a cohort of each experiment of the suite `battery`, on
digits. bnexp has two processes of one thread, each with some of the cohorts. The plain loop has the same trials, once
in one process with torch's default threads, as docs/speed.md has it, and once in two of one thread. Only training
steps are timed. Losses after the first steps are compared; where they disagree, the exit code is 1.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.processes import WARM_STEPS, Build, Crew, Go
from benchmarks.rounds import Summary, interleaved, ratios, summary
from bnexp.claims.scorecard import SUITE
from bnexp.config import TrialConfig
from bnexp.design import Experiment
from bnexp.engine.cohort import group
from bnexp.executors.local import cores
from bnexp.experiments import load, shipped_file
from bnexp.options import MlpOptions
from bnexp.registry import NORMS
from bnexp.replacement import Normalizer, in_place

STORED = machine.ROOT / "benchmarks" / "results" / "battery.json"
WITHOUT = ("instance", "fixup", "lsuv")
"""The first is undefined for units, the others are initializations."""
PROCESSES = 2
DRAWN = "noisy-batch"
"""Whose loss is drawn at random."""
TOLERANCE = 1e-3
"""Of the median relative difference of a trial's loss after the first steps. High rates and kinks of ReLU multiply what
float32 rounds, so a part of the trials differs by more."""

Cohort = list[TrialConfig]


def experiments() -> list[Experiment]:
    """Of the suite that comes with bnexp."""
    return load(shipped_file()).named([SUITE])


def sample(norm: str, suite: Sequence[Experiment]) -> dict[str, Cohort]:
    """By experiment, the first cohort of trials with this normalizer; of its tune stage, where it has one."""
    found = {}
    for experiment in suite:
        ours = experiment if norm == "none" else in_place(experiment, Normalizer.parse(norm, norm))
        trials = ours.tuning_trials() or ours.expand()
        configs = [trial.config for trial in trials if trial.config.norm.name == norm]
        first = next(group((config, "") for config in configs))
        found[experiment.name] = [configs[index] for index in first]
    return found


def dealt(cohorts: Sequence[Cohort], processes: int = PROCESSES) -> list[list[Cohort]]:
    """Cohorts to processes, the largest first, each to that which has least to do: at the end of a round none is to
    wait for the other, as none does in the midst of a run."""
    shares: list[list[Cohort]] = [[] for _ in range(processes)]
    for cohort in sorted(cohorts, key=size, reverse=True):
        min(shares, key=lambda share: sum(map(size, share))).append(cohort)
    return shares


def size(cohort: Cohort) -> int:
    """Hidden layers of all its trials."""
    model = cohort[0].model
    assert isinstance(model, MlpOptions)
    return len(cohort) * len(model.hidden)


def by_one(trials: Cohort, processes: int) -> list[list[Cohort]]:
    """Trials to processes, each by itself, in turn."""
    return [[[trial] for trial in trials[first::processes]] for first in range(processes)]


@dataclass
class Arm:
    """A way of training them: its processes, what each of them has, and how many threads."""

    crew: Crew
    kind: str
    shares: list[list[Cohort]]
    threads: int

    def build(self, steps: int) -> None:
        self.crew.ask([Build(self.kind, share, self.threads, steps) for share in self.shares])

    def seconds(self, steps: int) -> float:
        return self.crew.time([Go(steps)] * len(self.shares))

    def losses(self) -> dict[TrialConfig, float]:
        found = self.crew.ask(["losses"] * len(self.shares))
        trials = [trial for share in self.shares for cohort in share for trial in cohort]
        return dict(zip(trials, [loss for of_process in found for loss in of_process], strict=True))


def difference(ours: dict[TrialConfig, float], theirs: dict[TrialConfig, float]) -> float | None:
    """The median relative difference over trials that have no chance in them; a loss that is finite on one side only
    differs without end. None where no such trial has a finite loss."""
    found = []
    for trial, loss in theirs.items():
        if trial.dropout or trial.norm.name == DRAWN or not (math.isfinite(loss) or math.isfinite(ours[trial])):
            continue
        found.append(abs(ours[trial] - loss) / loss if math.isfinite(loss) and math.isfinite(ours[trial]) else math.inf)
    return statistics.median(found) if found else None


def measure(norm: str, suite: Sequence[Experiment], crews: Sequence[Crew], steps: int, rounds: int) -> dict[str, Any]:
    """Of one normalizer: what was trained, seconds of each arm in each round, and whether they agree."""
    cohorts = sample(norm, suite)
    trials = [trial for cohort in cohorts.values() for trial in cohort]
    arms = {
        "fused": Arm(crews[0], "probed", dealt(list(cohorts.values())), 1),
        "plain": Arm(crews[1], "scheduled", by_one(trials, 1), cores()),
        f"plain, {PROCESSES} processes": Arm(crews[2], "scheduled", by_one(trials, PROCESSES), 1),
    }
    for arm in arms.values():
        arm.build(steps * rounds)
    apart = difference(arms["fused"].losses(), arms["plain"].losses())
    seconds = interleaved(arms, rounds, lambda name, _: arms[name].seconds(steps))
    return {
        "norm": norm,
        "trials": {name: len(cohort) for name, cohort in cohorts.items()},
        "difference": apart,
        "seconds": seconds,
        "times": times(seconds),
    }


def times(seconds: dict[str, list[float]]) -> dict[str, Summary]:
    """How many times as long as bnexp each of the plain loops took, round by round."""
    return {name: ratios(each, seconds["fused"]) for name, each in seconds.items() if name != "fused"}


def together(measured: Sequence[dict[str, Any]]) -> dict[str, Summary]:
    """The same of all normalizers, whose seconds are added up round by round."""
    arms = measured[0]["seconds"]
    return times(
        {arm: [sum(parts) for parts in zip(*(one["seconds"][arm] for one in measured), strict=True)] for arm in arms}
    )


def disagreeing(measured: Sequence[dict[str, Any]]) -> list[str]:
    """The normalizers whose sides did not train the same."""
    return [one["norm"] for one in measured if one["difference"] is not None and not one["difference"] <= TOLERANCE]


def run(norms: Sequence[str], steps: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """The whole record."""
    record = {
        "benchmark": "battery",
        **machine.describe(),
        "steps": steps,
        "rounds": rounds,
        "warm_steps": WARM_STEPS,
        "processes": PROCESSES,
    }
    suite, measured = experiments(), []
    with (
        Crew(PROCESSES, "digits", "cpu") as ours,
        Crew(1, "digits", "cpu") as one,
        Crew(PROCESSES, "digits", "cpu") as two,
    ):
        for norm in norms:
            measured.append(measure(norm, suite, [ours, one, two], steps, rounds))
            say(f"{norm}: {', '.join(f'{arm} {shown(found)}' for arm, found in measured[-1]['times'].items())}")
    return record | {"normalizers": measured, "all": together(measured)}


def show(record: dict[str, Any]) -> None:
    """A table for people."""
    loops = list(record["all"])
    table = Table(
        "norm", title=f"The plain loops' time over bnexp's \\[range], {record['rounds']} rounds", box=SIMPLE_HEAD
    )
    for name in ("bnexp, s", *(loop.removeprefix("plain, ") for loop in loops), "apart"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in record["normalizers"]:
        apart = "-" if one["difference"] is None else f"{one['difference']:.0e}"
        took = f"{summary(one['seconds']['fused'])['median']:.2f}"
        table.add_row(one["norm"], took, *[shown(one["times"][loop]) for loop in loops], apart)
    table.add_section()
    table.add_row("all", "", *[shown(record["all"][loop]) for loop in loops], "")
    Console().print(table)


def shown(found: Summary) -> str:
    """The median of ratios, and their range."""
    return f"{found['median']:.1f} [{found['min']:.1f}, {found['max']:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for name in NORMS if name not in WITHOUT]
    parser.add_argument("--norms", default=",".join(known), help="of these, which is the default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of each trial in a round")
    parser.add_argument("--output", type=Path, help="of the record, JSON; of all normalizers it has a place")
    options = parser.parse_args()
    norms = options.norms.split(",")
    if unknown := [name for name in norms if name not in known]:
        parser.error(f"no such {unknown[0]!r}; choose from {', '.join(known)}")
    record = run(norms, options.steps, options.rounds, lambda line: print(line, file=sys.stderr, flush=True))
    show(record)
    if options.output or norms == known:
        machine.write(options.output or STORED, record)
    if wrong := disagreeing(record["normalizers"]):
        sys.exit(f"these did not train the same on both sides: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
