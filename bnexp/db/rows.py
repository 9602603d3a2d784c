"""Between the program's values and the database's rows. Pure functions."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from bnexp.config import TrialConfig, columns, columns_by_name
from bnexp.identity import cell_key
from bnexp.records import Kept, Outcome, Point, Probe, Started


def now() -> datetime:
    """The time, UTC, without a zone, as every column of times holds it."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class WantedTrial:
    """A trial that an experiment wants, with the identity it has on this machine's data."""

    key: str
    config: TrialConfig
    fingerprint: str
    classes: int
    variant: str
    arm: str = ""


Stage = Literal["tune", "confirm"]


@dataclass(frozen=True)
class Instance:
    """An experiment as it would be run on this machine: its trials with their identities."""

    name: str
    about: str
    overrides: str
    margin: float
    trials: list[WantedTrial]
    """The confirming trials; where levels are to be chosen, as they stand before."""
    tuning: list[WantedTrial] = field(default_factory=list)
    """The trials of the tune stage."""
    tune: str = ""
    """What these do not tell of the tune stage; empty where there is none."""

    @property
    def expansion(self) -> str:
        """Hash of what is declared: the set of trials and their variants, and with a tune stage its trials and all
        arms. It is known before any level is chosen."""
        lines = sorted(f"{trial.key} {trial.variant}" + f" {trial.arm}" * bool(self.tune) for trial in self.trials)
        if self.tune:
            lines += [self.tune, *sorted(f"{trial.key} {trial.variant} {trial.arm}" for trial in self.tuning)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Worker:
    """Who trains; stands in every lease and attempt."""

    name: str
    """Unlike any other worker's: host, machine, process, its start and a random word, with colons between
    (`bnexp.provenance`)."""
    host: str
    bnexp_version: str
    git_commit: str | None
    python_version: str
    sources: str = ""
    """Hash of the program's files: what it runs, whatever its version says."""

    @property
    def program(self) -> str:
        """What it runs, in words."""
        return f"bnexp {self.bnexp_version} ({self.sources})"


@dataclass(frozen=True)
class Job:
    """A cohort taken: those of its trials that have not ended, in slot order."""

    cohort_id: int
    trial_ids: list[int]
    configs: list[TrialConfig]
    classes: int
    taken: int = 1
    """How often the cohort had been taken, this time included: tells one lease of it from another."""
    keys: list[str] = field(default_factory=list)
    wanted: list[bool] = field(default_factory=list)
    """Whether a trial is one of the instances that the cohort was taken for."""
    checkpoint: str | None = None
    """The name of the file that it can go on from."""
    fingerprint: str | None = None
    """Of the dataset, by which its trials are known: those of one cohort have one."""
    attempts: list[int] = field(default_factory=list)
    """The numbers of the attempts that it began, in slot order: what these have come to is our own work."""


@dataclass(frozen=True)
class Judged:
    """A verdict as it is stored; the claim is named by the hash of its definition."""

    claim_key: str
    verdict: str
    effect: float | None
    low: float | None
    high: float | None
    unit: str | None
    n: int | None
    p: float | None
    p_adjusted: float | None
    sentence: str
    look: int | None = None
    alpha: float | None = None
    measures: list[Any] | None = None
    """Every measured part of a claim of several."""
    trials: int | None = None
    """How many it rests on."""


def trial(wanted: WantedTrial) -> dict[str, Any]:
    """A row of `trials`, not yet trained. Every column is named, since rows of one insert must agree."""
    return {
        "key": wanted.key,
        "status": "pending",
        "failures": 0,
        "config": wanted.config.model_dump(mode="json"),
        "fingerprint": wanted.fingerprint,
        "cell": cell_key(wanted.config, wanted.fingerprint),
        "classes": wanted.classes,
        **dict.fromkeys(columns_by_name().values()),
        **columns(wanted.config),
    }


def config(stored: dict[str, Any]) -> TrialConfig:
    """A trial's configuration as it was stored."""
    return TrialConfig.model_validate(stored)


def machine(started: Started) -> dict[str, Any]:
    """What an attempt ran on."""
    return dict(vars(started))


def result(job: Job, outcome: Outcome) -> dict[str, Any]:
    """The result columns of `trials`, and the row's number as `trial`.

    Trained means: finite, with a training loss under half of ln(classes)."""
    blank = dict.fromkeys(("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"))
    numbers, nonfinite = _finite(vars(outcome.final) if outcome.final else {})
    loss = numbers.get("train_loss")
    accuracies = [point.validation_accuracy for point in outcome.curve]
    best = max(filter(math.isfinite, accuracies), default=None)
    return {
        "trial": job.trial_ids[outcome.slot],
        "status": outcome.status,
        **blank,
        "test_loss": None,
        "test_accuracy": None,
        "validation_top5_accuracy": None,
        "test_top5_accuracy": None,
        **numbers,
        "best_validation_accuracy": best,
        "diverged_at_step": outcome.diverged_at_step,
        "trained": loss is not None and loss < math.log(job.classes) / 2,
        "nonfinite": f"loss={outcome.reason}" if outcome.reason else nonfinite,
    }


POINT = ("trial_id", "step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "nonfinite")
"""The columns of `curves`."""


def points(trial_id: int, curve: Sequence[Point]) -> list[tuple[Any, ...]]:
    """Rows of `curves`, their columns in the order of POINT."""
    return [
        (trial_id, p.step, p.train_loss, p.train_accuracy, p.validation_loss, p.validation_accuracy, None)
        if math.isfinite(p.train_loss + p.train_accuracy + p.validation_loss + p.validation_accuracy)
        else _not_finite(trial_id, p)
        for p in curve
    ]


PROBE = ("trial_id", "step", "layer", "name", "value", "units", "nonfinite")
"""The columns of `probes`."""


def probes(trial_id: int, measured: Sequence[Probe]) -> list[tuple[Any, ...]]:
    """Rows of `probes`, their columns in the order of PROBE. A unit's number that is not finite is null in the list."""
    return [
        (trial_id, p.step, p.layer, p.name, p.value, json.dumps(p.units) if p.units else None, None)
        if math.isfinite(p.value) and math.isfinite(sum(p.units))
        else _not_finite_probe(trial_id, p)
        for p in measured
    ]


FILE = ("trial_id", "kind", "sha256", "bytes")
"""The columns of `files`."""


def files(trial_id: int, kept: Sequence[Kept]) -> list[tuple[Any, ...]]:
    """Rows of `files`, their columns in the order of FILE."""
    return [(trial_id, file.kind, file.sha256, file.bytes) for file in kept]


def _not_finite_probe(trial_id: int, probe: Probe) -> tuple[Any, ...]:
    numbers, nonfinite = _finite(
        {"value": probe.value} | {f"units[{index}]": value for index, value in enumerate(probe.units)}
    )
    value, *units = numbers.values()
    return trial_id, probe.step, probe.layer, probe.name, value, json.dumps(units) if units else None, nonfinite


def _not_finite(trial_id: int, point: Point) -> tuple[Any, ...]:
    numbers, nonfinite = _finite(vars(point))
    return trial_id, *numbers.values(), nonfinite


def _finite(numbers: Mapping[str, float | None]) -> tuple[dict[str, float | None], str | None]:
    """Numbers with NULL for what is not finite, and a note of what that was ("train_loss=inf"). None is nothing."""
    lost = [f"{name}={value}" for name, value in numbers.items() if value is not None and not math.isfinite(value)]
    kept = {name: None if value is None or not math.isfinite(value) else value for name, value in numbers.items()}
    return kept, " ".join(lost) or None


def notes(nonfinite: str | None) -> dict[str, str]:
    """What such a note says, by name: "nan", "inf" or "-inf". What else it says is not ours."""
    said = (note.partition("=") for note in (nonfinite or "").split())
    return {name: value for name, _, value in said if value in ("nan", "inf", "-inf")}
