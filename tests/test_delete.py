"""`bnexp db delete`: what only the experiment wants goes, what others want stays, and what is trained is left alone."""

import os
import pty
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bnexp.db.leases import LeaseLostError
from bnexp.db.store import Store
from bnexp.db.upkeep import deleting
from bnexp.db.upkeep.checking import check
from bnexp.db.upkeep.deleting import foresee, forget, instances_of
from bnexp.engine.cohort import group
from bnexp.errors import DatabaseError, UsageError
from tests.conftest import Bnexp, environment
from tests.databases import better, change, contents, everything, good, judge, never, of, register, rows, seeds, train
from tests.test_db import ONE, TWO


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "bnexp.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")


def is_whole(database: str) -> bool:
    return not any(found.wrong for _, found in check(database))


def test_nothing_is_left_but_the_claims(database: str) -> None:
    everything(database)
    whole = contents(database)
    for name in ("e", "tuned", "doomed"):
        instances = instances_of(database, name, None)
        foreseen = foresee(database, instances)
        assert forget(database, instances) == foreseen
        assert is_whole(database)
    left = {name: listed for name, listed in contents(database).items() if listed}
    assert left == {"claims": whole["claims"]}
    assert rows(database, "select count(*) from cohorts") == [(0,)]


def test_what_others_want_stays(database: str) -> None:
    [one, two] = register(database, of("e", seeds(1, 2, 3)), of("f", seeds(3, 4)))
    train(database, [one])
    train(database, [two])
    judge(database, one)
    judge(database, two, "worse")
    before = contents(database)
    gone = forget(database, instances_of(database, "e", None))
    assert (gone.trials, gone.finished, gone.diverged, gone.shared) == (2, 2, 0, 1)
    assert (gone.curves, gone.probes, gone.attempts, gone.verdicts) == (4, 4, 2, 1)
    after = contents(database)
    assert all(not Counter(listed) - Counter(before[name]) for name, listed in after.items())
    assert rows(database, "select seed from experiment_results order by 1") == [(3,), (4,)]
    assert (len(after["trials"]), len(after["curves"]), len(after["verdicts"]), len(after["claims"])) == (2, 4, 1, 2)
    assert is_whole(database)
    assert rows(database, "select count(*) from cohorts") == [(2,)], "one holds the shared trial, one the other's"


def test_one_instance_of_two(database: str) -> None:
    numbers = register(database, of("e", seeds(1, 2)), of("e", seeds(2, 3), overrides="seeds=2,3"))
    train(database, numbers)
    gone = forget(database, instances_of(database, "e", numbers[1]))
    assert [info.id for info in gone.instances] == [numbers[1]] and gone.trials == 1
    assert rows(database, "select overrides from experiments") == [("",)]
    assert rows(database, "select seed from trials order by 1") == [(1,), (2,)]
    with pytest.raises(UsageError, match="no instance 99"):
        instances_of(database, "e", 99)
    with pytest.raises(UsageError, match="experiment 'x' has not been run"):
        instances_of(database, "x", None)


def test_a_worker_is_not_disturbed(database: str) -> None:
    numbers = register(database, of("e", seeds(1, 2)), of("f", seeds(3, batch_size=7)))
    train(database, numbers[:1], never, leave="stay")
    train(database, numbers[1:])
    instances = instances_of(database, "e", None)
    before = contents(database)
    for ask in (foresee, forget):
        with pytest.raises(DatabaseError, match=r"a worker on here \(here:1:x\) trains 'e'; .* wait (59|60) seconds"):
            ask(database, instances)
    assert contents(database) == before
    assert forget(database, instances_of(database, "f", None)).trials == 1, "of that no worker knows"
    change(database, "update cohorts set lease_until = 0")
    assert forget(database, instances).trials == 2
    assert is_whole(database)


def test_a_worker_that_wakes_up_writes_nothing(database: str) -> None:
    """Its lease has run out, one of its trials is gone, and the other, which is shared, waits for a worker again."""
    numbers = register(database, of("e", seeds(1, 2)), of("f", seeds(2)))
    store = Store(database)
    store.plan(numbers[0], group)
    job = store.take(numbers, ONE)
    assert job is not None
    change(database, "update cohorts set lease_until = 0")
    forget(database, instances_of(database, "e", None))
    with pytest.raises(LeaseLostError):
        store.release(job, ONE)
    again = store.take(numbers, TWO)
    assert again is not None and [config.seed for config in again.configs] == [2]
    store.close()
    assert is_whole(database)


