"""How often a trial has failed, and where an attempt went on from."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("trials", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("attempts", sa.Column("resumed_at_step", sa.Integer(), nullable=True))
