"""Training that is kept on disk and goes on from there, to the same numbers, bit by bit."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bnexp.artifacts import Folder
from bnexp.config import TrialConfig
from bnexp.engine import checkpoints
from bnexp.engine.checkpoints import SHARE, Keeper
from bnexp.engine.program import Program
from bnexp.engine.trainer import Trainer
from bnexp.records import Checkpoint, Note, Outcome, Progress, Record, Resumed, Saved
from tests.cohorts import data_of, norm_params, trial
from tests.conftest import environment

STEPS = 100


@pytest.fixture(autouse=True)
def always_due(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep training at every opportunity."""
    if "measured" not in request.keywords:
        monkeypatch.setattr(Keeper, "due", lambda keeper, size: True)


def cohort(**fields: Any) -> list[TrialConfig]:
    """Two seeds of three trials, one of which diverges."""
    settings: dict[str, Any] = {"steps": STEPS, "eval_every": 60, "model": {"hidden": [20, 20]}} | fields
    rates = [{"lr_multiplier": 1.0}, {"lr_multiplier": 2.0, "dropout": 0.3}, {"lr_multiplier": 1e30}]
    return [trial(settings, **rate, weight_decay=1e-3, seed=seed) for seed in (1, 2) for rate in rates]


def place(folder: Path, trials: Sequence[TrialConfig], resume: bool = True, program: str = "p") -> Checkpoint:
    return Checkpoint(folder / "cohort-1.safetensors", tuple(map(str, trials)), program, resume)


def train(trials: Sequence[TrialConfig], checkpoint: Checkpoint | None = None, stop_after: int = 10**9) -> list[Record]:
    """What a trainer tells, up to its `stop_after`th checkpoint."""
    records: list[Record] = []
    for record in Trainer().train(trials, data_of(trials[0].dataset, trials[0].precision), checkpoint):
        records.append(record)
        if isinstance(record, Saved) and sum(isinstance(r, Saved) for r in records) == stop_after:
            break
    return records


def outcomes(trials: Sequence[TrialConfig], *told: Sequence[Record]) -> dict[TrialConfig, str]:
    """Every trial's numbers, as text: exact, and NaN is equal to itself."""
    ended = [record for records in told for record in records if isinstance(record, Outcome)]
    found = {trials[record.slot]: str(replace(record, slot=0, resumed_at_step=None)) for record in ended}
    assert len(found) == len(ended), "a trial ended twice"
    return found


OPTIMIZERS = [
    pytest.param({"optimizer": {"name": "adam"}}, id="adam"),
    pytest.param({"optimizer": {"name": "nesterov"}}, id="nesterov", marks=pytest.mark.slow),
]


@cache
def untouched(trials: tuple[TrialConfig, ...]) -> dict[TrialConfig, str]:
    """The numbers of a cohort that is trained from its beginning to its end, without checkpoints."""
    return outcomes(trials, train(trials))


@pytest.mark.parametrize("stop_after", [1, 10, 13])
@pytest.mark.parametrize("kind", [*norm_params(), *OPTIMIZERS])
def test_it_goes_on_to_the_same_numbers(tmp_path: Path, kind: dict[str, Any], stop_after: int) -> None:
    fields: dict[str, Any] = kind | {"probes": ("moments", "percentiles")}
    fields |= {"schedule": {"name": "exponential", "decay": 0.5, "every": 30.0}}
    trials = cohort(**fields)
    undisturbed = untouched(tuple(trials))
    before = train(trials, place(tmp_path, trials), stop_after)
    after = train(trials, place(tmp_path, trials))
    left = [slot for slot, one in enumerate(trials) if one not in outcomes(trials, before)]
    assert any(isinstance(record, Resumed) for record in after)
    resumed = {r.slot: r.resumed_at_step for r in after if isinstance(r, Outcome)}
    assert all(resumed[slot] is not None for slot in left)
    # What ended before, but was never stored, is trained again from its beginning.
    assert outcomes(trials, after) == undisturbed and outcomes(trials, before).items() <= undisturbed.items()


def test_checkpoints_lie_between_evaluations_too(tmp_path: Path) -> None:
    """Where these are further apart than a stretch of steps: at 86, 138, 221, 354 and 400."""
    trials = cohort(steps=400, eval_every=400)[:3]
    where, steps, files = place(tmp_path, trials, resume=False), set(), []
    undisturbed = untouched(tuple(trials))
    for record in Trainer().train(trials, data_of(trials[0].dataset, trials[0].precision), where):
        if isinstance(record, Saved):
            files.append(where.path.read_bytes())
    for file in files[10:19]:
        where.path.write_bytes(file)
        after = train(trials, place(tmp_path, trials))
        assert outcomes(trials, after) == undisturbed
        steps |= {record.resumed_at_step for record in after if isinstance(record, Outcome)}
    assert steps == {None, 86, 138, 202, 221, 285, 349, 354, 400}, "None: those that had diverged by then"


