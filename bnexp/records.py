"""What the engine tells of a cohort while it trains: plain numbers, which any process can send and any store keep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy.typing as npt

    Columns = Mapping[str, npt.NDArray[Any]]
else:
    Columns = Mapping[str, Any]  # commands that compute nothing need not wait for numpy
"""A table by columns, all of one length; missing numbers are NaN."""


PREDICTIONS_FORMAT = "bnexp predictions 1"
"""What a file of kept predictions calls its own form."""


@dataclass(frozen=True)
class Point:
    """A point of a trial's curve: evaluation on fixed subsets with moving-average statistics, dropout off."""

    step: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class Probe:
    """A measurement inside a trial's network."""

    step: int
    """0 before the first step."""
    layer: str
    """Such as "hidden 2"; empty where it is about the whole network."""
    name: str
    value: float
    """Where the layer's units are measured one by one, their mean."""
    units: tuple[float, ...] = ()
    """One number a unit."""


@dataclass(frozen=True)
class Choice:
    """The level of the tuned factor that was chosen for an arm."""

    arm: str
    factor: str
    """Under its dotted name."""
    level: float
    score: float
    """Mean scored validation accuracy over the tuning seeds, between 0 and 1."""
    at_edge: bool
    """Whether it is the smallest or the largest of the levels."""


@dataclass(frozen=True)
class Final:
    """A finished trial's numbers on the whole sets (of the training set, on at most 100,000 examples), with the
    population statistics of Algorithm 2."""

    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    test_loss: float
    test_accuracy: float
    validation_top5_accuracy: float | None = None
    """The share of examples whose label is among the five best classes; None where there are at most five."""
    test_top5_accuracy: float | None = None


KeptKind = Literal["weights", "predictions"]


@dataclass(frozen=True)
class Kept:
    """A file that is kept of a finished trial."""

    kind: KeptKind
    sha256: str
    """Of its content, in hexadecimal digits; the file is called `<sha256>.safetensors`."""
    bytes: int


@dataclass(frozen=True)
class Outcome:
    """A trial that has ended."""

    slot: int
    """Its place in the cohort as given."""
    status: Literal["finished", "diverged"]
    curve: tuple[Point, ...]
    final: Final | None = None
    diverged_at_step: int | None = None
    """The step whose training loss was not finite; the last one, where only its update ruined the network."""
    reason: str | None = None
    """What that loss was: "nan", "inf" or "-inf"."""
    probes: tuple[Probe, ...] = ()
    resumed_at_step: int | None = None
    """The step of the checkpoint that its training went on from; None where it began at the beginning."""
    kept: tuple[Kept, ...] = ()
    """The files that hold what was to be kept of it; they are on disk. A trial that diverged has none."""


@dataclass(frozen=True)
class Started:
    """Training begins, on this machine."""

    device: str
    threads: int
    torch_version: str


@dataclass(frozen=True)
class Progress:
    """A cohort has come to `step`, with `live` trials left in it."""

    step: int
    live: int
    steps: int
    """Trial-steps trained since it was last told."""


@dataclass(frozen=True)
class Resumed:
    """A cohort goes on from a checkpoint."""

    step: int
    trials: int


@dataclass(frozen=True)
class Saved:
    """The checkpoint of a cohort has been written, as a file of this name."""

    name: str


@dataclass(frozen=True)
class Note:
    """Something that a person should know; training goes on."""

    sentence: str
    kind: Literal["plain", "damaged", "foreign"] = "plain"
    """damaged, foreign: of the checkpoint that was to be gone on from, whose path stands in the sentence. It was
    damaged and is set aside, or it is by another program."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a cohort's training is kept, so that it can go on later."""

    path: Path
    keys: tuple[str, ...]
    """What tells each trial of the cohort, in slot order: its trial key, a blank, and what is recorded of it."""
    program: str
    """What trains. Only the same goes on from what it has written."""
    resume: bool
    """Whether to go on from what is there."""
    files: Path | None = None
    """The folder for what is kept of finished trials; without one, nothing is."""
    remedy: str = "name another folder with --checkpoints"
    """What helps, beside making room, where nothing can be written there."""

    def trial_key(self, slot: int) -> str:
        return self.keys[slot].partition(" ")[0]

    def unwritten(self, error: Exception) -> Note:
        """What is said where it cannot be written."""
        said = f"the checkpoint {self.path} cannot be written ({error}); training goes on without"
        return Note(f"{said}; make room there, or {self.remedy}")


@dataclass(frozen=True)
class Working:
    """A cohort in training, as those who watch see it."""

    cohort: int
    """Its number."""
    step: int
    """How far its training has come."""
    steps: int
    """How many it will take."""
    trials: int
    """Those that it was begun with."""
    left: int
    """Those of them that have not ended."""
    diverged: int


@dataclass(frozen=True)
class Standing:
    """How far an experiment instance has come, and what was judged of it."""

    number: int
    """The instance's."""
    name: str
    stage: Literal["tune", "confirm"]
    ended: int
    """Seeds of which every trial of the stage has ended."""
    seeds: int
    """Seeds of the stage."""
    failed: int = 0
    """Trials of the stage that have failed."""
    verdicts: tuple[tuple[str, str], ...] = ()
    """Claims and their verdicts, in order; none before the instance is complete."""

    @property
    def complete(self) -> bool:
        """Whether every trial that confirms has ended, so that there is nothing to wait for: only then is it judged."""
        return self.stage == "confirm" and self.ended == self.seeds > 0


@dataclass
class Tally:
    """How far a run has come."""

    total: int
    """Trials to train in this run."""
    finished: int = 0
    diverged: int = 0
    failed: int = 0
    elsewhere: int = 0
    """Trials that other runs have trained meanwhile."""
    steps: int = 0
    """Trial-steps trained."""
    total_steps: int = 0
    """Trial-steps to be trained, those that had to be trained again included."""
    saved: int = 0
    """Trials that it was stopped in, and of which there is a checkpoint."""
    device: str = ""
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a person should know, in sentences."""
    cohorts: list[Working] = field(default_factory=list)
    """What trains now."""
    standings: list[Standing] = field(default_factory=list)
    """Of the instances that the run is about."""

    @property
    def ended(self) -> int:
        return self.finished + self.diverged + self.failed

    def end(self, outcome: Outcome, steps: int) -> None:
        """A trial that was to take so many steps has ended."""
        if outcome.diverged_at_step is None:
            self.finished += 1
        else:
            self.diverged += 1
            self.total_steps -= steps - outcome.diverged_at_step


Record = Started | Resumed | Progress | Saved | Note | Outcome
