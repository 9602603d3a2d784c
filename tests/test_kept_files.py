"""Kept files as the database knows them: named with the result, read back by their hashes, checked, joined and
reclaimed."""

import hashlib
import json
import os
import shutil
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from bnexp.artifacts import folder_for
from bnexp.config import TrialConfig
from bnexp.db.folders import folder_of
from bnexp.db.kept import Predictions
from bnexp.db.results import Results
from bnexp.db.store import Store
from bnexp.db.upkeep.checking import check
from bnexp.db.upkeep.deleting import forget, instances_of
from bnexp.db.upkeep.merging import merge
from bnexp.db.upkeep.pruning import Pruned, foresee, prune
from bnexp.db.url import parse_url
from bnexp.errors import DatabaseError, MissingFileError
from bnexp.files import write_whole
from bnexp.identity import trial_key
from bnexp.records import Kept, Outcome
from tests.conftest import Bnexp
from tests.databases import End, change, good, never, of, register, rows, seeds, train
from tests.test_db import ONE, instance, wanted

KEEP = {"keep": ("predictions",)}
HOUR = 3600


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return str(tmp_path / "here.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")


def files_of(database: str) -> Path:
    return folder_of(parse_url(database), "files")


def content(seed: int, form: str = "bnexp predictions 1", of_trial: str = "", **changes: np.ndarray) -> bytes:
    """Of one validation and two test examples in two classes."""
    share = np.float32(seed / 100)
    tensors = {
        "validation_probabilities": np.array([[share, 1 - share]], np.float32),
        "validation_labels": np.array([0]),
        "test_probabilities": np.array([[share, 1 - share], [0.5, 0.5]], np.float32),
        "test_labels": np.array([0, 1]),
    }
    return save(tensors | changes, {"bnexp": json.dumps({"format": form, "trial_key": of_trial or key(seed)})})


def put(folder: Path, what: bytes) -> Kept:
    digest = hashlib.sha256(what).hexdigest()
    write_whole(folder / f"{digest}.safetensors", what)
    return Kept("predictions", digest, len(what))


def keeping(folder: Path) -> End:
    """Trials end well, and their predictions are kept."""

    def end(slot: int, config: TrialConfig) -> Outcome:
        return replace(good(slot, config), kept=(put(folder, content(config.seed)),))

    return end


def key(seed: int, **fields: object) -> str:
    return trial_key(TrialConfig.model_validate({"seed": seed, **fields}), "data")


def read(database: str, *numbers: int, root: Path | None = None) -> list[Predictions]:
    """The predictions of the trials with these seeds."""
    results = Results(database, root)
    try:
        return list(results.predictions([key(seed) for seed in numbers]))
    finally:
        results.close()


def wrong(database: str) -> dict[str, int]:
    return {title: found.wrong for title, found in check(database) if found.wrong}


def made(database: str, *numbers: int, name: str = "e") -> list[int]:
    """A database with these seeds trained, and what they keep."""
    registered = register(database, of(name, seeds(*numbers, **KEEP)))
    train(database, registered, keeping(files_of(database)))
    return registered


# Stored and read


def test_a_result_names_its_files_and_they_are_read_by_key(database: str) -> None:
    made(database, 1, 2)
    found = rows(database, "select trial_key, kind, bytes from kept_files order by trial_key")
    assert found == sorted((key(seed), "predictions", len(content(seed))) for seed in (1, 2))
    results = Results(database)
    both = list(results.predictions([key(2), key(1)]))
    assert [float(one.test[0, 0]) for one in both] == pytest.approx([0.02, 0.01])
    assert both[0].test.shape == (2, 2) and both[0].test_labels.tolist() == [0, 1]
    assert both[0].validation.shape == (1, 2) and both[0].validation_labels.tolist() == [0]
    told = results.trial(key(1)[:12])
    assert [(file["kind"], file["bytes"]) for file in told["files"]] == [("predictions", len(content(1)))]
    results.close()
    assert wrong(database) == {}


def test_the_row_of_a_file_is_written_with_the_result_or_not_at_all(database: str) -> None:
    """Twice the same kind cannot be; the result is not written either."""
    numbers = register(database, of("e", seeds(1, **KEEP)))
    kept = put(files_of(database), content(1))
    with pytest.raises(DatabaseError):
        train(database, numbers, lambda slot, config: replace(good(slot, config), kept=(kept, kept)))
    assert rows(database, "select count(*) from files") == [(0,)]
    assert rows(database, "select status from trials") == [("running",)]


