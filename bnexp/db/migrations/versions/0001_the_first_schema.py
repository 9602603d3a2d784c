"""The first schema: tables, and the views that are its public contract."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

FACTORS = """
    t.dataset, t.model, t.hidden, t.norm, t.nonlinearity, t.lr, t.lr_multiplier, t.dropout, t.init_scale, t.seed,
    t.status, t.steps, t.train_loss, t.train_accuracy, t.validation_accuracy, t.test_accuracy,
    t.best_validation_accuracy, t.diverged_at_step, t.trained,
    case t.status when 'diverged' then 1.0 / t.classes when 'finished' then t.test_accuracy end as scored_accuracy,
    t.seconds, t.validation_loss, t.test_loss, t.nonfinite, t.classes, t.batch_size, t.optimizer, t.momentum,
    t.weight_decay, t.schedule, t.schedule_decay, t.schedule_every, t.norm_eps, t.norm_momentum, t.split, t.shuffle,
    t.precision, t.eval_every
"""

VIEWS = {
    "trial_results": f"select t.key as trial_key, {FACTORS} from trials t",
    "experiment_results": f"""
        select e.name as experiment, et.variant, e.id as experiment_id, t.key as trial_key, {FACTORS}
        from experiment_trials et join experiments e on e.id = et.experiment_id join trials t on t.id = et.trial_id
    """,
    "learning_curves": """
        select t.key as trial_key, c.step, c.train_loss, c.train_accuracy, c.validation_loss, c.validation_accuracy
        from curves c join trials t on t.id = c.trial_id
    """,
    "claim_verdicts": """
        select e.name as experiment, e.id as experiment_id, c.name as claim, v.verdict, v.effect, v.low, v.high,
               v.unit, v.n, v.p, v.p_adjusted, v.sentence, v.judged_at, c.key as claim_key, c.locked_at
        from verdicts v join experiments e on e.id = v.experiment_id join claims c on c.id = v.claim_id
    """,
}


def upgrade() -> None:
    op.create_table(
        "claims",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("locked_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claims")),
        sa.UniqueConstraint("key", name=op.f("uq_claims_key")),
    )
    op.create_table(
        "cohorts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("checkpoint", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cohorts")),
    )
    op.create_index(op.f("ix_cohorts_status"), "cohorts", ["status"], unique=False)

    op.create_table(
        "experiments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("overrides", sa.String(), nullable=False),
        sa.Column("expansion", sa.String(), nullable=False),
        sa.Column("margin", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("last_run_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("name", "overrides", "expansion", name=op.f("uq_experiments_name_overrides_expansion")),
    )
    op.create_table(
        "trials",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("cohort_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("classes", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("hidden", sa.String(), nullable=True),
        sa.Column("norm", sa.String(), nullable=False),
        sa.Column("norm_eps", sa.Double(), nullable=True),
        sa.Column("norm_momentum", sa.Double(), nullable=True),
        sa.Column("nonlinearity", sa.String(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("eval_every", sa.Integer(), nullable=False),
        sa.Column("optimizer", sa.String(), nullable=False),
        sa.Column("lr", sa.Double(), nullable=False),
        sa.Column("momentum", sa.Double(), nullable=True),
        sa.Column("weight_decay", sa.Double(), nullable=True),
        sa.Column("schedule", sa.String(), nullable=False),
        sa.Column("schedule_decay", sa.Double(), nullable=True),
        sa.Column("schedule_every", sa.Double(), nullable=True),
        sa.Column("lr_multiplier", sa.Double(), nullable=False),
        sa.Column("dropout", sa.Double(), nullable=False),
        sa.Column("init_scale", sa.Double(), nullable=False),
        sa.Column("split", sa.Integer(), nullable=False),
        sa.Column("shuffle", sa.String(), nullable=False),
        sa.Column("precision", sa.String(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("train_loss", sa.Double(), nullable=True),
        sa.Column("train_accuracy", sa.Double(), nullable=True),
        sa.Column("validation_loss", sa.Double(), nullable=True),
        sa.Column("validation_accuracy", sa.Double(), nullable=True),
        sa.Column("test_loss", sa.Double(), nullable=True),
        sa.Column("test_accuracy", sa.Double(), nullable=True),
        sa.Column("best_validation_accuracy", sa.Double(), nullable=True),
        sa.Column("diverged_at_step", sa.Integer(), nullable=True),
        sa.Column("trained", sa.Boolean(), nullable=True),
        sa.Column("nonfinite", sa.String(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name=op.f("fk_trials_cohort_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sa.UniqueConstraint("key", name=op.f("uq_trials_key")),
    )
    op.create_index(op.f("ix_trials_cohort_id"), "trials", ["cohort_id"], unique=False)

    op.create_table(
        "verdicts",
        sa.Column("experiment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("claim_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=True),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("unit", sa.String(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=True),
        sa.Column("p", sa.Double(), nullable=True),
        sa.Column("p_adjusted", sa.Double(), nullable=True),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("judged_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["claim_id"], ["claims.id"], name=op.f("fk_verdicts_claim_id")),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name=op.f("fk_verdicts_experiment_id")),
        sa.PrimaryKeyConstraint("experiment_id", "claim_id", name=op.f("pk_verdicts")),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("trial_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cohort_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=True),
        sa.Column("threads", sa.Integer(), nullable=True),
        sa.Column("precision", sa.String(), nullable=False),
        sa.Column("bnexp_version", sa.String(), nullable=False),
        sa.Column("git_commit", sa.String(), nullable=True),
        sa.Column("torch_version", sa.String(), nullable=True),
        sa.Column("python_version", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name=op.f("fk_attempts_cohort_id")),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_attempts_trial_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_cohort_id_worker"), "attempts", ["cohort_id", "worker"], unique=False)
    op.create_index(op.f("ix_attempts_trial_id"), "attempts", ["trial_id"], unique=False)

    op.create_table(
        "curves",
        sa.Column(
            "trial_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("train_loss", sa.Double(), nullable=True),
        sa.Column("train_accuracy", sa.Double(), nullable=True),
        sa.Column("validation_loss", sa.Double(), nullable=True),
        sa.Column("validation_accuracy", sa.Double(), nullable=True),
        sa.Column("nonfinite", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_curves_trial_id")),
        sa.PrimaryKeyConstraint("trial_id", "step", name=op.f("pk_curves")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "experiment_trials",
        sa.Column("experiment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("trial_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("variant", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name=op.f("fk_experiment_trials_experiment_id")),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_experiment_trials_trial_id")),
        sa.PrimaryKeyConstraint("experiment_id", "trial_id", "variant", name=op.f("pk_experiment_trials")),
    )
    op.create_index(op.f("ix_experiment_trials_trial_id"), "experiment_trials", ["trial_id"], unique=False)

    op.create_table(
        "probes",
        sa.Column(
            "trial_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("layer", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("nonfinite", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_probes_trial_id")),
        sa.PrimaryKeyConstraint("trial_id", "step", "layer", "name", name=op.f("pk_probes")),
        sqlite_with_rowid=False,
    )
    for name, select in VIEWS.items():
        op.execute(f"create view {name} as {select}")
