"""The tables of trials, and of what was measured of them; `bnexp.db.tables` has the others.

A trial's factors and outcomes are columns of `trials`, so that people can query them; the whole configuration stands
beside them as JSON. What a factor is, and its unit, is said in `bnexp.config` and `bnexp.options`. Numbers that are not
finite are stored as NULL, and `nonfinite` says which they were. `docs/schema.md` is made from what is said here.
"""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from bnexp.db.base import Base, RowId


class TrialRow(Base):
    """One configuration, its seed included, and its result."""

    __tablename__ = "trials"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    """The database's own number of it; other databases have others."""
    key: Mapped[str] = mapped_column(unique=True)
    """SHA-256 of the configuration and the dataset's content, 64 hexadecimal digits: the same in every database."""
    cohort_id: Mapped[int | None] = mapped_column(ForeignKey("cohorts.id"), index=True)
    """The cohort that it trains, or has trained, in."""
    status: Mapped[str]
    """pending, running, finished, diverged, failed"""
    failures: Mapped[int]
    """Attempts that failed, since it was last asked for."""
    config: Mapped[dict[str, Any]]
    """The whole configuration."""
    fingerprint: Mapped[str]
    """Hash of the dataset's content."""
    cell: Mapped[int] = mapped_column(BigInteger)
    """Equal in trials that differ in their seed only (`bnexp.identity.cell_key`): a reader of many trials reads the
    factors of each cell once."""
    classes: Mapped[int]
    """Of the dataset, how many."""

    dataset: Mapped[str]
    model: Mapped[str]
    hidden: Mapped[str | None]
    """Here as a JSON list."""
    channels: Mapped[str | None]
    """Here as a JSON list."""
    convolutions: Mapped[int | None]
    dense: Mapped[str | None]
    """Here as a JSON list."""
    model_width: Mapped[float | None]
    stem: Mapped[str | None]
    modules: Mapped[str | None]
    """Here as a JSON list."""
    local_response: Mapped[bool | None]
    model_options: Mapped[str | None]
    """Here as a JSON list of pairs."""
    norm: Mapped[str]
    norm_eps: Mapped[float | None]
    norm_momentum: Mapped[float | None]
    norm_groups: Mapped[int | None]
    norm_stop_gradient: Mapped[bool | None]
    norm_shift: Mapped[float | None]
    norm_scale: Mapped[float | None]
    norm_per_activation: Mapped[int | None]
    norm_position: Mapped[str | None]
    norm_options: Mapped[str | None]
    """Here as a JSON list of pairs."""
    nonlinearity: Mapped[str]
    batch_size: Mapped[int]
    steps: Mapped[int]
    eval_every: Mapped[int]
    probes: Mapped[str]
    """Here as a JSON list."""
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
    adam_beta1: Mapped[float | None]
    adam_beta2: Mapped[float | None]
    adam_eps: Mapped[float | None]
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
    """Here as a JSON list."""
    seed: Mapped[int] = mapped_column(BigInteger)
    member: Mapped[int]

    train_loss: Mapped[float | None]
    """Mean cross-entropy of the training set, at most 100,000 examples of it, at the end of training, in nats."""
    train_accuracy: Mapped[float | None]
    """Share of the same examples whose class is the likeliest, 0 to 1."""
    validation_loss: Mapped[float | None]
    """Mean cross-entropy of the validation set at the end, in nats."""
    validation_accuracy: Mapped[float | None]
    """Share of the validation set that is right at the end, 0 to 1."""
    test_loss: Mapped[float | None]
    """Mean cross-entropy of the test set at the end, in nats."""
    test_accuracy: Mapped[float | None]
    """Share of the test set that is right at the end, 0 to 1."""
    validation_top5_accuracy: Mapped[float | None]
    """Share of the validation set whose class is among the five likeliest, 0 to 1; NULL with five classes or fewer."""
    test_top5_accuracy: Mapped[float | None]
    """The same of the test set, 0 to 1."""
    best_validation_accuracy: Mapped[float | None]
    """The largest validation accuracy of its curve, 0 to 1."""
    diverged_at_step: Mapped[int | None]
    """The step whose training loss was not finite; NULL where it did not diverge."""
    trained: Mapped[bool | None]
    """Whether the training loss at the end is finite and under half of ln(classes)."""
    nonfinite: Mapped[str | None]
    """What is NULL for being not finite, such as `train_loss=inf test_loss=nan`; of a trial that diverged, what its
    loss was, such as `loss=nan`."""
    seconds: Mapped[float | None]
    """Its share of the time that its cohort trained for, in seconds of one worker."""


class CurveRow(Base):
    """A point of a trial's curve: on fixed subsets of at most 2,000 examples, with moving averages of statistics."""

    __tablename__ = "curves"
    __table_args__ = ({"sqlite_with_rowid": False},)

    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True, autoincrement=False)
    """The trial that was evaluated."""
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Training steps that had been made, 1 or more."""
    train_loss: Mapped[float | None]
    """Mean cross-entropy of the training examples, in nats."""
    train_accuracy: Mapped[float | None]
    """Share of the training examples that is right, 0 to 1."""
    validation_loss: Mapped[float | None]
    """Mean cross-entropy of the validation examples, in nats."""
    validation_accuracy: Mapped[float | None]
    """Share of the validation examples that is right, 0 to 1."""
    nonfinite: Mapped[str | None]
    """What is NULL for being not finite, such as `train_loss=inf`."""


class ProbeRow(Base):
    """A measurement inside a trial's network during training."""

    __tablename__ = "probes"
    __table_args__ = ({"sqlite_with_rowid": False},)

    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True, autoincrement=False)
    """The trial that was measured."""
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Training steps that had been made; 0 before the first."""
    layer: Mapped[str] = mapped_column(primary_key=True)
    """Such as `hidden 2`; empty where it is about the whole network."""
    name: Mapped[str] = mapped_column(primary_key=True)
    """The probe, and which of its numbers it is, such as `percentiles p50`."""
    value: Mapped[float | None]
    """What was measured, in the probe's unit (`bnexp.engine.probes`); of units one by one, their mean."""
    units: Mapped[str | None]
    """A number for each unit, as a JSON list, where they are measured one by one; null where one is not finite."""
    nonfinite: Mapped[str | None]
    """What is NULL for being not finite, such as `value=nan units[3]=inf`."""


class FileRow(Base):
    """A file that is kept of a finished trial, in the folder beside the database, under the hash of its content."""

    __tablename__ = "files"
    __table_args__ = (Index(None, "sha256"),)

    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True, autoincrement=False)
    """The trial that it is of."""
    kind: Mapped[str] = mapped_column(primary_key=True)
    """weights, predictions"""
    sha256: Mapped[str]
    """SHA-256 of its content, 64 hexadecimal digits; the file is called `<sha256>.safetensors`."""
    bytes: Mapped[int] = mapped_column(BigInteger)
    """How large it is, in bytes."""
