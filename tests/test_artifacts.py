"""Files of a database are found only in its own folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from bnexp.artifacts import Folder, folder_for
from bnexp.config import TrialConfig
from bnexp.db.rows import Job

JOB = Job(7, [1], [TrialConfig()], 10, keys=["k"], checkpoint="cohort-7.safetensors")


def test_a_checkpoint_lies_in_the_folder(tmp_path: Path) -> None:
    found = Folder(tmp_path / "kept").checkpoint(JOB, "bnexp")
    assert found.path == tmp_path / "kept" / "cohort-7.safetensors"
    assert (found.keys, found.program, found.resume) == (("k every 50 ",), "bnexp", True)
    wider = replace(JOB, configs=[TrialConfig(eval_every=7, probes=("moments",))])
    assert Folder(tmp_path / "kept").checkpoint(wider, "bnexp").keys == ("k every 7 moments",), (
        "curves would not be whole"
    )
    assert not (tmp_path / "kept").exists(), "it is made when the first is written"


@pytest.mark.parametrize(
    "said",
    [None, "", "/etc/passwd", "../cohort-7.safetensors", "a/../../cohort-7.safetensors", "cohort-8.safetensors"],
)
def test_what_the_database_says_names_no_file(tmp_path: Path, said: str | None) -> None:
    """Whoever may write the database makes nobody read a file of his choice."""
    found = Folder(tmp_path).checkpoint(replace(JOB, checkpoint=said), "bnexp")
    assert found.path == tmp_path / "cohort-7.safetensors" and not found.resume


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "outside").write_text("precious")
    (tmp_path / "kept" / "cohort-7.safetensors").symlink_to(tmp_path / "outside")
    folder = Folder(tmp_path / "kept")
    assert not folder.checkpoint(JOB, "bnexp").resume
    folder.remove(JOB)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").write_text("too")
    (tmp_path / "kept" / "cohort-7.safetensors.a.tmp").symlink_to(tmp_path / "folder")
    folder.tidy(set())
    assert (tmp_path / "folder" / "precious").exists() and not folder.path.exists()
    assert (tmp_path / "outside").read_text() == "precious"


def test_tidying_removes_what_is_of_no_use_and_nothing_else(tmp_path: Path) -> None:
    kept = ["cohort-2.safetensors", "cohort-2.safetensors.9.tmp", "notes.txt", "cohort-x.safetensors", "cohort-1"]
    kept += ["cohort-33.safetensors.damaged"]
    gone = ["cohort-1.safetensors", "cohort-1.safetensors.77.tmp", "cohort-33.safetensors"]
    for name in kept + gone:
        (tmp_path / name).write_text("")
    for number in (1, 2):
        (tmp_path / f"cohort-{number}.safetensors.k3_a.tmp").mkdir()
        (tmp_path / f"cohort-{number}.safetensors.k3_a.tmp" / ".tmpAb1").write_text("half of it")
    kept.append("cohort-2.safetensors.k3_a.tmp")
    Folder(tmp_path).tidy({2})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    Folder(tmp_path / "none").tidy(set())


def test_each_database_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = "postgresql://user:secret@host:5433/results"
    assert folder_for("a.db").path == tmp_path / "a.db.checkpoints"
    assert folder_for(server).path.parent == tmp_path / "cache" / "bnexp"
    named = [
        folder_for(database, tmp_path / "kept").path for database in ("a.db", "b.db", str(tmp_path / "a.db"), server)
    ]
    assert {path.parent for path in named} == {tmp_path / "kept"}
    assert named[0] == named[2] and len(set(named)) == 3
    assert folder_for(server.replace("secret", "other")).path == folder_for(server).path
    assert not any("secret" in str(path) for path in named)


def test_a_servers_folder_is_the_same_however_its_address_is_spelled() -> None:
    spelled = [
        "postgresql://host/results",
        "postgresql+psycopg://ann:secret@HOST:5432/results?sslmode=require",
        "postgresql:///results?host=host&port=5432",
        "postgresql://ben@/?host=host&dbname=results",
    ]
    others = ["postgresql://host:5433/results", "postgresql://host/other", "postgresql://other/results"]
    [ours] = {folder_for(database).path for database in spelled}
    assert len({folder_for(database).path for database in others} - {ours}) == 3
