"""A large results database, as `bnexp run grid` would leave it: the shipped grid's 72 cells, as many seeds as it takes.

The schema, the experiment and the claims are written by `Store`, and every row has the shape that bnexp's own functions
give it; only the numbers are made up, the same every time. A trial's accuracy, and whether it diverges, depend on its
cell and seed; its curve rises to its accuracy, and ends early where it diverges.

    python benchmarks/database.py --trials 100000 --points 100 PATH      # 10 million curve rows, about a minute
"""

import argparse
import json
import math
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bnexp.claims.parse import parse_claims
from bnexp.config import TrialConfig
from bnexp.db import rows
from bnexp.db.rows import Instance, Job, WantedTrial, now
from bnexp.db.store import Store
from bnexp.experiments import load
from bnexp.identity import trial_key
from bnexp.provenance import this_worker
from bnexp.records import Final, Outcome, Started

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.machine import ROOT

CLASSES = 10
STARTED = Started("cpu (made up)", 1, "none")
COHORT = 24
CURVES = (
    "insert into curves (trial_id, step, train_loss, train_accuracy, validation_loss, validation_accuracy) "
    "values (?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True)
class Cell:
    """A cell of the grid, and how its trials fare."""

    config: TrialConfig
    accuracy: float
    """Mean of its seeds."""
    diverging: float
    """Share of its seeds."""
    tau: float
    """Steps in which its curves rise by 1 - 1/e."""
    arm: str = ""


def cells(points: int) -> list[Cell]:
    """The grid's cells, with curves of `points` points."""
    grid = load(ROOT / "experiments.yaml").experiments["grid"]
    every = max(1, grid.expand()[0].config.steps // points)
    return [
        replace(fate(trial.config), arm=trial.arm) for trial in grid.override([f"eval_every={every}"], "1").expand()
    ]


def fate(config: TrialConfig) -> Cell:
    """Plausible numbers: BN bears high rates and careless scales, and learns faster."""
    batch, relu = config.norm.name == "batch", config.nonlinearity == "relu"
    harsh = math.log10(config.lr_multiplier) + abs(math.log10(config.init_scale))
    if batch:
        return Cell(config, 0.965 - 0.004 * harsh - 0.02 * (config.dropout > 0) + 0.005 * relu, 0.0, 60.0)
    accuracy = 0.97 - 0.05 * harsh - 0.03 * (config.dropout > 0) - 0.1 * (not relu)
    return Cell(config, accuracy, min(0.9, max(0.0, harsh - 1) * (0.5 if relu else 0.1)), 180.0)


def outcomes(cell: Cell, seeds: npt.NDArray[np.int64]) -> Iterator[Outcome]:
    """What became of the cell's trials, without their curves, in order of `seeds`."""
    random = np.random.Generator(np.random.Philox(key=int(trial_key(cell.config, "")[:15], 16)))
    lowest, noise = 1 / CLASSES, random.normal(0, 0.006, (3, len(seeds)))
    diverged = random.random(len(seeds)) < cell.diverging
    accuracies = np.round(np.clip(cell.accuracy + noise, lowest, 1) * 360) / 360
    for index, lost in enumerate(diverged.tolist()):
        train, validation, test = accuracies[:, index].tolist()
        if lost:
            yield Outcome(0, "diverged", (), None, diverged_at_step=50 + 10 * index % 400, reason="nan")
        else:
            yield Outcome(0, "finished", (), Final(1 - train, train, 1 - validation, validation, 1 - test, test))


def curve(cell: Cell, trial_id: int, outcome: Outcome, points: int) -> Iterable[tuple[Any, ...]]:
    """The rows of a trial's curve."""
    steps = np.linspace(0, cell.config.steps, points + 1)[1:].astype(np.int64)
    if outcome.diverged_at_step is not None:
        steps = steps[steps < outcome.diverged_at_step]
    level = outcome.final.validation_accuracy if outcome.final else cell.accuracy
    wobble = 0.004 * np.sin(steps * (1 + trial_id % 17))
    accuracy = np.clip(level - (level - 1 / CLASSES) * np.exp(-steps / cell.tau) + wobble, 0, 1)
    columns = (steps, 1.02 - accuracy, accuracy, 1.05 - accuracy, accuracy)
    return zip([trial_id] * len(steps), *(column.tolist() for column in columns), strict=True)


def generate(path: Path, trials: int, points: int) -> int:
    """Make a database of `trials` trials with curves of `points` points at `path`; the number of curve rows."""
    grid = cells(points)
    per_cell = [trials // len(grid) + (number < trials % len(grid)) for number in range(len(grid))]
    experiment = _begin(path)
    first, curve_rows = 1, 0
    with sqlite3.connect(path) as connection:
        connection.execute("pragma synchronous = off")
        for cell, count in zip(grid, per_cell, strict=True):
            seeds = np.arange(count)
            made = list(outcomes(cell, seeds))
            ids = range(first, first + count)
            _insert(connection, "trials", _trials(cell, seeds, made, first))
            link = {"experiment_id": experiment, "variant": "", "stage": "confirm", "arm": cell.arm}
            _insert(connection, "experiment_trials", (link | {"trial_id": number} for number in ids))
            _insert(connection, "cohorts", _cohorts(first, first + count))
            _insert(connection, "attempts", _attempts(cell, made, first))
            before = connection.total_changes
            for number, outcome in zip(ids, made, strict=True):
                connection.executemany(CURVES, curve(cell, number, outcome, points))
            curve_rows += connection.total_changes - before
            first += count
            connection.commit()
        connection.execute("pragma wal_checkpoint(truncate)")
    return curve_rows


def _begin(path: Path) -> int:
    """Make the database with its experiment, claims and all cohorts; the instance's number."""
    store = Store(str(path))
    claims = parse_claims(load(ROOT / "experiments.yaml"))
    store.lock_claims([(claim.key(name), name, claim.definition()) for name, claim in claims.items()])
    number = store.register(Instance("grid", "The paper's factors, crossed", "", 1.0, []))
    store.close()
    return number


def _insert(connection: sqlite3.Connection, table: str, values: Iterable[Mapping[str, Any]]) -> None:
    iterator = iter(values)
    for head in iterator:
        names = list(head)
        statement = f"insert into {table} ({', '.join(names)}) values ({', '.join(f':{name}' for name in names)})"
        connection.execute(statement, head)
        connection.executemany(statement, iterator)


def _trials(cell: Cell, seeds: npt.NDArray[np.int64], made: list[Outcome], first: int) -> Iterator[dict[str, Any]]:
    wanted = WantedTrial("", cell.config, sha256(b"digits").hexdigest(), CLASSES, "")
    blank = rows.trial(wanted)
    config = json.dumps({name: value for name, value in blank["config"].items() if name != "seed"})[:-1]
    cell_key = trial_key(cell.config, "")
    for index, (seed, outcome) in enumerate(zip(seeds.tolist(), made, strict=True)):
        result = rows.result(Job(0, [first + index], [], CLASSES), outcome)
        number = result.pop("trial")
        own = {
            "id": number,
            "cohort_id": 1 + number // COHORT,
            "key": sha256(f"{cell_key} {seed}".encode()).hexdigest(),
            "seed": seed,
        }
        yield blank | result | own | {"config": f'{config}, "seed": {seed}}}', "seconds": 0.35}


def _cohorts(first: int, after: int) -> Iterator[dict[str, Any]]:
    for number in range(first, after):
        if number % COHORT == 0 or number == 1:
            yield {"id": 1 + number // COHORT, "size": COHORT, "status": "done", "taken": 1, "step": 0}


def _attempts(cell: Cell, made: list[Outcome], first: int) -> Iterator[dict[str, Any]]:
    worker, moment = this_worker(), now().isoformat(" ")
    ended = {"outcome": "", "seconds": 0.35, "ended_at": moment, **rows.machine(STARTED)}
    who = {name: getattr(worker, name) for name in ("host", "bnexp_version", "git_commit", "python_version")}
    blank = {"worker": worker.name, "precision": cell.config.precision, **who}
    for index, outcome in enumerate(made):
        number = first + index
        own = {"trial_id": number, "cohort_id": 1 + number // COHORT, "slot": number % COHORT, "started_at": moment}
        yield blank | ended | own | {"outcome": outcome.status}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=100, help="points of a curve that does not diverge")
    options = parser.parse_args()
    began = time.perf_counter()
    curve_rows = generate(options.path, options.trials, options.points)
    size = options.path.stat().st_size / 2**20
    print(f"{options.trials:,} trials, {curve_rows:,} curve rows, {size:,.0f} MiB: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
