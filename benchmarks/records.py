"""What was measured of one work, and how it is stored: rates in trial-steps a second, peaks in operations and bytes a
second, memory in bytes, shares and ratios as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.agreement import Agreement
from benchmarks.arms import TRIALS, Arm
from benchmarks.rounds import ratios, summary
from benchmarks.work import Work, describe_data, flops, least_bytes

Peaks = tuple[float, float | None]
"""Floating-point operations a second of a large multiplication, and on a GPU bytes a second of a large copy."""


@dataclass(frozen=True)
class Settings:
    """What is the same for every work."""

    device: str
    cores: int
    rounds: int
    steps: int
    """Timed steps of each trial, after WARM_STEPS that are not timed."""
    trials: int = TRIALS
    memory: bool = True
    """Whether to measure memory, which takes a fresh process for each arm."""


@dataclass
class Measured:
    """What is known of one arm."""

    rates: list[float] = field(default_factory=list)
    """Trial-steps a second, by round."""
    agreement: Agreement | None = None
    """The worst of all rounds."""
    threads: int = 1
    first_step: float = 0.0
    """Seconds of the slowest first step: with torch.compile, the compilation."""
    memory: tuple[int, int] | None = None
    """Bytes at the peak, summed over the arm's processes: of the machine's memory and the device's."""
    reason: str | None = None
    """Why it could not be measured."""

    @property
    def counts(self) -> bool:
        """Whether its time counts."""
        return self.agreement is not None and self.agreement.agrees

    def judge(self, agreement: Agreement) -> None:
        """Keep the worst of all rounds."""
        if self.agreement is None or not agreement.difference <= self.agreement.difference:
            self.agreement = agreement


def work_record(work: Work, measured: Mapping[Arm, Measured], peaks: list[Peaks], settings: Settings) -> dict[str, Any]:
    """Everything about one work. Ratios are of every fused arm to every other, taken round by round."""
    config = work.trial(0)
    rates = {arm: done.rates for arm, done in measured.items() if done.counts}
    copies = [copy for _, copy in peaks if copy is not None]
    return {
        "work": work.name,
        "inputs": work.widths[0],
        "hidden": list(work.hidden),
        "batch_size": config.batch_size,
        "norm": work.norm,
        "dropout": work.dropout,
        "data": describe_data(work.dataset),
        "flops_per_trial_step": flops(work.widths, config.batch_size),
        "least_bytes_per_trial_step": least_bytes(work.widths),
        "multiply_peak": summary([multiply for multiply, _ in peaks]),
        "copy_peak": summary(copies) if copies else None,
        "arms": [
            _arm_record(arm, done, work, settings) | (_figures(done, work, peaks) if done.counts else {})
            for arm, done in measured.items()
        ],
        "ratios": [
            {"of": above.name, "to": below.name, **ratios(rates[above], rates[below])}
            for above in rates
            for below in rates
            if above.kind == "fused" and below.kind != "fused"
        ],
    }


def _arm_record(arm: Arm, done: Measured, work: Work, settings: Settings) -> dict[str, Any]:
    """What is said of an arm whatever came of it."""
    return {
        "arm": arm.name,
        "kind": arm.kind,
        "processes": arm.processes,
        "threads": done.threads,
        "cohort": arm.cohort,
        "trials": sum(len(cohort) for share in arm.shares(work, settings.trials) for cohort in share),
        "steps": arm.steps(settings.steps),
        "status": "not measured" if done.reason else "agrees" if done.counts else "disagrees",
        "reason": done.reason,
        "agreement": vars(done.agreement) if done.agreement else None,
    }


def _figures(done: Measured, work: Work, peaks: list[Peaks]) -> dict[str, Any]:
    """The figures of an arm that agrees."""
    operations, moved = flops(work.widths, work.trial(0).batch_size), least_bytes(work.widths)
    copies = [copy for _, copy in peaks if copy is not None]
    return {
        "trial_steps_per_second": summary(done.rates),
        "share_of_multiply_peak": ratios([rate * operations for rate in done.rates], [peak for peak, _ in peaks]),
        "share_of_copy_peak": ratios([rate * moved for rate in done.rates], copies) if copies else None,
        "peak_memory_bytes": done.memory[0] if done.memory else None,
        "device_memory_bytes": done.memory[1] if done.memory else None,
        "first_step_seconds": done.first_step,
    }
