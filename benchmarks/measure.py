"""One work, measured: every arm in interleaved rounds, each held against the reference before its time counts."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.agreement import Agreement, Losses, each_trial, mean_over_seeds
from benchmarks.arms import Arm
from benchmarks.processes import ArmError, Build, Crew, Go
from benchmarks.records import Measured, Peaks, Settings, work_record
from benchmarks.rounds import interleaved
from benchmarks.work import Work

REPETITIONS = 4
"""Of the reference under other Dropout draws."""
OPTIONAL = ("compiled", "captured")
"""Kinds that a machine may be unable to run, for want of a compiler for instance."""
MEMORY_STEPS = 3
Log = Callable[[str], None]


class Bench:
    """One work and the processes that train it."""

    def __init__(self, work: Work, arms: Sequence[Arm], settings: Settings, log: Log) -> None:
        self.work, self.arms, self.settings, self.log = work, arms, settings, log
        self.measured = {arm: Measured() for arm in arms}
        self.peaks: list[Peaks] = []
        """By round."""

    def run(self) -> dict[str, Any]:
        """The work's record."""
        processes = max(arm.processes for arm in self.arms)
        with Crew(processes, self.work.dataset, self.settings.device) as crew:
            self.references = self._references(crew)
            for arm in self.arms:
                self._choose_threads(crew, arm)
            interleaved(self.arms, self.settings.rounds, lambda arm, number: self._round(crew, arm, number))
        if self.settings.memory and not self.work.dropout:
            for arm, measured in self.measured.items():
                if measured.reason is None:
                    measured.memory = self._memory(arm)
        return work_record(self.work, self.measured, self.peaks, self.settings)

    def _references(self, crew: Crew) -> dict[int, list[Losses]]:
        """The plain loop's losses after every number of steps that an arm takes, in every repetition."""
        eager = Arm("eager", 1)
        points = sorted({arm.steps(self.settings.steps) for arm in self.arms})
        found: dict[int, list[Losses]] = {point: [] for point in points}
        for repetition in range(REPETITIONS if self.work.dropout else 1):
            [cohorts] = eager.shares(self.work, self.settings.trials)
            crew.ask([Build("eager", cohorts, 1, points[-1], salt=1 + repetition)])
            done = 0
            for point in points:
                crew.ask([Go(point - done)])
                found[point].append(dict(enumerate(crew.ask(["losses"])[0])))
                done = point
        return found

    def _choose_threads(self, crew: Crew, arm: Arm) -> None:
        """One thread or all of them, whichever is faster for an arm of one process; the compiled loop, which would
        compile for each, takes the plain loop's choice."""
        choices = {1, self.settings.cores if self.settings.device == "cpu" else 1}
        if arm.kind not in ("loader", "eager") or len(choices) == 1:
            eager = next((done for other, done in self.measured.items() if other.kind == "eager"), None)
            self.measured[arm].threads = eager.threads if eager and arm.kind == "compiled" else 1
            return
        [cohorts] = arm.shares(self.work, self.settings.trials)
        seconds = {}
        for threads in choices:
            crew.ask([Build(arm.kind, cohorts, threads, self.settings.steps)])
            seconds[threads] = crew.time([Go(self.settings.steps)])
        self.measured[arm].threads = min(seconds, key=seconds.__getitem__)

    def _build(self, crew: Crew, arm: Arm) -> float:
        """Seconds of the slowest first step."""
        shares, steps = arm.shares(self.work, self.settings.trials), arm.steps(self.settings.steps)
        threads = self.measured[arm].threads
        return float(max(crew.ask([Build(arm.kind, share, threads, steps) for share in shares])))

    def _round(self, crew: Crew, arm: Arm, number: int) -> float | None:
        if len(self.peaks) < number:
            self.peaks += crew.ask(["peaks"])
        measured, steps = self.measured[arm], arm.steps(self.settings.steps)
        try:
            measured.first_step = max(measured.first_step, self._build(crew, arm))
        except ArmError as error:
            if arm.kind not in OPTIONAL:
                raise
            measured.reason = str(error.args[0])
            self.log(f"{self.work.name}: {arm.name}: not measured: {measured.reason}")
            return None
        seconds = crew.time([Go(steps)] * arm.processes)
        losses = [loss for share in crew.ask(["losses"] * arm.processes) for loss in share]
        rate = len(losses) * steps / seconds
        measured.rates.append(rate)
        measured.judge(self._compare(steps, dict(enumerate(losses))))
        self.log(f"{self.work.name}: round {number}: {arm.name}: {rate:,.0f} trial-steps/s")
        return rate

    def _compare(self, steps: int, losses: Losses) -> Agreement:
        references = self.references[steps]
        if not self.work.dropout:
            return each_trial(references[0], losses)
        return mean_over_seeds(references, losses, {trial: self.work.trial(trial).seed for trial in references[0]})

    def _memory(self, arm: Arm) -> tuple[int, int]:
        """In processes that train nothing else."""
        with Crew(arm.processes, self.work.dataset, self.settings.device) as crew:
            self._build(crew, arm)
            crew.ask([Go(MEMORY_STEPS)] * arm.processes)
            host, device = zip(*crew.ask(["memory"] * arm.processes), strict=True)
        return sum(host), sum(device)
