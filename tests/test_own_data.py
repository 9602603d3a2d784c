"""Datasets that functions of a person's own return: read, checked, known by their content."""

import importlib
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from bnexp.cli import main
from bnexp.config import TrialConfig
from bnexp.data.batches import to_device
from bnexp.data.dataset import source
from bnexp.db.stored import Stored
from bnexp.engine.trainer import train_cohort
from bnexp.enrolling import instantiate, rehearse
from bnexp.errors import UsageError
from bnexp.executors import Event, Failed, Idle, Told
from bnexp.executors.local import LocalExecutor
from bnexp.experiments import load
from bnexp.identity import trial_key
from bnexp.records import Outcome
from bnexp.verify import Verification
from tests.attacks import invoke
from tests.documented import ROOT

PAGE = (ROOT / "docs" / "howto" / "own.md").read_text()
DATASET, *_ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
EXAMPLE, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
OTHERS = """


def random(): return [np.random.default_rng().integers(0, 9, (500, 8, 8)).astype(np.uint8), *stripes()[1:]]
def raises(): raise OSError("no such disk")
def three(): return stripes()[:3]
def nothing(): return None
def floats(): return [stripes()[0] / 255, *stripes()[1:]]
def flat(): return [stripes()[0].reshape(500, 64), *stripes()[1:]]
def other_shape(): return [stripes()[0][:, 1:], *stripes()[1:]]
def fewer_labels(): return [stripes()[0], stripes()[1][1:], *stripes()[2:]]
def no_labels(): return [stripes()[0], np.zeros(0, int), *stripes()[2:]]
def negative(): return [stripes()[0], stripes()[1] - 1, *stripes()[2:]]
def real_labels(): return [stripes()[0], stripes()[1] * 0.5, *stripes()[2:]]
def one_class(): return [stripes()[0], stripes()[1] * 0, stripes()[2], stripes()[3] * 0]
def no_test(): return [*stripes()[:2], stripes()[2][:0], stripes()[3][:0]]
def two(): return [part[:2] for part in stripes()]
def asks(data_dir): return stripes() if data_dir is None else np.load(data_dir / "it.npz").values()
def narrow(): return [part.astype(np.uint16) if part.ndim == 1 else part for part in stripes()]
def needs(more): return stripes()
import os
def by_process(): return [stripes()[0] + np.uint8(os.getpid() % 251), *stripes()[1:]]
known = stripes()
"""


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module `ours`, which we are in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "ours.py").write_text(DATASET + OTHERS)
    yield tmp_path / "ours.py"
    sys.modules.pop("ours", None)


def test_the_pages_example_is_a_dataset(ours: Path) -> None:
    """Its stripes are told apart once they are learned."""
    ours.with_name("e.yaml").write_text(EXAMPLE)
    instance = instantiate(load(ours.with_name("e.yaml")).experiments["striped"], "", None)
    rehearse(instance, None)
    data = source("ours:stripes").read()
    assert (data.classes, data.scale, instance.margin) == (2, 255.0, 1.0)
    assert (len(data.images), len(data.test_images), data.held_out) == (500, 100, 100)
    [first, *_] = instance.trials
    assert first.fingerprint == source("ours:stripes").fingerprint() and first.config.sources == ()
    loaded = to_device(data, 0, torch.float32, torch.device("cpu"))
    [final] = [one.final for one in train_cohort([first.config], loaded) if isinstance(one, Outcome)]
    assert final is not None and final.test_accuracy > 0.9


def test_a_dataset_is_known_by_what_is_in_it(ours: Path) -> None:
    """Not by its source, nor by the type of its labels."""
    before = source("ours:stripes").fingerprint()
    assert source("ours:narrow").fingerprint() == before
    for edit, same in (
        ("# edited", True),
        ("stripes_ = stripes\ndef stripes(): return stripes_()[:3] + ([1] * 100,)", False),
    ):
        ours.write_text(f"{DATASET}\n{edit}\n")
        sys.modules.pop("ours")
        importlib.invalidate_caches()
        assert (source("ours:stripes").fingerprint() == before) is same


def test_a_function_may_ask_for_the_folder(ours: Path) -> None:
    few = source("ours:stripes").read()
    parts = (few.images, few.labels, few.test_images, few.test_labels)
    np.savez(ours.with_name("it.npz"), *(part[:9] for part in parts if isinstance(part, np.ndarray)))
    assert len(source("ours:asks").read().images) == 500
    assert len(source("ours:asks", ours.parent).read().images) == 9


