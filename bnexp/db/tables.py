"""The tables. Their history is in `migrations`; the views over them, which are the public contract, are made there too.

A trial's factors and outcomes are columns of `trials`, so that people can query them; the whole configuration stands
beside them as JSON. Numbers that are not finite are stored as NULL, and `nonfinite` says which they were.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite numbers rows by itself in a column of exactly this type.
RowId = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Everything in the schema."""

    type_annotation_map = {str: String, dict[str, Any]: JSON}  # noqa: RUF012 (SQLAlchemy's own)
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ExperimentRow(Base):
    """An experiment instance: an experiment as run, with its overrides and the hash of its expansion."""

    __tablename__ = "experiments"
    __table_args__ = (UniqueConstraint("name", "overrides", "expansion"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str]
    about: Mapped[str]
    overrides: Mapped[str]
    expansion: Mapped[str]
    margin: Mapped[float]
    created_at: Mapped[datetime]
    last_run_at: Mapped[datetime]


class CohortRow(Base):
    """Trials that train together: the unit of lease and checkpoint."""

    __tablename__ = "cohorts"
    __table_args__ = (Index(None, "status", "id"),)  # the first that is pending is found without the others

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    size: Mapped[int]
    status: Mapped[str]
    """pending, running, done"""
    worker: Mapped[str | None]
    lease_until: Mapped[float | None]
    """Seconds since the epoch."""
    taken: Mapped[int]
    """How often it was taken; with the worker, this tells one lease of it from another."""
    step: Mapped[int]
    checkpoint: Mapped[str | None]
    """The name of the file, in the folder of checkpoints, that its training can go on from."""


class TrialRow(Base):
    """One configuration, its seed included, and its result."""

    __tablename__ = "trials"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    cohort_id: Mapped[int | None] = mapped_column(ForeignKey("cohorts.id"), index=True)
    status: Mapped[str]
    """pending, running, finished, diverged, failed"""
    failures: Mapped[int]
    """Attempts that failed, since it was last asked for."""
    config: Mapped[dict[str, Any]]
    fingerprint: Mapped[str]
    cell: Mapped[int] = mapped_column(BigInteger)
    """Equal in trials that differ in their seed only (`bnexp.config.cell_key`): a reader of many trials reads the
    factors of each cell once."""
    classes: Mapped[int]

    dataset: Mapped[str]
    model: Mapped[str]
    hidden: Mapped[str | None]
    channels: Mapped[str | None]
    convolutions: Mapped[int | None]
    dense: Mapped[str | None]
    model_width: Mapped[float | None]
    stem: Mapped[str | None]
    modules: Mapped[str | None]
    local_response: Mapped[bool | None]
    norm: Mapped[str]
    norm_eps: Mapped[float | None]
    norm_momentum: Mapped[float | None]
    norm_groups: Mapped[int | None]
    norm_stop_gradient: Mapped[bool | None]
    norm_shift: Mapped[float | None]
    norm_scale: Mapped[float | None]
    norm_per_activation: Mapped[int | None]
    nonlinearity: Mapped[str]
    batch_size: Mapped[int]
    steps: Mapped[int]
    eval_every: Mapped[int]
    probes: Mapped[str]
    """Their names, as JSON."""
    binarize: Mapped[bool]
    image_size: Mapped[int]
    augment: Mapped[str]
    augment_area: Mapped[float | None]
    augment_flip: Mapped[float | None]
    augment_photometric: Mapped[float | None]
    crops: Mapped[int]
    optimizer: Mapped[str]
    lr: Mapped[float]
    momentum: Mapped[float | None]
    weight_decay: Mapped[float | None]
    schedule: Mapped[str]
    schedule_decay: Mapped[float | None]
    schedule_every: Mapped[float | None]
    lr_multiplier: Mapped[float]
    dropout: Mapped[float]
    init_scale: Mapped[float]
    split: Mapped[int]
    shuffle: Mapped[str]
    precision: Mapped[str]
    keep: Mapped[str]
    """What is kept of it, as JSON."""
    seed: Mapped[int] = mapped_column(BigInteger)
    member: Mapped[int]

    train_loss: Mapped[float | None]
    train_accuracy: Mapped[float | None]
    validation_loss: Mapped[float | None]
    validation_accuracy: Mapped[float | None]
    test_loss: Mapped[float | None]
    test_accuracy: Mapped[float | None]
    validation_top5_accuracy: Mapped[float | None]
    test_top5_accuracy: Mapped[float | None]
    best_validation_accuracy: Mapped[float | None]
    diverged_at_step: Mapped[int | None]
    trained: Mapped[bool | None]
    nonfinite: Mapped[str | None]
    seconds: Mapped[float | None]


class ExperimentTrialRow(Base):
    """That an experiment wants a trial, under which variant and for what. A trial that two want is trained once."""

    __tablename__ = "experiment_trials"
    __table_args__ = (Index(None, "trial_id"),)

    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    """tune: to choose its arm's level; confirm: to compare the arms"""
    arm: Mapped[str]
    """The variant and the factor levels in words; empty where there are none, and in links older than the column."""


class ChoiceRow(Base):
    """The level of the tuned factor that was chosen for an arm, before its confirming trials began."""

    __tablename__ = "choices"

    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    factor: Mapped[str]
    level: Mapped[float]
    score: Mapped[float]
    """Mean scored validation accuracy over the tuning seeds."""
    at_edge: Mapped[bool]
    """Whether it is the smallest or the largest of the levels."""
    chosen_at: Mapped[datetime]


class AttemptRow(Base):
    """One execution of a trial by one worker: what it ran on, in which company, and how it ended."""

    __tablename__ = "attempts"
    __table_args__ = (Index(None, "cohort_id", "worker", "device"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), index=True)
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohorts.id"))
    slot: Mapped[int]
    worker: Mapped[str]
    host: Mapped[str]
    device: Mapped[str | None]
    threads: Mapped[int | None]
    precision: Mapped[str]
    bnexp_version: Mapped[str]
    git_commit: Mapped[str | None]
    torch_version: Mapped[str | None]
    python_version: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    outcome: Mapped[str | None]
    """finished, diverged, failed, interrupted; NULL while it runs or where it vanished"""
    resumed_at_step: Mapped[int | None]
    """The step of the checkpoint that it went on from; NULL where it began at the beginning."""
    error: Mapped[str | None]


class CurveRow(Base):
    """A point of a trial's curve."""

    __tablename__ = "curves"
    __table_args__ = ({"sqlite_with_rowid": False},)

    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    train_loss: Mapped[float | None]
    train_accuracy: Mapped[float | None]
    validation_loss: Mapped[float | None]
    validation_accuracy: Mapped[float | None]
    nonfinite: Mapped[str | None]


class ProbeRow(Base):
    """A measurement inside a trial's network during training."""

    __tablename__ = "probes"
    __table_args__ = ({"sqlite_with_rowid": False},)

    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    layer: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float | None]
    units: Mapped[str | None]
    """A number for each unit, as a JSON list, where they are measured one by one; `value` is their mean."""
    nonfinite: Mapped[str | None]


class FileRow(Base):
    """A file that is kept of a finished trial, in the folder beside the database, under the hash of its content."""

    __tablename__ = "files"
    __table_args__ = (Index(None, "sha256"),)

    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """weights, predictions"""
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)


class ClaimRow(Base):
    """A claim as written when its experiment was run, by the hash of its definition."""

    __tablename__ = "claims"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    definition: Mapped[dict[str, Any]]
    locked_at: Mapped[datetime]


class VerdictRow(Base):
    """What the data of one experiment instance say about one claim."""

    __tablename__ = "verdicts"

    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    claim_id: Mapped[int] = mapped_column(ForeignKey("claims.id"), primary_key=True)
    verdict: Mapped[str]
    """supported, refuted, inconclusive, not tested"""
    effect: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    unit: Mapped[str | None]
    n: Mapped[int | None]
    p: Mapped[float | None]
    p_adjusted: Mapped[float | None]
    sentence: Mapped[str]
    judged_at: Mapped[datetime]
    look: Mapped[int | None]
    """Which of the preset looks at the data it is, by its number of seeds."""
    alpha: Mapped[float | None]
    """What the look spends."""
    measures: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    """Every measured part of a claim of several."""
    trials: Mapped[int | None]
    """How many it rests on."""