def test_what_is_missing_or_damaged_is_said(tmp_path: Path) -> None:
    database = str(tmp_path / "here.db")
    made(database, 1, 2)
    numbers = register(database, of("f", seeds(5)))
    train(database, numbers)
    results = Results(database)
    with pytest.raises(
        MissingFileError, match=rf"kept of 1 of 2 trials, trial {key(5)[:12]} for one; use another --db"
    ):
        results.predictions([key(1), key(5)])
    path = files_of(database) / f"{hashlib.sha256(content(1)).hexdigest()}.safetensors"
    whole = path.read_bytes()
    cases = {
        whole[:-1]: "damaged: it has",
        whole[:-1] + b"x": "damaged: its content is not what was written",
        None: "No such file or directory.*bring the folder along with its database",
    }
    for damaged, said in cases.items():
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        with pytest.raises(MissingFileError, match=f"predictions of trial {key(1)[:12]} cannot be read: .*{said}"):
            read(database, 1)
        assert wrong(database) == {"kept files are there and whole": 1}
        path.write_bytes(whole)
    assert len(read(database, 1)) == 1


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (content(1, form="bnexp predictions 99"), "in the format 'bnexp predictions 99', which is unknown here"),
        (content(1, test_labels=np.array([0, 1, 2])), "holds no predictions"),
        (content(1, test_labels=np.array([0, 2])), "holds no predictions .labels from 0 to 2 of 2 classes"),
        (content(1, test_labels=np.array([0, -1])), "holds no predictions .labels from -1"),
        (content(1, test_labels=np.zeros(0, int), test_probabilities=np.zeros((0, 2), np.float32)), "holds no predi"),
        (content(1, of_trial="another"), "is of another trial, another"),
        (b"\x40\x0d\x03\x00\x00\x00\x00\x00" + b"[" * 200_000, "holds no predictions"),
        (save({"test_labels": np.array([1])}), "holds no predictions"),
        (b"no safetensors", "holds no predictions"),
        (b"", "holds no predictions"),
    ],
)
def test_what_holds_no_predictions_is_said(tmp_path: Path, what: bytes, said: str) -> None:
    database = str(tmp_path / "here.db")
    kept = put(files_of(database), what)
    train(database, register(database, of("e", seeds(1, **KEEP))), lambda slot, c: replace(good(slot, c), kept=(kept,)))
    with pytest.raises(MissingFileError, match=said):
        read(database, 1)


def test_what_a_database_says_names_no_file_elsewhere(tmp_path: Path) -> None:
    database = str(tmp_path / "here.db")
    made(database, 1)
    (tmp_path / "outside.safetensors").write_bytes(content(1))
    change(database, "update files set sha256 = '../outside'")
    with pytest.raises(MissingFileError, match=r"'\.\./outside' is no SHA-256"):
        read(database, 1)
    assert prune(database).files == 1 and (tmp_path / "outside.safetensors").exists()


def test_folders_are_beside_the_database_or_where_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for database in (str(tmp_path / "a.db"), "postgresql://user:secret@host/results"):
        for root in (None, tmp_path / "root"):
            folder = folder_for(database, root)
            assert folder.files == folder_of(parse_url(database), "files", root)
            assert folder.files == folder.path.with_name(folder.path.name.replace("checkpoints", "files"))
    assert folder_for(str(tmp_path / "a.db")).files == tmp_path / "a.db.files"


# What was trained without


def test_who_keeps_more_is_told_what_was_trained_without(tmp_path: Path) -> None:
    database = str(tmp_path / "here.db")
    trained = [*seeds(1, 2), *seeds(1, lr_multiplier=1e38)]  # the last one diverges, and would have nothing to keep
    train(database, register(database, of("e", trained)))
    wishes = [*seeds(1, 2, 3, **KEEP), *seeds(1, lr_multiplier=1e38, **KEEP)]
    store = Store(database)
    [number] = [store.register(of("f", wishes))]
    lacking = store.widen(number, wishes)
    assert lacking == {"without keeping their predictions; use another --db to train them again": 2}
    assert rows(database, "select seed from trials where keep <> '[]'") == [(3,)]
    store.close()


def test_what_is_still_to_be_trained_keeps_what_anybody_wants(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "here.db"))
    first, second = wanted(seed=1, keep=("weights",)), wanted(seed=1, keep=("predictions",))
    store.register(instance(first))
    number = store.register(instance(second, name="f"))
    assert store.widen(number, [second]) == {}
    store.plan(number, lambda trials: iter([list(range(len(trials)))]))
    job = store.take([number], ONE)
    assert job is not None and set(job.configs[0].keep) == {"weights", "predictions"}
    store.close()


# Whole databases


