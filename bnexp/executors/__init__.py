"""Executors train cohorts somewhere and tell what happens. They know no database, and the parent side no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bnexp.config import TrialConfig
from bnexp.records import Checkpoint, Record


@dataclass(frozen=True)
class Idle:
    """Worker number `worker` waits for a cohort, having ended its last one, if it had one."""

    worker: int
    capacity: int
    """The most trials that it can use in one cohort."""


@dataclass(frozen=True)
class Told:
    """Worker number `worker` says something of its cohort."""

    worker: int
    record: Record


@dataclass(frozen=True)
class Failed:
    """Worker number `worker` could not train its cohort, if it had one, and does not wait for another before it is
    Idle again."""

    worker: int
    error: str


@dataclass(frozen=True)
class Lost:
    """Worker number `worker` is there no longer, through no fault of its cohort, if it had one. Nothing is told of it
    before it is Idle again, if ever."""

    worker: int
    why: str


Event = Idle | Told | Failed | Lost


class Executor(Protocol):
    """Workers that each train one cohort at a time."""

    def has_room(self) -> bool:
        """Whether one more cohort would begin at once, or is the only one that waits: those that wait in a queue are
        better left to others."""

    def submit(
        self,
        worker: int,
        trials: Sequence[TrialConfig],
        checkpoint: Checkpoint | None = None,
        fingerprint: str | None = None,
    ) -> None:
        """Give an idle worker a cohort, and a place to keep its training. A worker that has just died will be told of
        as Failed or Lost. The dataset's fingerprint is that by which the trials are known: where the dataset is a
        person's own and has another by now, the cohort fails, or UsageError is raised here if it is read here."""

    def drop(self, worker: int) -> None:
        """Stop what a worker trains. Nothing more is told of it, and the worker will be Idle again."""

    def poll(self, seconds: float) -> list[Event]:
        """What happened, waiting up to `seconds` for the first of it. Raises BnexpError where no worker can start."""

    def close(self) -> None:
        """Stop everything at once."""
