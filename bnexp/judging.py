"""Judging while a run goes on: what is complete, and nothing else, at a bounded share of the run's time."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bnexp.budget import Budget
from bnexp.claims.model import Claim
from bnexp.db.results import Results
from bnexp.db.standings import standings
from bnexp.db.store import Store
from bnexp.enrolling import close_books
from bnexp.errors import BnexpError
from bnexp.records import Standing

LOOKING_SHARE = 0.002
JUDGING_SHARE = 0.008
"""Together at most a hundredth of a run's time."""

FIRST_JUDGED = 1.0
"""Seconds that judging an experiment is taken to cost before one was judged."""


class Judging:
    """How the instances of a run stand. The claims about one are judged when it is complete, and not before: who sees a
    verdict form may stop when it pleases, and would then be wrong more often than the claim says."""

    def __init__(
        self, store: Store, experiment_ids: Sequence[int], claims: Mapping[str, Claim], files: Path | None = None
    ) -> None:
        """`files` is the folder of what is kept of trials, where it is not the database's own."""
        self.store, self.claims, self.files = store, claims, files
        self.standings: list[Standing] = []
        self._ids = list(experiment_ids)
        self.written: set[int] = set()
        """The instances of which every confirming trial is known to be written down. Thousands are written in parts,
        by another run perhaps, and the first parts may have ended before the last is there."""
        self._judged: set[int] = set()
        self._looking, self._judging = Budget(LOOKING_SHARE), Budget(JUDGING_SHARE, FIRST_JUDGED)

    def look(self) -> list[Standing]:
        """How the instances stand, as far as there was time to look. What cannot be read or judged now is no reason to
        stop a run, which judges everything at its end."""
        with suppress(BnexpError):
            if self._looking.allows():
                with self._looking.spending():
                    self._read()
            complete = {standing.number for standing in self.standings if standing.complete}
            ready = sorted((complete & self.written) - self._judged)
            if ready and self._judging.allows():
                self._judged.add(ready[0])
                with self._judging.spending():
                    close_books(self.store, ready[:1], self.claims, self.files)
                    self._read()
        return self.standings

    def _read(self) -> None:
        results = Results(self.store.database)
        try:
            self.standings = standings(results, self._ids)
        finally:
            results.close()
