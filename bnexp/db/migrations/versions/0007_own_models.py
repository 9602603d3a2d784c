"""The options of networks that are named by import path."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

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
    t.validation_top5_accuracy, t.test_top5_accuracy, t.adam_beta1, t.adam_beta2, t.adam_eps,
    t.norm_options, t.norm_position, t.model_options
"""

VIEWS = {
    "trial_results": f"select t.key as trial_key, {FACTORS} from trials t",
    "experiment_results": f"""
        select e.name as experiment, et.variant, e.id as experiment_id, t.key as trial_key, {FACTORS}, et.stage, et.arm
        from experiment_trials et join experiments e on e.id = et.experiment_id join trials t on t.id = et.trial_id
    """,
}
"""Those that are changed."""


def upgrade() -> None:
    for name in VIEWS:
        op.execute(f"drop view {name}")
    op.add_column("trials", sa.Column("model_options", sa.String(), nullable=True))
    for name, select in VIEWS.items():
        op.execute(f"create view {name} as {select}")