def test_check_finds_a_finished_trial_without_what_it_keeps(database: str) -> None:
    made(database, 1, 2)
    change(database, "delete from files where trial_id = (select id from trials where seed = 1)")
    assert wrong(database) == {"finished trials have what they keep": 1}
    change(database, "update trials set keep = '[]'")
    change(database, "update trials set status = 'diverged', diverged_at_step = 3 where seed = 2")
    assert wrong(database)["finished trials have what they keep"] == 1, "a diverged trial keeps nothing"


def test_merging_brings_rows_and_files(database: str, tmp_path: Path) -> None:
    there = str(tmp_path / "there.db")
    made(there, 1, 2, 3)
    made(database, 1)
    put(files_of(database), content(2))  # of a merge that was not written, say
    before = {path.name: path.stat().st_mtime_ns for path in files_of(database).iterdir()}
    merged = merge(database, there)
    assert (merged.results, merged.files, merged.missing) == (2, 2, [])
    assert wrong(database) == {}
    assert len(list(files_of(database).iterdir())) == 3
    assert all((files_of(database) / name).stat().st_mtime_ns == at for name, at in before.items())
    assert len(read(database, 1, 2, 3)) == 3
    again = merge(database, there)
    assert (again.files, again.missing) == (0, [])


def test_merging_brings_the_files_of_trials_that_ended_here_without(database: str, tmp_path: Path) -> None:
    """If they ended alike; a result that differs is of other weights."""
    there = str(tmp_path / "there.db")
    made(there, 1, 2)
    train(database, register(database, of("e", seeds(1, 2))))
    change(database, "update trials set test_accuracy = 0.25 where seed = 2")
    assert rows(database, "select distinct keep from trials") == [("[]",)]
    merged = merge(database, there)
    assert (merged.results, merged.files, list(merged.conflicts.values())) == (0, 1, [pytest.approx(0.5, abs=0.5)])
    assert rows(database, "select seed, keep from trials order by 1") == [(1, '["predictions"]'), (2, "[]")]
    configs = [
        json.loads(str(text)) for (text,) in rows(database, "select cast(config as text) from trials order by id")
    ]
    assert [config["keep"] for config in configs] == [["predictions"], []]
    assert wrong(database) == {} and len(read(database, 1)) == 1
    assert merge(database, there).files == 0
    [file] = files_of(database).iterdir()
    file.unlink()
    assert merge(database, there).files == 0 and wrong(database) == {}, "a file that was lost here comes again"


def test_merging_brings_no_row_of_a_file_that_is_gone_there_to_a_trial_that_ended_here(
    database: str, tmp_path: Path
) -> None:
    there = str(tmp_path / "there.db")
    made(there, 1)
    train(database, register(database, of("e", seeds(1))))
    shutil.rmtree(files_of(there))
    merged = merge(database, there)
    assert (merged.files, wrong(database)) == (0, {})
    assert rows(database, "select keep from trials") == [("[]",)]


def test_merging_says_which_files_are_gone_there_and_copies_none_that_is_damaged(tmp_path: Path) -> None:
    here, there = str(tmp_path / "here.db"), str(tmp_path / "there.db")
    made(there, 1, 2, 3)
    names = [f"{hashlib.sha256(content(seed)).hexdigest()}.safetensors" for seed in (1, 2, 3)]
    (files_of(there) / names[0]).unlink()
    (files_of(there) / names[1]).write_bytes(content(1))
    merged = merge(here, there)
    assert merged.files == 3 and sorted(merged.missing) == sorted(names[:2])
    assert [path.name for path in files_of(here).iterdir()] == [names[2]]
    assert wrong(here) == {"kept files are there and whole": 2}


def test_where_files_cannot_be_written_nothing_is_merged(tmp_path: Path) -> None:
    here, there = str(tmp_path / "here.db"), str(tmp_path / "there.db")
    made(there, 1)
    register(here)
    files_of(here).write_text("in the way")
    with pytest.raises(DatabaseError, match=r"nothing was merged: .* cannot be written"):
        merge(here, there)
    assert rows(here, "select count(*) from trials") == [(0,)]


def test_merging_finds_files_under_the_folder_that_was_told(tmp_path: Path) -> None:
    here, there, root = str(tmp_path / "here.db"), str(tmp_path / "there.db"), tmp_path / "root"
    numbers = register(there, of("e", seeds(1, **KEEP)))
    train(there, numbers, keeping(folder_of(parse_url(there), "files", root)))
    made(str(tmp_path / "beside.db"), 2)
    for other in (there, str(tmp_path / "beside.db")):
        assert merge(here, other, root).missing == []
    ours = folder_of(parse_url(here), "files", root)
    assert len(list(ours.iterdir())) == 2 and not files_of(here).exists()
    assert len(read(here, 1, 2, root=root)) == 2
    assert not [title for title, found in check(here, root) if found.wrong]
    assert [title for title, found in check(here) if found.wrong] == ["kept files are there and whole"]


