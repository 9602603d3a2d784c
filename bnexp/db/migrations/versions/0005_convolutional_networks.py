"""Fields of convolutional networks and their images, accuracies among the five likeliest classes, and kept files."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

FACTORS = """
    t.dataset, t.model, t.hidden, t.norm, t.nonlinearity, t.lr, t.lr_multiplier, t.dropout, t.init_scale, t.seed,
    t.status, t.steps, t.train_loss, t.train_accuracy, t.validation_accuracy, t.test_accuracy,
    t.best_validation_accuracy, t.diverged_at_step, t.trained,
    case t.status when 'diverged' then 1.0 / t.classes when 'finished' then t.test_accuracy end as scored_accuracy,
    t.seconds, t.validation_loss, t.test_loss, t.nonfinite, t.classes, t.batch_size, t.optimizer, t.momentum,
    t.weight_decay, t.schedule, t.schedule_decay, t.schedule_every, t.norm_eps, t.norm_momentum, t.split, t.shuffle,
    t.precision, t.eval_every, t.binarize, t.norm_groups, t.norm_stop_gradient, t.norm_shift, t.norm_scale, t.probes,
    t.channels, t.convolutions, t.dense, t.model_width, t.stem, t.modules, t.local_response, t.norm_per_activation,
    t.image_size, t.augment, t.augment_area, t.augment_flip, t.augment_photometric, t.crops, t.keep, t.member,
    t.validation_top5_accuracy, t.test_top5_accuracy
"""

VIEWS = {
    "trial_results": f"select t.key as trial_key, {FACTORS} from trials t",
    "experiment_results": f"""
        select e.name as experiment, et.variant, e.id as experiment_id, t.key as trial_key, {FACTORS}, et.stage, et.arm
        from experiment_trials et join experiments e on e.id = et.experiment_id join trials t on t.id = et.trial_id
    """,
    "kept_files": """
        select t.key as trial_key, f.kind, f.sha256, f.bytes from files f join trials t on t.id = f.trial_id
    """,
}
"""Those that are new or changed."""

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

OPTIONAL: dict[str, sa.types.TypeEngine[Any]] = {
    "channels": sa.String(),
    "convolutions": sa.Integer(),
    "dense": sa.String(),
    "model_width": sa.Double(),
    "stem": sa.String(),
    "modules": sa.String(),
    "local_response": sa.Boolean(),
    "norm_per_activation": sa.Integer(),
    "augment_area": sa.Double(),
    "augment_flip": sa.Double(),
    "augment_photometric": sa.Double(),
    "validation_top5_accuracy": sa.Double(),
    "test_top5_accuracy": sa.Double(),
}
"""Columns that not every trial has a value in."""


def upgrade() -> None:
    for name in ("trial_results", "experiment_results"):
        op.execute(f"drop view {name}")
    for name, kind in OPTIONAL.items():
        op.add_column("trials", sa.Column(name, kind, nullable=True))
    # The others at the values that all trials had before.
    op.add_column("trials", sa.Column("image_size", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("trials", sa.Column("augment", sa.String(), nullable=False, server_default="none"))
    op.add_column("trials", sa.Column("crops", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("trials", sa.Column("keep", sa.String(), nullable=False, server_default="[]"))
    op.add_column("trials", sa.Column("member", sa.Integer(), nullable=False, server_default="0"))
    trials = sa.table("trials", sa.column("norm"), sa.column("norm_per_activation"))
    op.execute(sa.update(trials).where(trials.c.norm.in_(["batch", "noisy-batch"])).values(norm_per_activation=0))
    op.create_table(
        "files",
        sa.Column("trial_id", BIG, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_files_trial_id")),
        sa.PrimaryKeyConstraint("trial_id", "kind", name=op.f("pk_files")),
    )
    op.create_index(op.f("ix_files_sha256"), "files", ["sha256"], unique=False)
    op.drop_index(op.f("ix_cohorts_status"), "cohorts")
    op.create_index(op.f("ix_cohorts_status_id"), "cohorts", ["status", "id"], unique=False)
    for name, select in VIEWS.items():
        op.execute(f"create view {name} as {select}")
