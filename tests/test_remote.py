"""Workers that share no files with whoever keeps the database: what they write arrives before it is told."""

import errno
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bnexp.config import TrialConfig
from bnexp.data.dataset import source
from bnexp.db.store import Store
from bnexp.engine import checkpoints, shelving
from bnexp.engine.checkpoints import Keeper
from bnexp.errors import BnexpError, UsageError
from bnexp.executors import Event, Idle, Lost, Told, remote
from bnexp.executors.remote import FOLDER, Desk, Order, Sent
from bnexp.provenance import program
from bnexp.records import Checkpoint, Kept, Note, Outcome, Record, Resumed, Saved
from tests.cohorts import trial
from tests.conftest import Bnexp, environment
from tests.pictures import write_folder
from tests.test_checkpoints import outcomes
from tests.test_checkpoints import train as train_here
from tests.test_db import STARTED, instance, wanted
from tests.test_runner import go, losses, outcome, store

__all__ = ["store"]


@pytest.fixture(autouse=True)
def always_due(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep training at every opportunity, and have workers' folders where nothing else is."""
    monkeypatch.setattr(Keeper, "due", lambda keeper, size: True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()


def cohort() -> list[TrialConfig]:
    settings = {"steps": 100, "eval_every": 60, "model": {"hidden": [20, 20]}, "keep": ("predictions",)}
    return [trial(settings, lr_multiplier=rate, seed=seed) for seed in (1, 2) for rate in (1.0, 1e30)]


def place(folder: Path, trials: Sequence[TrialConfig]) -> Checkpoint:
    path = folder / "there" / "cohort-1.safetensors"
    return Checkpoint(path, tuple(map(str, trials)), "p", path.is_file(), files=folder / "there.files")


def train(trials: list[TrialConfig], checkpoint: Checkpoint, stop_after: int = 10**9) -> list[Record]:
    """What arrives of a cohort that a worker elsewhere trains, up to its `stop_after`th checkpoint."""
    kept = checkpoint.path.read_bytes() if checkpoint.resume else None
    order = Order(program(), "cpu", trials, None, None, checkpoint, kept)
    desk, records = Desk(checkpoint), list[Record]()
    for sent in remote.train(order, "elsewhere", source("digits").read):
        assert isinstance(sent, Sent), sent
        if record := desk.receive(sent):
            records.append(record)
        if isinstance(record, Saved) and sum(isinstance(one, Saved) for one in records) == stop_after:
            break
    return records


def test_it_goes_on_elsewhere_to_the_same_numbers_from_the_file_that_arrived(tmp_path: Path) -> None:
    trials = cohort()
    checkpoint = place(tmp_path, trials)
    whole = outcomes(trials, train_here(trials, replace(checkpoint, path=tmp_path / "x", files=tmp_path / "y")))
    before = train(trials, checkpoint, stop_after=10)
    assert checkpoint.path.is_file() and not any(isinstance(record, Outcome) for record in before[:-1])
    after = train(trials, place(tmp_path, trials))
    assert any(isinstance(record, Resumed) for record in after)
    assert outcomes(trials, after) == whole
    assert {path.name for path in (tmp_path / "there.files").iterdir()} == {p.name for p in (tmp_path / "y").iterdir()}
    assert list((tmp_path / "temporary").iterdir()) == [], "workers leave nothing behind"


def test_a_kept_file_is_there_before_its_trial_has_ended(tmp_path: Path) -> None:
    content, checkpoint = b"probabilities", place(tmp_path, cohort())
    kept = shelving.put(replace(checkpoint, files=tmp_path / "theirs"), 0, "predictions", content)
    ended = Outcome(0, "finished", (), kept=(kept,))
    assert Desk(checkpoint).receive(Sent(ended, (content,))) == ended
    assert shelving.place(tmp_path / "there.files", kept).read_bytes() == content


def test_a_kept_file_that_cannot_be_written_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "there.files").write_text("in its way")
    ended = Outcome(0, "finished", (), kept=(Kept("predictions", "0" * 64, 1),))
    with pytest.raises(BnexpError, match="its predictions cannot be kept in"):
        Desk(place(tmp_path, cohort())).receive(Sent(ended, (b"x",)))


def test_a_checkpoint_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("in its way")
    desk = Desk(place(tmp_path, cohort()))
    note = desk.receive(Sent(Saved("cohort-1.safetensors"), (b"x",)))
    assert isinstance(note, Note) and "training goes on without" in note.sentence
    assert desk.receive(Sent(Saved("cohort-1.safetensors"), (b"x",))) is None


def test_a_damaged_checkpoint_is_set_aside_where_it_came_from(tmp_path: Path) -> None:
    trials = cohort()
    train(trials, place(tmp_path, trials), stop_after=1)
    path = place(tmp_path, trials).path
    path.write_bytes(path.read_bytes()[:-1])
    damaged = path.read_bytes()
    notes = [one.sentence for one in train(trials, place(tmp_path, trials)) if isinstance(one, Note)]
    assert len(notes) == 1 and notes[0].startswith(f"the checkpoint {path} is damaged")
    assert path.with_name(f"{path.name}.damaged").read_bytes() == damaged


def test_a_checkpoint_of_another_program_is_named_as_the_person_knows_it(tmp_path: Path) -> None:
    trials = cohort()
    train(trials, place(tmp_path, trials), stop_after=1)
    there = place(tmp_path, trials)
    notes = [one for one in train(trials, replace(there, program="q"), stop_after=0) if isinstance(one, Note)]
    assert [note.kind for note in notes] == ["foreign"] and notes[0].sentence.startswith(f"the checkpoint {there.path}")
    assert there.path.is_file() and list(there.path.parent.glob("*.damaged")) == []


def test_what_is_said_of_a_checkpoint_is_not_told_by_its_words(tmp_path: Path) -> None:
    there = place(tmp_path, cohort())
    ours = replace(there, path=tmp_path / "ours" / there.path.name)
    there.path.parent.mkdir()
    there.path.write_bytes(b"x")
    said = Note(f"{ours.path} will not do", "damaged")
    assert Desk(there).receive(remote._pack(said, ours, there)) == Note(f"{there.path} will not do", "damaged")
    assert [path.name for path in there.path.parent.iterdir()] == [f"{there.path.name}.damaged"]
    plain = Note(f"the checkpoint {ours.path} is a fine one")
    assert Desk(there).receive(remote._pack(plain, ours, there)) == plain


@pytest.mark.parametrize("what", ["kept file", "checkpoint", "folder"])
def test_a_workers_folder_that_is_full_is_explained_by_what_helps_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Not by --checkpoints, which names a folder at the other end."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if what == "folder":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    else:
        monkeypatch.setattr(*((shelving, "write_whole") if what == "kept file" else (checkpoints, "_write")), full)
    trials = cohort()[:1]
    order = Order(program(), "cpu", trials, None, None, place(tmp_path, trials), None)
    told = list(remote.train(order, "elsewhere", source("digits").read))
    notes = [one.record.sentence for one in told if isinstance(one, Sent) and isinstance(one.record, Note)]
    [said] = notes if what == "checkpoint" else [one for one in told if isinstance(one, str)]
    assert "make room there, " in said and "set TMPDIR where the workers of elsewhere are started" in said, said
    assert "--checkpoints" not in said and "Traceback" not in said


def refusal(order: Order) -> BnexpError:
    [refused] = remote.train(order, "elsewhere", None)
    assert isinstance(refused, BnexpError)
    return refused


def test_another_bnexp_does_not_train() -> None:
    refused = refusal(Order("bnexp 0.0.1 (abc)", "cpu", cohort(), None, None, None, None))
    assert str(refused).startswith(f"elsewhere has {program()}, and this run is bnexp 0.0.1 (abc)")


def test_a_prepared_dataset_must_be_there_and_the_same(tmp_path: Path, bnexp: Bnexp) -> None:
    pictures = write_folder(tmp_path / "tiny")
    prepare = ("data", "prepare", str(pictures), "--size", "8", "--workers", "1", "--data-dir", "data")
    (tmp_path / "data").mkdir()
    assert bnexp(*prepare, cwd=tmp_path).code == 0
    fields = {"dataset": "imagefolder/tiny", "image_size": 8, "batch_size": 4, "steps": 3, "eval_every": 3}
    trials = [TrialConfig.model_validate(fields)]
    fingerprint = source("imagefolder/tiny", tmp_path / "data").fingerprint()
    same = Order(program(), "cpu", trials, tmp_path / "data", fingerprint, None, None)
    *_, last = remote.train(same, "elsewhere", None)
    assert isinstance(last, Sent) and isinstance(last.record, Outcome), last
    other = Order(program(), "cpu", trials, tmp_path / "data", "of other pictures", None, None)
    refused = refusal(other)
    assert isinstance(refused, UsageError)
    assert str(refused).startswith(f"elsewhere: {tmp_path / 'data' / 'imagefolder' / 'tiny'} is not the dataset")
    refused = refusal(replace(other, data_dir=tmp_path / "nowhere"))
    assert isinstance(refused, UsageError) and str(refused).startswith("elsewhere: imagefolder/tiny: not found")


def test_folders_of_workers_that_were_killed_are_removed(tmp_path: Path) -> None:
    script = (
        "import os, tempfile; from bnexp.executors.remote import _folder\n"
        f"tempfile.tempdir = {str(tmp_path / 'temporary')!r}\n"
        "with _folder() as folder:\n"
        "    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    [left] = (tmp_path / "temporary").iterdir()
    assert left.name.startswith(FOLDER)
    with remote._folder() as ours:
        assert list((tmp_path / "temporary").iterdir()) == [ours], "the one that is in use stays"


# The runner.


def test_a_lost_worker_gives_its_cohort_back_and_nothing_has_failed(store: Store) -> None:
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    began, idle = Told(0, STARTED), Idle(0, capacity=2)
    lost = [began, outcome(1, 0.25), Lost(0, "node a was lost")]
    executor, tally = go(
        store, number, [idle], lost, [idle], [began, Lost(0, "b")], [idle], *again(5), [began, *ends()]
    )
    assert [[trial.seed for trial in trials] for _, trials in executor.given] == [[1, 2]] + [[1]] * 7
    assert (tally.finished, tally.failed, tally.errors) == (2, 0, [])
    assert tally.notes[0] == "1 trial given back: node a was lost"
    assert losses(store) == {1: 0.5, 2: 0.25}
    with store.engine.connect() as connection:
        outcomes = connection.exec_driver_sql("select outcome, count(*) from attempts group by 1").all()
    assert [tuple(row) for row in outcomes] == [("finished", 2), ("interrupted", 7)]


def again(times: int) -> list[list[Event]]:
    return [event for _ in range(times) for event in ([Lost(0, "again")], [Idle(0, capacity=2)])]


def ends() -> list[Event]:
    return [outcome(0, 0.5), Idle(0, capacity=2)]


def test_a_lost_worker_that_had_nothing_gets_nothing(store: Store) -> None:
    number = store.register(instance(wanted(seed=1)))
    gone = [Idle(0, capacity=1), Lost(0, "the cluster has become smaller")]
    executor, tally = go(store, number, gone, [], [Idle(0, capacity=1)], [Told(0, STARTED), *ends()])
    assert len(executor.given) == 1 and tally.notes == []


def test_a_cohort_whose_worker_was_lost_after_its_end_has_ended(store: Store) -> None:
    number = store.register(instance(wanted(seed=1)))
    ended = [Told(0, STARTED), outcome(0, 0.5), Lost(0, "gone")]
    _, tally = go(store, number, [Idle(0, capacity=1)], ended, [Idle(1, capacity=1)])
    assert (tally.finished, tally.notes) == (1, [])
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("select status from cohorts").scalars().all() == ["done"]


# The end that gives orders.


def test_it_can_read_what_is_told_without_torch() -> None:
    """Else whoever hears the first record would import it."""
    told = pickle.dumps([*train_here(cohort())])
    script = "import pickle, sys; pickle.loads(sys.stdin.buffer.read()); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], input=told, check=True, timeout=60, env=environment())


@pytest.mark.parametrize("module", ["bnexp.executors.local", "bnexp.executors.remote", "bnexp.executors.ray"])
def test_it_imports_no_torch(module: str) -> None:
    script = f"import sys, {module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60, env=environment())