def test_it_goes_on_with_those_that_are_left(tmp_path: Path) -> None:
    """One trial of the cohort has ended and is stored; another cohort member is new to the checkpoint."""
    trials = cohort(norm="batch")
    undisturbed = untouched(tuple(trials))
    train(trials[:4], place(tmp_path, trials[:4]), stop_after=3)
    left = [trials[1], trials[3], trials[4]]
    after = train(left, place(tmp_path, left))
    assert outcomes(left, after) == {one: undisturbed[one] for one in left}
    steps = {r.slot: r.resumed_at_step for r in after if isinstance(r, Outcome)}
    assert steps[0] == steps[1] is not None and steps[2] is None
    trained = sum(record.steps for record in after if isinstance(record, Progress))
    assert trained == 3 * STEPS - sum(r.step * r.trials for r in after if isinstance(r, Resumed))


def damaged(content: bytes, how: str) -> bytes:
    at = random.Random(how).randrange(len(content) // 2, len(content))
    return {
        "empty": b"",
        "truncated": content[:at],
        "header truncated": content[:20],
        "a bit": content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
        "longer": content + b"x",
        "zeros": bytes(len(content)),
        "another file": b"\x93NUMPY" + content,
        "huge header": b"\xff" * 8 + content[8:],
    }[how]


@pytest.mark.parametrize(
    "how", ["empty", "truncated", "header truncated", "a bit", "longer", "zeros", "another file", "huge header"]
)
def test_a_damaged_checkpoint_is_set_aside(tmp_path: Path, how: str) -> None:
    trials = cohort()[:2]
    where = place(tmp_path, trials)
    train(trials, where, stop_after=3)
    where.path.write_bytes(damaged(where.path.read_bytes(), how))
    after = train(trials, where)
    [note] = [record.sentence for record in after if isinstance(record, Note)]
    assert "is damaged" in note and "starts again" in note and "\n" not in note
    assert where.path.with_name("cohort-1.safetensors.damaged").exists()
    assert not any(isinstance(record, Resumed) for record in after)
    assert outcomes(trials, after) == untouched(tuple(trials))


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    """A file of pickles, as torch.save writes, is damaged, whatever it would do."""
    trials = cohort()[:1]
    where = place(tmp_path, trials)
    where.path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
    assert any("is damaged" in record.sentence for record in train(trials, where) if isinstance(record, Note))
    assert not (tmp_path / "owned").exists()


def test_another_program_starts_again(tmp_path: Path) -> None:
    trials = cohort()[:1]
    train(trials, place(tmp_path, trials), stop_after=3)
    after = train(trials, place(tmp_path, trials, program="another"))
    [note] = [record.sentence for record in after if isinstance(record, Note)]
    assert "is by p, torch" in note and "not another, torch" in note
    assert not any(isinstance(record, Resumed) for record in after)


def test_what_is_there_is_left_alone_unless_told(tmp_path: Path) -> None:
    trials = cohort()[:1]
    train(trials, place(tmp_path, trials), stop_after=3)
    assert not any(isinstance(r, Resumed) for r in train(trials, place(tmp_path, trials, resume=False)))
    others = cohort(norm="batch")[:1]
    train(trials, place(tmp_path, trials), stop_after=3)
    assert not any(isinstance(r, Resumed | Note) for r in train(others, place(tmp_path, others))), "of other trials"


def test_where_nothing_can_be_written_training_goes_on_and_says_so_once(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    trials = cohort()[:2]
    told = train(trials, place(tmp_path / "folder", trials))
    [note] = [record.sentence for record in told if isinstance(record, Note)]
    assert "cannot be written" in note and "training goes on without" in note
    assert note.endswith("make room there, or name another folder with --checkpoints")
    assert outcomes(trials, told) == untouched(tuple(trials))
    assert not any(isinstance(record, Saved) for record in told)


def test_a_file_of_the_name_is_whole_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is forced to disk under another name, and then renamed."""
    trials = cohort()[:1]
    where = place(tmp_path, trials)
    did: list[str] = []
    force, save, move = checkpoints.force, checkpoints.save_file, Path.replace
    monkeypatch.setattr(checkpoints, "save_file", lambda *given: (did.append("write"), save(*given)))
    monkeypatch.setattr(checkpoints, "force", lambda path: (did.append(f"force {path.suffix}"), force(path)))
    monkeypatch.setattr(Path, "replace", lambda path, to: (did.append("rename"), move(path, to))[1])
    train(trials, where, stop_after=1)
    assert did == ["write", "force .safetensors", "rename", "force "]
    assert list(tmp_path.iterdir()) == [where.path]
    assert set(load_file(where.path)) >= {"records", "diverged_at", "velocity 0"}


KILLED_WHILE_IT_WRITES = """
import resource, signal, sys
from pathlib import Path

import torch

from bnexp.engine.checkpoints import Snapshot, _write

signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
_write(Path(sys.argv[1]), Snapshot(1, [], {"weight": torch.zeros(1000)}, [], []), "p")
"""


def test_what_a_killed_process_was_writing_is_tidied_with_its_cohort(tmp_path: Path) -> None:
    """Whatever safetensors calls the file meanwhile."""
    path = tmp_path / "kept" / "cohort-1.safetensors"
    command = [sys.executable, "-c", KILLED_WHILE_IT_WRITES, str(path)]
    killed = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGXFSZ, killed.stderr
    [left] = [found for found in path.parent.rglob("*") if found.is_file()]
    assert left.stat().st_size <= 1000 and not path.exists()
    Folder(path.parent).tidy({1})
    assert left.exists(), "it may be written now"
    Folder(path.parent).tidy(set())
    assert not path.parent.exists()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_it_is_forced_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[Path] = []
    force = os.fsync
    names = Path("/proc/self/fd")
    monkeypatch.setattr(os, "fsync", lambda number: (forced.append((names / str(number)).readlink()), force(number)))
    trials = cohort()[:1]
    train(trials, place(tmp_path, trials), stop_after=1)
    assert [path.name for path in forced] == ["cohort-1.safetensors", tmp_path.name] and forced[1] == tmp_path
    assert forced[0].parent.suffix == ".tmp"


def test_a_link_in_its_way_is_not_followed(tmp_path: Path) -> None:
    outside, kept = tmp_path / "outside", tmp_path / "kept"
    outside.write_text("precious")
    kept.mkdir()
    trials = cohort()[:1]
    where = place(kept, trials, resume=False)
    where.path.symlink_to(outside)
    train(trials, where, stop_after=3)
    assert outside.read_text() == "precious" and not where.path.is_symlink()


def test_another_device_starts_again(tmp_path: Path) -> None:
    trials = cohort()[:1]
    train(trials, place(tmp_path, trials), stop_after=3)
    snapshot, [note] = Keeper(place(tmp_path, trials), "another device").load()
    assert snapshot is None and "not p, torch" in note.sentence


def test_everything_that_steps_have_left_is_kept() -> None:
    trials = cohort(norm="batch")
    program = Program(trials, data_of(trials[0].dataset, trials[0].precision))
    names = set(program.kept())
    assert {"diverged_at", "diverged_loss", "velocity 0"} <= names
    assert len([name for name in names if "moving" in name]) == 2
    assert len([name for name in names if "velocity" in name]) == len(list(program.model.parameters()))
    program.run(1, 4)
    kept = {name: tensor.clone() for name, tensor in program.kept().items()}
    program.run(5, 4)
    program.put_back(kept, 4)
    assert all(torch.equal(tensor.nan_to_num(), kept[name].nan_to_num()) for name, tensor in program.kept().items())
    assert int(program.now) == 4


@pytest.mark.measured
@pytest.mark.parametrize("cost", [0.001, 0.1, 5.0])
def test_writing_takes_two_percent_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(checkpoints, "time", clock)
    monkeypatch.setattr(checkpoints, "_write", lambda *_: setattr(clock, "now", clock.now + cost))
    keeper = Keeper(place(tmp_path, []), "cpu")
    spent, saves = 0.0, []
    for _ in range(40_000):
        clock.now += 0.05
        if keeper.due(4_000_000):
            list(keeper.save(checkpoints.Snapshot(1, [], {}, [], [])))
            spent += cost
            saves.append(clock.now - 1000)
    elapsed = clock.now - 1000
    assert spent <= SHARE * elapsed + (cost if cost > 1 else 0), "but for the first, whose cost nobody knew"
    assert spent >= 0.8 * min(SHARE * elapsed, cost * 40_000), "and it is used"
    assert saves[0] < 15


def test_every_precision_is_kept(tmp_path: Path) -> None:
    """In float64 numbers need no conversion, and layers could share their memory."""
    trials = cohort(precision="float64")[:3]
    told = train(trials, place(tmp_path, trials))
    assert sum(isinstance(record, Saved) for record in told) > 1
    assert outcomes(trials, told) == untouched(tuple(trials))
