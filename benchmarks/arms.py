"""The arms that train in processes of ours, and how many trials and processes each takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from benchmarks.plain import PROBED, Captured, Compiled, Eager, Loader, Scheduled
from benchmarks.work import Work
from bnexp.config import TrialConfig
from bnexp.data.batches import CURVE_EXAMPLES, DeviceData
from bnexp.engine.program import Program
from bnexp.models.layers import Mode

TRIALS = 16
"""That every arm trains at least: eight seeds at two learning rates."""
COHORTS = (1, 4, 16, 64, 256, 1024)
WHOLE_STEPS_UP_TO = 64
"""Trials in a cohort up to which it takes all steps; a larger one takes fewer, in proportion."""
LEAST_STEPS = {"cpu": 4, "cuda": 60}
"""Timed steps of a larger one, by the device; on a GPU none may end before its graph of several steps is replayed."""


class Unit(Protocol):
    """What one process trains at a time: a trial, or a cohort of them."""

    def __init__(self, trials: list[TrialConfig], data: DeviceData, steps: int) -> None: ...

    def run(self, first: int, count: int) -> None:
        """Take `count` training steps from step `first`, counted from 1."""

    def losses(self, number: int) -> list[float]:
        """The training loss of each trial after step `number`, Dropout off."""


class Fused:
    """A cohort in bnexp's engine."""

    def __init__(self, trials: list[TrialConfig], data: DeviceData, steps: int) -> None:
        self.program = Program(trials, data)
        self.run: Callable[[int, int], None] = self.program.run

    def losses(self, number: int) -> list[float]:
        curve = self.program.data.train.first(CURVE_EXAMPLES)
        return [loss for loss, _ in self.program.measure(curve, Mode.CURVE)]


class Probed(Fused):
    """The same, compared as trials of a battery are."""

    @torch.no_grad()
    def losses(self, number: int) -> list[float]:
        """The loss of PROBED training examples as each trial is trained on them, Dropout off."""
        seen = self.program.data.train.first(PROBED)
        losses: list[float] = self.program.apply(seen.x[None], seen.y[None], Mode.PROBE)[0].mean(1).tolist()
        return losses


UNITS: dict[str, type[Unit]] = {
    "loader": Loader,
    "eager": Eager,
    "compiled": Compiled,
    "captured": Captured,
    "parallel": Eager,
    "fused": Fused,
    "scheduled": Scheduled,
    "probed": Probed,
}


@dataclass(frozen=True)
class Arm:
    """One way of training trials."""

    kind: str
    """A key of UNITS."""
    processes: int
    cohort: int = 1
    """Trials that train side by side in a process."""
    least: int = LEAST_STEPS["cpu"]
    """Timed steps at least, where as many are asked for."""

    @property
    def name(self) -> str:
        return f"fused-{self.cohort}-x{self.processes}" if self.kind == "fused" else self.kind

    def steps(self, steps: int) -> int:
        """Timed steps of each trial, where `steps` are asked for."""
        return min(steps, max(self.least, steps * WHOLE_STEPS_UP_TO // self.cohort))

    def shares(self, work: Work, trials: int = TRIALS) -> list[list[list[TrialConfig]]]:
        """Each process's cohorts: the first `trials` trials of `work`, and as many more as give every process the
        same number of full cohorts."""
        each = -(-trials // (self.cohort * self.processes))
        listed = [work.trial(number) for number in range(each * self.processes * self.cohort)]
        cohorts = [listed[start : start + self.cohort] for start in range(0, len(listed), self.cohort)]
        return [cohorts[start : start + each] for start in range(0, len(cohorts), each)]


def all_arms(device: str, cores: int, cohorts: tuple[int, ...] = COHORTS) -> list[Arm]:
    """Every arm that makes sense on a device of type `device`: on the CPU a process a core, as bnexp runs; on a GPU one
    process for bnexp, and 4 to 8 for the parallel plain loop."""
    cuda = device == "cuda"
    parallel = min(8, max(4, cores)) if cuda else cores
    fused = {1} if cuda else {1, cores}
    return [
        Arm("loader", 1),
        Arm("eager", 1),
        Arm("captured" if cuda else "compiled", 1),
        Arm("parallel", parallel),
        *(Arm("fused", processes, cohort, LEAST_STEPS[device]) for cohort in cohorts for processes in sorted(fused)),
    ]
