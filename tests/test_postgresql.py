"""The store on a real PostgreSQL."""

from bnexp.db.results import Results
from bnexp.db.store import Store
from bnexp.engine.cohort import group
from bnexp.records import Outcome
from tests.test_db import GOOD, ONE, STARTED, instance, wanted


def test_a_trial_goes_its_way(postgresql: str) -> None:
    store = Store(postgresql)
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None and len(job.configs) == 2
    store.store(job, ONE, [Outcome(slot, "finished", (), GOOD) for slot in (0, 1)], STARTED, 1.0)
    store.finish(job, ONE)
    assert store.take([number], ONE) is None
    results = Results(postgresql)
    assert results.counts(number) == {"finished": 2}
    results.close()
    store.close()
