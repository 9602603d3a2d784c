"""A cohort that a worker of this run trains: what is known of it while it does."""

import time
from dataclasses import dataclass, field

from bnexp.db.rows import Job
from bnexp.records import Outcome, Started, Working


@dataclass
class Training:
    """A cohort that a worker of ours trains."""

    job: Job
    began: float = field(default_factory=time.monotonic)
    started: Started | None = None
    step: int = 0
    done: int = 0
    """Trial-steps, those before a checkpoint included."""
    kept: bool = False
    """Whether the database knows that there is a checkpoint."""
    unstored: list[Outcome] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    """The slots of trials that have ended."""
    diverged: int = 0

    def end(self, outcome: Outcome) -> None:
        """One of its trials has ended, and is still to be stored."""
        self.unstored.append(outcome)
        self.ended.add(outcome.slot)
        self.diverged += outcome.status == "diverged"

    @property
    def left(self) -> list[int]:
        return [slot for slot in range(len(self.job.configs)) if slot not in self.ended]

    @property
    def seen(self) -> Working:
        """What there is to see of it."""
        trials = len(self.job.configs)
        left = trials - len(self.ended)
        return Working(self.job.cohort_id, self.step, self.job.configs[0].steps, trials, left, self.diverged)
