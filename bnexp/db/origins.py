"""What an instance's trials were trained by: a device and versions, the commit among them."""

from dataclasses import dataclass

from sqlalchemy import text

from bnexp.db.connection import explained
from bnexp.db.results import Results

# A worker is one process of one installation. So attempts that share it, a cohort and a device are counted first, in
# the order of an index, and the names of versions sorted once for each cohort.
ORIGINS = text(
    "select sum(n) as trials, a.device, a.bnexp_version, a.git_commit, a.torch_version, a.python_version from ("
    "select min(id) as first, count(*) as n from attempts where outcome in ('finished', 'diverged') and exists "
    "(select 1 from experiment_trials e where e.experiment_id = :id and e.trial_id = attempts.trial_id) "
    "group by cohort_id, worker, device) cohort join attempts a on a.id = first "
    "group by 2, 3, 4, 5, 6 order by 1 desc"
)


@dataclass(frozen=True)
class Origin:
    """A combination of these, and how many trials were trained by it."""

    trials: int
    device: str
    bnexp_version: str
    git_commit: str | None
    """Of the checkout, in 40 digits, "+" after it where files differed; None where it was none."""
    torch_version: str
    python_version: str

    def __str__(self) -> str:
        commit = f" at {self.git_commit[:10]}{'+' * self.git_commit.endswith('+')}" if self.git_commit else ""
        versions = f"bnexp {self.bnexp_version}{commit}, torch {self.torch_version}, Python {self.python_version}"
        return f"{self.trials:,} trials on {self.device}; {versions}"


def origins(results: Results, experiment_id: int) -> list[Origin]:
    """Those of the instance's trials that have ended, the most frequent first."""
    with explained(results.url), results.engine.connect() as connection:
        return [Origin(int(row[0]), *row[1:]) for row in connection.execute(ORIGINS, {"id": experiment_id})]
