"""How the time of a run grows: with the number of trials, everything but the training, stage by stage.

The part "cells": an experiment of the shipped grid's 72 cells and as many seeds as it takes is run whole, by
`bnexp.runner` on a fresh SQLite file, with an executor that answers every cohort at once with made-up outcomes. The
stages are the runner's own: instantiate (expand the grid and find every trial's key), register, plan, take (a cohort),
store (results and curves), finish, and report. Flat is what is wanted.

    python benchmarks/growth.py cells                 # 100 to 100,000 trials, three rounds of the small ones, minutes
    python benchmarks/growth.py cells --trials 100 1000
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bnexp.artifacts import Folder
from bnexp.claims.parse import parse_claims
from bnexp.config import TrialConfig
from bnexp.db.store import Store
from bnexp.engine.cohort import CAPACITY, evaluation_steps
from bnexp.enrolling import close_books, enroll, instantiate
from bnexp.executors import Event, Idle, Told
from bnexp.experiments import load
from bnexp.records import Checkpoint, Final, Outcome, Point, Started
from bnexp.runner import Run

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.machine import ROOT, describe, write

TRIAL_SECONDS = 0.35
"""What a trial of the grid takes to train on two cores, for comparison."""


class Instantly:
    """An executor of one worker that needs no time to train."""

    def __init__(self) -> None:
        self._told: list[Event] = [Idle(0, CAPACITY["cpu"])]

    def has_room(self) -> bool:
        return True

    def submit(
        self,
        worker: int,
        trials: Sequence[TrialConfig],
        checkpoint: Checkpoint | None = None,
        fingerprint: str | None = None,
    ) -> None:
        outcomes = [Told(worker, made_up(slot, config)) for slot, config in enumerate(trials)]
        self._told += [Told(worker, Started("made up", 1, "none")), *outcomes, Idle(worker, CAPACITY["cpu"])]

    def drop(self, worker: int) -> None:
        raise AssertionError("nobody takes anything over")

    def poll(self, seconds: float) -> list[Event]:
        told, self._told = self._told, []
        return told

    def close(self) -> None:
        pass


def made_up(slot: int, config: TrialConfig) -> Outcome:
    """A trial that ends at 90 to 97 percent, better with BN."""
    final = 0.9 + 0.06 * (config.norm.name == "batch") + 0.01 * (config.seed % 7) / 7
    steps = evaluation_steps(config.steps, config.eval_every)
    rising = [(step, final * step / (step + 20)) for step in steps]
    curve = tuple(Point(step, 1 - at, at, 1 - at, at) for step, at in rising)
    return Outcome(slot, "finished", curve, Final(0.1, final, 0.1, final, 0.1, final))


class Stopwatch:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began

    def watch(self, owner: Any, method: str) -> None:
        """Count every call of a method of this object as a stage of its name."""
        called: Callable[..., Any] = getattr(owner, method)

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.stage(method):
                return called(*arguments, **named)

        setattr(owner, method, timed)


def run(trials: int, folder: Path) -> dict[str, float]:
    """Run an experiment of about so many trials; microseconds a trial of each stage, and of all that is no training."""
    watch = Stopwatch()
    file = load(ROOT / "experiments.yaml")
    claims = parse_claims(file)
    began = time.perf_counter()
    experiment = file.experiments["grid"].override([], str(max(1, round(trials / 72))))
    with watch.stage("instantiate"):
        instance = instantiate(experiment, "", None)
    store = Store(str(folder / f"{trials}.db"))
    for method in ("register", "plan", "take", "store", "left", "renew"):
        watch.watch(store, method)
    ids = enroll(store, [instance], claims)
    executor = Instantly()
    watch.watch(executor, "submit")
    tally = Run(store, lambda: executor, ids, Folder(folder)).go(lambda _: None)
    assert tally.finished == len(instance.trials)
    with watch.stage("report"):
        close_books(store, ids, claims)
    store.close()
    seconds = dict(watch.seconds)
    making_up = seconds.pop("submit")
    seconds["all"] = time.perf_counter() - began - making_up
    return {"trials": len(instance.trials)} | {
        name: 1e6 * value / len(instance.trials) for name, value in seconds.items()
    }


def cells(sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """Microseconds a trial of each stage by number of trials, the sizes in turn; medians and every round."""
    measured: dict[int, list[dict[str, float]]] = defaultdict(list)
    for number in range(rounds):
        for size in sizes:
            if number == 0 or size * rounds <= 30_000:
                with tempfile.TemporaryDirectory() as folder:
                    measured[size].append(run(size, Path(folder)))
                print(f"round {number + 1}: {shown(measured[size][-1])}", flush=True)
    return {
        "what": "everything but training, in microseconds a trial; curves of 28 points",
        "sizes": [
            {
                "n": len(runs),
                "median": {name: statistics.median(one[name] for one in runs) for name in runs[0]},
                "rounds": runs,
            }
            for runs in measured.values()
        ],
    }


def shown(one: dict[str, float]) -> str:
    stages = ", ".join(f"{name} {value:,.0f}" for name, value in one.items() if name not in ("trials", "all"))
    share = one["all"] / 1e6 / TRIAL_SECONDS
    return f"{one['trials']:,.0f} trials: {one['all']:,.0f} us a trial ({share:.2%} of {TRIAL_SECONDS} s): {stages}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["cells"])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "growth_cells.json")
    options = parser.parse_args()
    write(options.output, describe() | cells(options.trials, options.rounds))


if __name__ == "__main__":
    main()
