"""How trials are counted in words, the same wherever they are: those of both stages, and how many are there to tune."""

from bnexp.db.summaries import Counts

STATUSES = ("finished", "diverged", "failed", "running", "pending")


def tallied(counts: Counts) -> str:
    """Such as "186 finished, 2 diverged; 108 of these to tune"."""
    listed = ", ".join(f"{counts.statuses[status]:,} {status}" for status in STATUSES if counts.statuses.get(status))
    return (listed or "no trials") + (f"; {counts.tuning:,} of these to tune" if counts.tuning else "")