def test_what_is_deleted_is_reclaimed_and_what_another_trial_names_stays(database: str) -> None:
    made(database, 1, 2)
    shared = rows(database, "select sha256, bytes from files order by sha256 limit 1")[0]
    others = register(database, of("f", seeds(7, **KEEP)))
    kept = Kept("predictions", *shared)
    train(database, others, lambda slot, config: replace(good(slot, config), kept=(kept,)))
    gone = forget(database, instances_of(database, "e", None))
    assert (gone.trials, gone.files) == (2, 2)
    assert rows(database, "select count(*) from files") == [(1,)]
    folder = files_of(database)
    [orphan] = [path for path in folder.iterdir() if path.name != f"{shared[0]}.safetensors"]
    expected = Pruned(folder, 1, orphan.stat().st_size, 0, 1)
    assert foresee(database) == expected and orphan.exists()
    assert prune(database) == expected
    assert [path.name for path in folder.iterdir()] == [f"{shared[0]}.safetensors"]
    assert wrong(database) == {}
    forget(database, instances_of(database, "f", None))
    assert prune(database).files == 1 and not folder.exists(), "nothing is left in it"
    assert prune(database) == Pruned(folder, 0, 0, 0, 0)


def test_what_a_worker_may_be_about_to_store_stays(tmp_path: Path) -> None:
    database = str(tmp_path / "here.db")
    made(database, 1)
    folder = files_of(database)
    orphan = folder / f"{'a' * 64}.safetensors"
    writing, abandoned = (folder / f"{letter * 64}.safetensors.{7}.tmp" for letter in "bc")
    foreign = folder / "notes.txt"
    for path in (orphan, writing, abandoned, foreign):
        path.write_text("12345")
    old = time.time() - HOUR - 60
    os.utime(abandoned, (old, old))
    train(database, register(database, of("busy", seeds(9))), never, leave="stay")
    found = foresee(database)
    assert (found.files, found.young, found.kept) == (1, 2, 1), "a cohort is under lease"
    os.utime(orphan, (old, old))
    assert foresee(database).files == 2
    os.utime(orphan)
    change(database, "update cohorts set status = 'done', worker = null, lease_until = null")
    found = prune(database)
    assert (found.files, found.bytes, found.young) == (2, 10, 1)
    assert writing.exists() and foreign.exists() and not orphan.exists() and not abandoned.exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    database = str(tmp_path / "here.db")
    made(database, 1)
    (tmp_path / "outside").write_text("precious")
    link = files_of(database) / f"{'a' * 64}.safetensors"
    link.symlink_to(tmp_path / "outside")
    assert prune(database).files == 1
    assert not link.is_symlink() and (tmp_path / "outside").read_text() == "precious"


# As a person does it

EXPERIMENT = """
experiments:
  six:
    model: {name: mlp, hidden: [8]}
    steps: 60
    norm: batch
    nonlinearity: relu
    keep: [weights, predictions]
    factors: {member: [1, 2, 3]}
    seeds: 10
  tiny: {model: {name: mlp, hidden: [8]}, steps: 60, norm: batch, nonlinearity: relu, seeds: 2, member: 1}
claims:
  ensemble:
    question: Is an ensemble better than its best member?
    section: "4.2.3"
    quote: we improve
    experiment: six
    arms: {treatment: {norm: batch}}
    estimator: {name: ensemble_gain}
    supported_if: {high: {at_most: 0}}
    refuted_if: {low: {at_least: 0}}
    supported: It is.
    refuted: It is not.
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, bnexp: Bnexp) -> Path:
    """A folder in which ensembles were trained and judged; tests copy it."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "experiments.yaml").write_text(EXPERIMENT)
    ended = bnexp("run", "six", "--workers", "1", cwd=folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def copied(ran: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ran, tmp_path / "copied"))


