"""The plain loop inside the tools that people use, each one command: `python -m benchmarks.tool_loops TOOL`.

Each trains every cell of a small grid, measures at the steps at which bnexp does, on the same examples, and writes what
it measures down: Optuna (GridSampler, SQLite) reports the validation accuracy, MLflow (SQLite) and the CSV files get
training and validation loss and accuracy. The last training loss of every cell goes to losses-*.jsonl in the folder,
for comparison. With --processes, the work is shared by so many processes, each of one thread; Optuna's share a study,
as its documentation has it, and may train a cell twice.
"""

import argparse
import csv
import json
import multiprocessing
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

GRID: dict[str, list[str | float]] = {"norm": ["none", "batch"], "lr_multiplier": [1, 2, 5]}
"""Besides the seeds. Sigmoid without Dropout, so that every trial can be compared."""
METRICS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
Report = Callable[[int, dict[str, float]], object]
Cell = dict[str, Any]


def cells(seeds: int) -> list[Cell]:
    """Every cell of the grid."""
    return [
        {"norm": norm, "lr_multiplier": rate, "seed": seed}
        for norm in GRID["norm"]
        for rate in GRID["lr_multiplier"]
        for seed in range(seeds)
    ]


class Trainer:
    """The plain loop, with the data in memory."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch

        from bnexp.data.batches import to_device
        from bnexp.data.dataset import source

        torch.set_flush_denormal(True)
        torch.set_num_threads(1)  # faster than several for networks of this size, and much so on a busy machine
        self.options = options
        self.data = to_device(source("digits").read(), 0, torch.float32, torch.device(options.device))

    def train(self, cell: Cell, report: Report) -> float:
        """Train one cell, write down its training loss as bnexp has it at the end of the curve, and return the last
        validation loss."""
        from benchmarks.plain import Eager, measure, training_loss
        from bnexp.config import TrialConfig
        from bnexp.data.batches import CURVE_EXAMPLES
        from bnexp.engine.cohort import evaluation_steps

        steps, data = self.options.steps, self.data
        config = TrialConfig.model_validate({**cell, "steps": steps})
        unit = Eager([config], data, steps)
        evaluations = set(evaluation_steps(steps, config.eval_every))
        curve = [part.first(CURVE_EXAMPLES) for part in (data.train, data.validation)]
        values: tuple[float, ...] = ()
        for step in range(1, steps + 1):
            unit.step(step)
            if step in evaluations:
                values = tuple(number for part in curve for number in measure(unit.network, part))
                report(step, dict(zip(METRICS, values, strict=True)))
        for part in (data.train, data.validation, data.test):
            measure(unit.network, part)
        loss = training_loss(unit.network, data.train, steps)
        with (self.options.folder / f"losses-{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps({**cell, "train_loss": loss}) + "\n")
        return values[2]


def write_csv(options: argparse.Namespace, part: int) -> None:
    trainer = Trainer(options)
    with (options.folder / f"curves-{part}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["norm", "lr_multiplier", "seed", "step", *METRICS])
        for cell in cells(options.seeds)[part :: options.processes]:

            def report(step: int, metrics: dict[str, float], cell: Cell = cell) -> None:
                writer.writerow([*cell.values(), step, *metrics.values()])

            trainer.train(cell, report)


def use_optuna(options: argparse.Namespace, part: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space: dict[str, list[str | float]] = {**GRID, "seed": [*range(options.seeds)]}
    storage = f"sqlite:///{options.folder / 'optuna.db'}"
    sampler = optuna.samplers.GridSampler(space)
    study = optuna.create_study(storage=storage, sampler=sampler, study_name="grid", load_if_exists=True)
    if part < 0:
        return
    trainer = Trainer(options)

    def objective(trial: optuna.Trial) -> float:
        cell = {name: trial.suggest_categorical(name, values) for name, values in space.items()}
        return trainer.train(cell, lambda step, metrics: trial.report(metrics["validation_accuracy"], step))

    study.optimize(objective)


def use_mlflow(options: argparse.Namespace, part: int) -> None:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{options.folder / 'mlflow.db'}")
    mlflow.set_experiment("grid")
    if part < 0:
        return
    trainer = Trainer(options)
    for cell in cells(options.seeds)[part :: options.processes]:
        with mlflow.start_run():
            mlflow.log_params(cell)
            trainer.train(cell, lambda step, metrics: mlflow.log_metrics(metrics, step=step))


TOOLS = {"csv": write_csv, "optuna": use_optuna, "mlflow": use_mlflow}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    tool = TOOLS[options.tool]
    if options.processes == 1:
        return tool(options, 0)
    if options.tool != "csv":
        tool(options, -1)  # make the database first: processes that make it together fail
    with suppress(RuntimeError):
        multiprocessing.set_start_method("spawn")
    processes = [multiprocessing.Process(target=tool, args=(options, part)) for part in range(options.processes)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(1)
    return None


if __name__ == "__main__":
    main()
