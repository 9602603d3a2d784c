"""Stages and arms of experiments, the levels chosen for arms, probes of units, and what new fields and claims need."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

FACTORS = """
    t.dataset, t.model, t.hidden, t.norm, t.nonlinearity, t.lr, t.lr_multiplier, t.dropout, t.init_scale, t.seed,
    t.status, t.steps, t.train_loss, t.train_accuracy, t.validation_accuracy, t.test_accuracy,
    t.best_validation_accuracy, t.diverged_at_step, t.trained,
    case t.status when 'diverged' then 1.0 / t.classes when 'finished' then t.test_accuracy end as scored_accuracy,
    t.seconds, t.validation_loss, t.test_loss, t.nonfinite, t.classes, t.batch_size, t.optimizer, t.momentum,
    t.weight_decay, t.schedule, t.schedule_decay, t.schedule_every, t.norm_eps, t.norm_momentum, t.split, t.shuffle,
    t.precision, t.eval_every, t.binarize, t.norm_groups, t.norm_stop_gradient, t.norm_shift, t.norm_scale, t.probes
"""

VIEWS = {
    "trial_results": f"select t.key as trial_key, {FACTORS} from trials t",
    "experiment_results": f"""
        select e.name as experiment, et.variant, e.id as experiment_id, t.key as trial_key, {FACTORS}, et.stage, et.arm
        from experiment_trials et join experiments e on e.id = et.experiment_id join trials t on t.id = et.trial_id
    """,
    "claim_verdicts": """
        select e.name as experiment, e.id as experiment_id, c.name as claim, v.verdict, v.effect, v.low, v.high,
               v.unit, v.n, v.p, v.p_adjusted, v.sentence, v.judged_at, c.key as claim_key, c.locked_at,
               v.look, v.alpha, v.measures, v.trials
        from verdicts v join experiments e on e.id = v.experiment_id join claims c on c.id = v.claim_id
    """,
    "probe_values": """
        select t.key as trial_key, p.step, p.layer, p.name, p.value, p.units, p.nonfinite
        from probes p join trials t on t.id = p.trial_id
    """,
    "tuning_choices": """
        select e.name as experiment, c.experiment_id, c.arm, c.factor, c.level, c.score, c.at_edge
        from choices c join experiments e on e.id = c.experiment_id
    """,
}
"""Those that are new or changed; `learning_curves` stays."""

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in ("trial_results", "experiment_results", "claim_verdicts"):
        op.execute(f"drop view {name}")
    _trials()
    _experiment_trials()
    op.create_table(
        "choices",
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("arm", sa.String(), nullable=False),
        sa.Column("factor", sa.String(), nullable=False),
        sa.Column("level", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("at_edge", sa.Boolean(), nullable=False),
        sa.Column("chosen_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name=op.f("fk_choices_experiment_id")),
        sa.PrimaryKeyConstraint("experiment_id", "arm", name=op.f("pk_choices")),
    )
    op.add_column("probes", sa.Column("units", sa.String(), nullable=True))
    op.add_column("verdicts", sa.Column("look", sa.Integer(), nullable=True))
    op.add_column("verdicts", sa.Column("alpha", sa.Double(), nullable=True))
    op.add_column("verdicts", sa.Column("measures", sa.JSON(), nullable=True))
    op.add_column("verdicts", sa.Column("trials", sa.Integer(), nullable=True))
    for name, select in VIEWS.items():
        op.execute(f"create view {name} as {select}")


def _trials() -> None:
    """The new fields at the values that all trials had before."""
    op.add_column("trials", sa.Column("binarize", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("trials", sa.Column("probes", sa.String(), nullable=False, server_default="[]"))
    op.add_column("trials", sa.Column("norm_groups", sa.Integer(), nullable=True))
    op.add_column("trials", sa.Column("norm_stop_gradient", sa.Boolean(), nullable=True))
    op.add_column("trials", sa.Column("norm_shift", sa.Double(), nullable=True))
    op.add_column("trials", sa.Column("norm_scale", sa.Double(), nullable=True))
    trials = sa.table("trials", sa.column("norm"), sa.column("norm_stop_gradient"))
    op.execute(sa.update(trials).where(trials.c.norm == "batch").values(norm_stop_gradient=sa.false()))


def _experiment_trials() -> None:
    """A new table in place of the old one: SQLite cannot change a primary key."""
    op.rename_table("experiment_trials", "old_experiment_trials")
    if op.get_bind().dialect.name == "postgresql":  # there, the names of constraints are the schema's
        op.execute("alter table old_experiment_trials drop constraint pk_experiment_trials")
    op.drop_index(op.f("ix_experiment_trials_trial_id"), "old_experiment_trials")
    op.create_table(
        "experiment_trials",
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("trial_id", BIG, nullable=False),
        sa.Column("variant", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("arm", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name=op.f("fk_experiment_trials_experiment_id")),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_experiment_trials_trial_id")),
        sa.PrimaryKeyConstraint("experiment_id", "trial_id", "variant", "stage", name=op.f("pk_experiment_trials")),
    )
    op.execute(
        "insert into experiment_trials (experiment_id, trial_id, variant, stage, arm) "
        "select experiment_id, trial_id, variant, 'confirm', '' from old_experiment_trials"
    )
    op.drop_table("old_experiment_trials")
    op.create_index(op.f("ix_experiment_trials_trial_id"), "experiment_trials", ["trial_id"], unique=False)
