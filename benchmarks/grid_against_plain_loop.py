"""`bnexp run grid` against a plain PyTorch loop over the same trials, in turn, in one run.

Both arms train the grid's cells with the same numbers of seeds and steps, evaluate at the same steps on the same
examples, and end with Algorithm 2's population statistics. bnexp's time is the whole command: start, expansion, worker
processes, evaluation, database, verdicts. The plain loop's is the loops alone, one trial after the other, data in
memory, in a process that is warm: with one thread and with all of them, of which the faster counts.

    python benchmarks/grid_against_plain_loop.py                  # one seed, three rounds
    python benchmarks/grid_against_plain_loop.py --seeds 10 --rounds 1
"""

import argparse
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bnexp.config import BatchNormOptions, TrialConfig
from bnexp.data.batches import CURVE_EXAMPLES, POPULATION_BATCHES, DeviceData, Examples, to_device
from bnexp.data.dataset import source
from bnexp.engine.cohort import evaluation_steps
from bnexp.experiments import load
from bnexp.provenance import this_worker

ROOT = Path(__file__).parent.parent


def plain_network(config: TrialConfig, inputs: int, classes: int) -> nn.Sequential:
    """The same network as a person would write it."""
    nonlinearity = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}[config.nonlinearity]
    layers: list[nn.Module] = []
    for units in config.model.hidden:
        if isinstance(config.norm, BatchNormOptions):
            layers += [nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units)]
        else:
            layers += [nn.Linear(inputs, units)]
        layers += [nonlinearity(), nn.Dropout(config.dropout)]
        inputs = units
    network = nn.Sequential(*layers, nn.Linear(inputs, classes))
    for module in network:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=config.init_scale * module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


@torch.no_grad()
def measure(network: nn.Module, examples: Examples) -> tuple[float, float]:
    """Loss and accuracy."""
    logits = network.eval()(examples.x)
    network.train()
    return float(cross_entropy(logits, examples.y)), float((logits.argmax(1) == examples.y).double().mean())


def train_plainly(config: TrialConfig, data: DeviceData) -> float:
    """Train one trial; its scored accuracy."""
    torch.manual_seed(config.seed)
    network = plain_network(config, data.train.x.shape[1], data.classes)
    rate = config.optimizer.lr * config.lr_multiplier
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=config.optimizer.momentum)
    evaluations = set(evaluation_steps(config.steps, config.eval_every))
    size, count = config.batch_size, len(data.train)
    for step in range(config.steps):
        batch = step % (count // size)
        if batch == 0:
            order = torch.randperm(count)
        chosen = order[batch * size : (batch + 1) * size]
        loss = cross_entropy(network(data.train.x[chosen]), data.train.y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step + 1 in evaluations:
            if not torch.isfinite(loss):
                return 1 / data.classes
            measure(network, data.train.first(CURVE_EXAMPLES))
            measure(network, data.validation.first(CURVE_EXAMPLES))
    norms = [module for module in network if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for batch in torch.randperm(count)[: size * (count // size)].split(size)[:POPULATION_BATCHES] if norms else ():
            for module in network:
                module.train(not isinstance(module, nn.Dropout))
            network(data.train.x[batch])
    measure(network, data.train)
    measure(network, data.validation)
    return measure(network, data.test)[1]


def run_plainly(trials: list[TrialConfig], data: DeviceData, threads: int) -> tuple[float, dict[str, float]]:
    """Seconds, and the mean scored accuracy of each norm."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    accuracies = [(config.norm.name, train_plainly(config, data)) for config in trials]
    seconds = time.perf_counter() - began
    norms = sorted({name for name, _ in accuracies})
    return seconds, {norm: statistics.mean(value for name, value in accuracies if name == norm) for norm in norms}


def run_bnexp(seeds: int) -> tuple[float, dict[str, float]]:
    """The same of the whole command, on a fresh database."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "bnexp.db"
        command = [sys.executable, "-m", "bnexp", "run", "grid", "--seeds", str(seeds), "--device", "cpu"]
        began = time.perf_counter()
        subprocess.run([*command, "--db", str(database)], check=True, capture_output=True, cwd=ROOT)
        seconds = time.perf_counter() - began
        with sqlite3.connect(database) as connection:
            means = connection.execute("select norm, avg(scored_accuracy) from trial_results group by norm").fetchall()
    return seconds, dict(means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "grid_against_plain_loop.json")
    options = parser.parse_args()

    grid = load(ROOT / "experiments.yaml").experiments["grid"].override([], str(options.seeds))
    trials = [trial.config for trial in grid.expand()]
    data = to_device(source("digits").read(), 0, torch.float32, torch.device("cpu"))
    cores = len(os.sched_getaffinity(0))
    arms = {
        "bnexp run grid": lambda: run_bnexp(options.seeds),
        "plain loop, 1 thread": lambda: run_plainly(trials, data, 1),
        f"plain loop, {cores} threads": lambda: run_plainly(trials, data, cores),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    accuracy: dict[str, dict[str, float]] = {}
    train_plainly(trials[0], data)
    for number in range(options.rounds):
        for name, arm in arms.items():
            took, accuracy[name] = arm()
            seconds[name].append(took)
            print(f"round {number + 1}: {name}: {took:.1f} s, mean scored accuracy {accuracy[name]}", flush=True)

    steps = sum(config.steps for config in trials)
    fused, *plain = arms
    ratios = [min(seconds[name][n] for name in plain) / seconds[fused][n] for n in range(options.rounds)]
    for norm, value in accuracy[fused].items():
        difference = max(abs(value - accuracy[name][norm]) for name in plain)
        if difference > 0.05:
            sys.exit(f"the arms do not agree: mean accuracy with norm {norm} differs by {difference:.3f}")
    for name, values in seconds.items():
        print(
            f"{name}: median {statistics.median(values):.1f} s, {steps / statistics.median(values):,.0f} trial-steps/s"
        )
    ratio = statistics.median(ratios)
    print(f"{ratio:.2f} times faster than the faster plain loop (median of {options.rounds} rounds: {ratios})")
    worker = this_worker()
    options.output.parent.mkdir(exist_ok=True)
    record = {
        "trials": len(trials),
        "trial_steps": steps,
        "seconds": seconds,
        "ratios": ratios,
        "mean_scored_accuracy": accuracy,
        "cores": cores,
        "processor": platform.processor() or platform.machine(),
        "versions": {"bnexp": worker.bnexp_version, "commit": worker.git_commit, "torch": torch.__version__},
        "python": worker.python_version,
    }
    options.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
