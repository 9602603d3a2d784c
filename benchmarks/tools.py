"""Whole commands, as people would start them: `bnexp run` on a fresh database, and the plain loop under other tools.

A command's time is from its start to its end, imports and database included.
"""

import importlib.util
import json
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.agreement import Agreement, each_trial
from benchmarks.machine import ROOT
from benchmarks.rounds import interleaved, ratios, summary
from benchmarks.tool_loops import GRID, cells

EXTRA = "not installed: pip install '.[bench]'"
TOLERANCE = 1e-2
"""Of a trial's last training loss, relative: a few hundred steps of float32 after a different order of sums."""
EXPERIMENT = {"dataset": "digits", "nonlinearity": "sigmoid", "dropout": 0, "init_scale": 1}
LOSSES = """
select norm, lr_multiplier, seed, learning_curves.train_loss from trial_results join learning_curves using (trial_key)
where learning_curves.step = trial_results.steps
"""
Key = tuple[str, float, int]


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    seconds: float
    losses: dict[Key, float]
    trained: int
    """Trials; more than there are cells where a tool trains some twice."""


@dataclass(frozen=True)
class Tool:
    """A command."""

    tool: str
    """bnexp, or a key of `tool_loops.TOOLS`"""
    processes: int
    device: str
    steps: int
    seeds: int

    @property
    def name(self) -> str:
        return f"{self.tool}-x{self.processes}"

    @property
    def missing(self) -> str | None:
        """Why it cannot run here."""
        return None if self.tool in ("bnexp", "csv") or importlib.util.find_spec(self.tool) else EXTRA

    def run(self) -> Ran:
        """Run it once, in an empty folder."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            command = self._bnexp(folder) if self.tool == "bnexp" else self._loop(folder)
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            began = time.perf_counter()
            ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            seconds = time.perf_counter() - began
            if ended.returncode:
                raise RuntimeError(f"{self.name} failed:\n{ended.stderr}")
            rows = _stored(folder / "bnexp.db") if self.tool == "bnexp" else _written(folder)
        return Ran(seconds, dict(rows), len(rows))

    def _bnexp(self, folder: Path) -> list[str]:
        experiment = {**EXPERIMENT, "steps": self.steps, "factors": GRID, "seeds": self.seeds}
        (folder / "experiments.yaml").write_text(yaml.safe_dump({"experiments": {"small": experiment}}))
        return [sys.executable, "-m", "bnexp", "run", "small", "--db", "bnexp.db", "--device", self.device]

    def _loop(self, folder: Path) -> list[str]:
        options = {"folder": folder, "steps": self.steps, "seeds": self.seeds, "processes": self.processes}
        given = [f"--{name}={value}" for name, value in options.items()]
        return [sys.executable, "-m", "benchmarks.tool_loops", self.tool, *given, f"--device={self.device}"]


def _stored(database: Path) -> list[tuple[Key, float]]:
    with sqlite3.connect(database) as connection:
        rows = connection.execute(LOSSES).fetchall()
    return [((norm, float(rate), seed), loss) for norm, rate, seed, loss in rows]


def _written(folder: Path) -> list[tuple[Key, float]]:
    lines = [line for file in folder.glob("losses-*.jsonl") for line in file.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    return [((row["norm"], float(row["lr_multiplier"]), row["seed"]), row["train_loss"]) for row in rows]


def measure_tools(
    device: str, counts: list[int], rounds: int, steps: int, seeds: int, log: Callable[[str], None]
) -> dict[str, Any]:
    """The record of all commands on the same grid, each with every number of processes in `counts`. bnexp runs
    as it is, with a process a core or a GPU."""
    tools = [Tool("bnexp", counts[-1] if device == "cpu" else 1, device, steps, seeds)]
    tools += [Tool(name, n, device, steps, seeds) for n in counts for name in ("optuna", "mlflow", "csv")]

    def measure(tool: Tool, number: int) -> Ran | None:
        if tool.missing:
            return None
        ran = tool.run()
        log(f"commands: round {number}: {tool.name}: {ran.seconds:.1f} s")
        return ran

    results = interleaved(tools, rounds, measure)
    reference = results[next(tool for tool in results if tool.tool == "csv")][0].losses
    agreements = {tool: _agreement(reference, ran) for tool, ran in results.items()}
    counted = {tool: [ran.seconds for ran in runs] for tool, runs in results.items() if agreements[tool].agrees}
    bnexp = next((seconds for tool, seconds in counted.items() if tool.tool == "bnexp"), None)
    return {
        "trials": len(cells(seeds)),
        "steps": steps,
        "dataset": "digits",
        "grid": {**GRID, "seeds": seeds},
        "commands": [
            {
                "tool": tool.tool,
                "processes": tool.processes,
                "status": "not measured" if tool.missing else "agrees" if tool in counted else "disagrees",
                "reason": tool.missing,
                "agreement": vars(agreements[tool]) if tool in agreements else None,
                "trained": [ran.trained for ran in results[tool]] if tool in results else None,
                "seconds": summary(counted[tool]) if tool in counted else None,
                "times_bnexp": ratios(counted[tool], bnexp) if bnexp and tool in counted else None,
            }
            for tool in tools
        ],
    }


def _agreement(reference: dict[Key, float], runs: list[Ran]) -> Agreement:
    """The worst over rounds, cell by cell, against the plain loop with CSV files."""
    numbered = dict(enumerate(reference.values()))
    found = [
        each_trial(numbered, {n: ran.losses.get(key, math.nan) for n, key in enumerate(reference)}, TOLERANCE)
        for ran in runs
    ]
    return max(found, key=lambda agreement: agreement.difference)