def test_a_cohort_that_has_nothing_left_to_train_is_done(database: str) -> None:
    """Of its two trials the shared one has ended; the other was the deleted experiment's."""
    numbers = register(database, of("e", [*seeds(1), *seeds(2, lr_multiplier=1e38)]))
    numbers += register(database, of("f", seeds(2, lr_multiplier=1e38)))
    train(database, numbers[:1], lambda slot, config: good(slot, config) if config.seed == 2 else None, leave="release")
    forget(database, instances_of(database, "e", None))
    assert rows(database, "select status from cohorts") == [("done",)]
    assert is_whole(database)


def test_it_is_whole_or_absent(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    everything(database)
    before = contents(database)

    def fall(*_: object) -> None:
        raise DatabaseError("the power went")

    monkeypatch.setattr(deleting, "take_away", fall)
    with pytest.raises(DatabaseError, match="the power went"):
        forget(database, instances_of(database, "e", None))
    assert contents(database) == before


def test_it_asks(tmp_path: Path, bnexp: Bnexp) -> None:
    database = str(tmp_path / "bnexp.db")
    everything(database)
    refused = bnexp("db", "delete", "e", cwd=tmp_path)
    assert refused.code == 2 and refused.out == ""
    assert "would delete instance 1: e\n" in refused.err
    what = "with 4 trials (2 finished, 2 diverged), 4 attempts, 6 curve rows, 4 probe rows, 1 verdict"
    assert what in " ".join(refused.err.split())
    assert max(map(len, refused.err.splitlines()[:-1])) <= 80
    assert "no terminal to ask on; --yes deletes without asking" in refused.err
    assert rows(database, "select count(*) from experiments") == [(3,)]
    for answer, code, left in (("n", 1, 3), ("y", 0, 2)):
        assert typed(tmp_path, answer) == code
        assert rows(database, "select count(*) from experiments") == [(left,)]
    done = bnexp("db", "delete", "tuned", "--yes", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("deleted instance 2: tuned\nwith 2 trials")
    missing = bnexp("db", "delete", "tuned", "--yes", cwd=tmp_path)
    assert missing.code == 2 and "experiment 'tuned' has not been run into this database (known: doomed)" in missing.err
    assert bnexp("db", "delete", "tuned", "--yes", "--db", "none.db", cwd=tmp_path).code == 2
    assert not (tmp_path / "none.db").exists()


def typed(folder: Path, answer: str) -> int:
    """The exit code of the command when a person answers so."""
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "bnexp", "db", "delete", "e"]
    with subprocess.Popen(command, cwd=folder, env=environment(), stdin=its_end, stderr=subprocess.PIPE) as process:
        os.close(its_end)
        os.write(terminal, f"{answer}\n".encode())
        assert process.stderr is not None and b"Delete this?" in process.stderr.read()
    os.close(terminal)
    return process.returncode


def test_all_of_it_is_to_be_trained_again(tiny: Path, tmp_path: Path, bnexp: Bnexp) -> None:
    for name in ("experiments.yaml", "bnexp.db"):
        (tmp_path / name).write_bytes((tiny / name).read_bytes())
    assert bnexp("db", "delete", "tiny", "--yes", cwd=tmp_path).code == 0
    assert "nothing has been run" in bnexp("status", cwd=tmp_path).out
    assert "24 trials: 24 pending" in bnexp("plan", "tiny", cwd=tmp_path).out


def test_other_results_are_unchanged(database: str) -> None:
    numbers = register(database, of("e", seeds(1)), of("f", seeds(*range(2, 700))))
    train(database, numbers, better)
    before = rows(database, "select * from trial_results where seed > 1 order by seed")
    forget(database, instances_of(database, "e", None))
    assert rows(database, "select * from trial_results order by seed") == before
    assert forget(database, instances_of(database, "f", None)).trials == 698