UNFIT = {
    "random": "it returns other arrays each time that it is called; seed what it draws",
    "raises": "OSError: no such disk",
    "three": "test images and test labels, not 3 things",
    "nothing": "TypeError: ",
    "floats": "train images must be uint8 [examples, height, width]",
    "flat": "not uint8 [500, 64]",
    "other_shape": "train images are (7, 8), test images (8, 8)",
    "fewer_labels": "500 train images but 499 labels",
    "no_labels": "500 train images but 0 labels",
    "negative": "train labels must be 0 or more, not -1",
    "real_labels": "train labels must be whole numbers [examples], not float64 [500]",
    "one_class": "every label is 0",
    "no_test": "0 test images, and at least 1 are needed",
    "two": "2 train images, and at least 3 are needed",
    "needs": "missing 1 required positional argument: 'more'",
    "known": "it is no function",
    "missing": "ours.py) has no 'missing'",
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_no_dataset_is_refused(ours: Path, name: str) -> None:
    with pytest.raises(UsageError, match=re.escape(UNFIT[name])) as refused:
        source(f"ours:{name}").fingerprint()
    assert str(refused.value).startswith(f"ours:{name}: ")


def test_commands_refuse_it_in_a_sentence(ours: Path) -> None:
    ours.with_name("e.yaml").write_text(EXAMPLE)
    checked = invoke("data", "check", "ours:stripes")
    assert checked.out == f"{ours}: 500 training and 100 test examples of 2 classes can be read\n"
    for name, said in (("raises", "no such disk"), ("random", "seed what it draws")):
        refused = invoke("data", "check", f"ours:{name}")
        assert refused.code == 2 and said in refused.err
    for dataset, said in (
        ("ours:three", "not 3 things"),
        ("gone:it", "no module 'gone'"),
        ("ours:a:b", "no such dataset"),
    ):
        refused = invoke("plan", "striped", "--file", "e.yaml", "--set", f"dataset={dataset}")
        assert refused.code == 2 and said in refused.err


def test_a_worker_trains_on_nothing_but_what_its_trials_are_known_by(ours: Path) -> None:
    """Neither on what the function returns there instead, nor on what it has of the same name and another content."""
    same = source("ours:stripes").fingerprint()
    given = [("by_process", source("ours:by_process").fingerprint()), ("stripes", same), ("stripes", "another")]
    executor = LocalExecutor("cpu", 1, None)
    try:
        until_idle(executor)
        for name, fingerprint in given:
            config = TrialConfig.model_validate({"dataset": f"ours:{name}", "steps": 1, "model": {"hidden": [2]}})
            executor.submit(0, [config], fingerprint=fingerprint)
            told = until_idle(executor)
            if fingerprint == same:
                assert [one for one in told if isinstance(one, Told) and isinstance(one.record, Outcome)]
            else:
                [failed, _] = told
                assert isinstance(failed, Failed) and failed.error.startswith(f"ours:{name}: it returned other arrays")
    finally:
        executor.close()


def until_idle(executor: LocalExecutor) -> list[Event]:
    """What happens until the worker waits for a cohort."""
    events: list[Event] = []
    while not any(isinstance(one, Idle) for one in events):
        events += executor.poll(1.0)
    return events


def test_a_run_stores_no_result_on_data_that_are_others_in_its_workers(ours: Path) -> None:
    ours.with_name("e.yaml").write_text(EXAMPLE)
    sets = [part for one in ("steps=1", "model.hidden=[2]", "dataset=ours:by_process") for part in ("--set", one)]
    ended = CliRunner().invoke(main, ["run", "striped", "--file", "e.yaml", "--workers", "1", "--seeds", "1", *sets])
    assert ended.exit_code == 1 and "Failed: ours:by_process: it returned other arrays" in ended.stderr
    with closing(sqlite3.connect("bnexp.db")) as database:
        found = database.execute("select status, train_loss from trial_results").fetchall()
    assert found == [("failed", None)] * 2


def test_verify_says_what_is_not_what_it_was(ours: Path) -> None:
    config = TrialConfig(dataset="ours:stripes")
    stored = [
        Stored(trial_key(config, each), config.model_dump(mode="json"), each, Outcome(0, "diverged", ()), "2", "cpu")
        for each in ("another", source("ours:stripes").fingerprint())
    ]

    def said() -> list[str]:
        work = Verification(stored, None)
        return [work._compared[trial.key].where if trial.key in work._compared else "" for trial in stored]

    assert said() == ["the dataset differs: ours:stripes is not what it was trained on", ""]
    ours.unlink()
    sys.modules.pop("ours")
    importlib.invalidate_caches()
    assert all(where.startswith("ours:stripes: no module 'ours' with a file is in") for where in said())
