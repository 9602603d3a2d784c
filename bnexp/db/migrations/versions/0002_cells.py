"""Each trial's cell, and an index that tells devices without a look at the attempts."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("trials", sa.Column("cell", sa.BigInteger(), nullable=False, server_default="0"))
    trials = sa.table(
        "trials", sa.column("id"), sa.column("config", sa.JSON()), sa.column("fingerprint"), sa.column("cell")
    )
    connection = op.get_bind()
    found = connection.execute(sa.select(trials.c.id, trials.c.config, trials.c.fingerprint)).all()
    cells = [{"of": row.id, "is": _cell(row.config, row.fingerprint)} for row in found]
    if cells:
        filled = sa.update(trials).where(trials.c.id == sa.bindparam("of")).values(cell=sa.bindparam("is"))
        connection.execute(filled, cells)
    op.drop_index(op.f("ix_attempts_cohort_id_worker"), "attempts")
    op.create_index(
        op.f("ix_attempts_cohort_id_worker_device"), "attempts", ["cohort_id", "worker", "device"], unique=False
    )


def _cell(config: dict[str, Any], fingerprint: str) -> int:
    """Equal in trials that differ in their seed only. It need not equal what the program gives to new trials: a cell
    under two numbers is read twice, no more."""
    shared = {name: value for name, value in config.items() if name != "seed"}
    text = json.dumps([shared, fingerprint], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