@pytest.mark.slow
def test_a_run_keeps_files_and_judges_by_them(copied: Path, bnexp: Bnexp) -> None:
    with sqlite3.connect(copied / "bnexp.db") as opened:
        [found] = opened.execute("select verdict, effect, n, trials from claim_verdicts").fetchall()
        [(files, trials)] = opened.execute("select count(*), count(distinct trial_key) from kept_files").fetchall()
        [key_of_one] = opened.execute("select min(trial_key) from kept_files").fetchone()
    assert found[0] == "supported" and found[1] < -1 and found[2:] == (10, 30)
    assert (files, trials) == (60, 30) and len(list((copied / "bnexp.db.files").iterdir())) == 60
    assert bnexp("db", "check", cwd=copied).code == 0
    shown = bnexp("show", key_of_one, cwd=copied).out
    assert "kept predictions (" in shown and "kept weights (" in shown
    assert f": {copied / 'bnexp.db.files'}/" in shown
    report = bnexp("report", "six", cwd=copied).out
    assert "Mean top-1 error of the ensembles" in report and "supported" in report
    assert "Top-1 error of the ensemble minus that of its member best on validation" in " ".join(report.split())


@pytest.mark.slow
def test_without_its_files_a_claim_is_not_tested_and_says_why(copied: Path, bnexp: Bnexp) -> None:
    shutil.move(copied / "bnexp.db.files", copied / "aside")
    report = " ".join(bnexp("report", "six", cwd=copied).out.split())
    assert "not tested" in report and "The predictions of trial" in report and "--checkpoints" in report
    assert bnexp("db", "check", cwd=copied).code == 1
    [key_of_one] = sqlite3.connect(copied / "bnexp.db").execute("select min(trial_key) from kept_files").fetchone()
    assert "is not there:" in bnexp("show", key_of_one, cwd=copied).out


@pytest.mark.slow
def test_deleting_points_to_prune_and_prune_asks(copied: Path, bnexp: Bnexp) -> None:
    deleted = bnexp("db", "delete", "six", "--yes", cwd=copied)
    assert "60 kept files" in " ".join(deleted.out.split()) and "`bnexp db prune` reclaims" in deleted.err
    asked = bnexp("db", "prune", cwd=copied)
    assert asked.code == 2 and "would remove 60 files (" in asked.err and "--yes removes without asking" in asked.err
    assert len(list((copied / "bnexp.db.files").iterdir())) == 60
    pruned = bnexp("db", "prune", "--yes", cwd=copied)
    assert pruned.code == 0 and pruned.out.startswith("removed 60 files (") and not (copied / "bnexp.db.files").exists()
    nothing = bnexp("db", "prune", cwd=copied)
    assert nothing.code == 0 and "no file without a trial" in nothing.err


@pytest.mark.slow
def test_members_of_one_seed_are_other_networks_and_one_member_is_the_same_trial(copied: Path, bnexp: Bnexp) -> None:
    ended = bnexp("run", "tiny", "--workers", "1", cwd=copied)
    assert ended.code == 0 and "trials to train" not in ended.err, "they are members 1 of `six`"
    query = "select count(distinct train_loss) from trial_results where seed = 0"
    assert sqlite3.connect(copied / "bnexp.db").execute(query).fetchone() == (3,)


@pytest.mark.slow
def test_files_are_kept_and_found_where_was_told(tmp_path: Path, bnexp: Bnexp) -> None:
    (tmp_path / "experiments.yaml").write_text(EXPERIMENT)
    root = ("--checkpoints", "root")
    assert bnexp("run", "six", "--workers", "1", *root, cwd=tmp_path).code == 0
    with sqlite3.connect(tmp_path / "bnexp.db") as opened:
        assert opened.execute("select verdict from claim_verdicts").fetchall() == [("supported",)]
    assert not (tmp_path / "bnexp.db.files").exists()
    assert len(list((tmp_path / "root").glob("*.files/*.safetensors"))) == 60
    assert "not tested" in bnexp("report", cwd=tmp_path).out
    assert "not tested" not in bnexp("report", *root, cwd=tmp_path).out
    assert bnexp("db", "check", cwd=tmp_path).code == 1 and bnexp("db", "check", *root, cwd=tmp_path).code == 0
    assert "60 files of trials stay" in bnexp("db", "prune", *root, cwd=tmp_path).err


@pytest.mark.slow
def test_where_nothing_can_be_kept_trials_fail_with_a_sentence(tmp_path: Path, bnexp: Bnexp) -> None:
    (tmp_path / "experiments.yaml").write_text(EXPERIMENT)
    (tmp_path / "bnexp.db.files").write_text("in the way")
    ended = bnexp("run", "six", "--seeds", "1", "--set", "member=1", "--workers", "1", cwd=tmp_path)
    said = " ".join(ended.err.split())
    assert ended.code == 1 and "cannot be kept in" in said and "1 failed" in said
    with sqlite3.connect(tmp_path / "bnexp.db") as opened:
        assert opened.execute("select status, test_loss from trials").fetchall() == [("failed", None)]
