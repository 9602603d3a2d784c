"""The tables. Their history is in `migrations`; the views over them, which are the public contract, are made there too.

Those of trials and of what was measured of them stand in `bnexp.db.measured`. `docs/schema.md` is made from what is
said of each column. Times are UTC, without a zone.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bnexp.db.base import Base, RowId
from bnexp.db.measured import CurveRow, FileRow, ProbeRow, TrialRow

__all__ = [
    "AttemptRow",
    "Base",
    "ChoiceRow",
    "ClaimRow",
    "CohortRow",
    "CurveRow",
    "ExperimentRow",
    "ExperimentTrialRow",
    "FileRow",
    "ProbeRow",
    "TrialRow",
    "VerdictRow",
]


class ExperimentRow(Base):
    """An experiment instance: an experiment as run, with its overrides and the hash of its expansion."""

    __tablename__ = "experiments"
    __table_args__ = (UniqueConstraint("name", "overrides", "expansion"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    """The instance's number, as `bnexp status` shows it."""
    name: Mapped[str]
    """Its name in the experiments file."""
    about: Mapped[str]
    """What the file says of it."""
    overrides: Mapped[str]
    """What `--set` and `--seeds` changed; empty where nothing."""
    expansion: Mapped[str]
    """SHA-256 of the set of its trials and their variants."""
    margin: Mapped[float]
    """What counts as a difference on its dataset, in points of accuracy."""
    created_at: Mapped[datetime]
    """When it was first run."""
    last_run_at: Mapped[datetime]
    """When it was run last."""


class CohortRow(Base):
    """Trials that train together: the unit of lease and checkpoint."""

    __tablename__ = "cohorts"
    __table_args__ = (Index(None, "status", "id"),)  # the first that is pending is found without the others

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    """Its number."""
    size: Mapped[int]
    """Trials that were planned for it."""
    status: Mapped[str]
    """pending, running, done"""
    worker: Mapped[str | None]
    """Who has taken it."""
    lease_until: Mapped[float | None]
    """When the lease ends, unless it is renewed: seconds since the epoch."""
    taken: Mapped[int]
    """How often it was taken; with the worker, this tells one lease of it from another."""
    step: Mapped[int]
    """How far its training had come, in steps, when the lease was last renewed."""
    checkpoint: Mapped[str | None]
    """The name of the file, in the folder of checkpoints, that its training can go on from."""


class ExperimentTrialRow(Base):
    """That an experiment wants a trial, under which variant and for what. A trial that two want is trained once."""

    __tablename__ = "experiment_trials"
    __table_args__ = (Index(None, "trial_id"),)

    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    """The instance that wants it."""
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    """The trial that is wanted."""
    variant: Mapped[str] = mapped_column(primary_key=True)
    """The name of the variant in the experiments file; empty where it has none."""
    stage: Mapped[str] = mapped_column(primary_key=True)
    """tune: to choose its arm's level; confirm: to compare the arms"""
    arm: Mapped[str]
    """The variant and the factor levels in words; empty where there are none, and in links older than the column."""


class ChoiceRow(Base):
    """The level of the tuned factor that was chosen for an arm, before its confirming trials began."""

    __tablename__ = "choices"

    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    """The instance whose arm it is."""
    arm: Mapped[str] = mapped_column(primary_key=True)
    """The variant and the factor levels in words."""
    factor: Mapped[str]
    """The tuned field, under its dotted name."""
    level: Mapped[float]
    """What was chosen, in the field's unit."""
    score: Mapped[float]
    """Mean scored validation accuracy over the tuning seeds, 0 to 1."""
    at_edge: Mapped[bool]
    """Whether it is the smallest or the largest of the levels."""
    chosen_at: Mapped[datetime]
    """When it was chosen."""


class AttemptRow(Base):
    """One execution of a trial by one worker: what it ran on, in which company, and how it ended."""

    __tablename__ = "attempts"
    __table_args__ = (Index(None, "cohort_id", "worker", "device"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    """Its number; later ones are larger."""
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), index=True)
    """The trial that was trained."""
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohorts.id"))
    """The cohort that it trained in."""
    slot: Mapped[int]
    """Its place in the cohort, from 0 on."""
    worker: Mapped[str]
    """Who trained it: host, machine, process, its start and a random word."""
    host: Mapped[str]
    """The machine's name."""
    device: Mapped[str | None]
    """What it trained on; NULL before training began."""
    threads: Mapped[int | None]
    """Threads of the worker, on a CPU."""
    precision: Mapped[str]
    """The floating-point type."""
    bnexp_version: Mapped[str]
    """The version of bnexp that trained it."""
    git_commit: Mapped[str | None]
    """The commit of its sources, with a + where they had been changed since."""
    torch_version: Mapped[str | None]
    """The version of torch."""
    python_version: Mapped[str]
    """The version of Python."""
    started_at: Mapped[datetime]
    """When it was begun."""
    ended_at: Mapped[datetime | None]
    """When it ended."""
    seconds: Mapped[float | None]
    """Its share of the time that its cohort trained for, in seconds of one worker."""
    outcome: Mapped[str | None]
    """finished, diverged, failed, interrupted; NULL while it runs or where it vanished"""
    resumed_at_step: Mapped[int | None]
    """The step of the checkpoint that it went on from; NULL where it began at the beginning."""
    error: Mapped[str | None]
    """What it failed of."""


class ClaimRow(Base):
    """A claim as written when its experiment was run, by the hash of its definition."""

    __tablename__ = "claims"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    """Its number."""
    key: Mapped[str] = mapped_column(unique=True)
    """SHA-256 of its name and of what decides the verdict, 64 hexadecimal digits."""
    name: Mapped[str]
    """Its name in the experiments file."""
    definition: Mapped[dict[str, Any]]
    """All that was fixed: quote, arms, estimator, rules, looks."""
    locked_at: Mapped[datetime]
    """When the claim was fixed."""


class VerdictRow(Base):
    """What the data of one experiment instance say about one claim."""

    __tablename__ = "verdicts"

    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    """The instance whose data it is about."""
    claim_id: Mapped[int] = mapped_column(ForeignKey("claims.id"), primary_key=True)
    """The claim that was judged."""
    verdict: Mapped[str]
    """supported, refuted, inconclusive, not tested"""
    effect: Mapped[float | None]
    """What was measured of it, in `unit`; of a claim of several measures, of the one that its verdict hangs on."""
    low: Mapped[float | None]
    """The lower end of the effect's 95% interval, in `unit`; it may be infinite."""
    high: Mapped[float | None]
    """The upper end of the same interval."""
    unit: Mapped[str | None]
    """points: percentage points; times: a ratio; share: of seeds, 0 to 1; decades: powers of ten; factor, error:
    relative; number: none of ours"""
    n: Mapped[int | None]
    """Seeds that it rests on."""
    p: Mapped[float | None]
    """Two-sided: twice the smaller of the p-values of what would support and what would refute it, 0 to 1."""
    p_adjusted: Mapped[float | None]
    """The same, adjusted over all claims of the experiment (Holm)."""
    sentence: Mapped[str]
    """The answer in words."""
    judged_at: Mapped[datetime]
    """When it was judged."""
    look: Mapped[int | None]
    """Which of the preset looks at the data it is, from 1 on."""
    alpha: Mapped[float | None]
    """What the look spends: the chance of a false verdict, 0 to 1."""
    measures: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    """Every measured part, as a JSON list, with `deciding`, whether the verdict hangs on it; a number that is not
    finite is text there."""
    trials: Mapped[int | None]
    """Trials that it rests on."""
