"""What is kept of finished trials: files from which plain torch.nn computes their predictions again."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from bnexp.config import TrialConfig
from bnexp.engine.trainer import Trainer
from bnexp.errors import BnexpError
from bnexp.normalizers import BatchNormOptions, GroupNormOptions
from bnexp.records import Checkpoint, Kept, Outcome
from tests.cohorts import NORMS, SMALL, data_of, trial, watch

BOTH = ("weights", "predictions")


def cohort(norm: str = "batch", **fields: Any) -> list[TrialConfig]:
    """Two seeds of two trials, and one that diverges without normalization."""
    base = {**SMALL, **NORMS[norm], "nonlinearity": "relu", "steps": 25, "eval_every": 25, "keep": BOTH} | fields
    rates = [{"lr_multiplier": 1.0}, {"lr_multiplier": 2.0, "dropout": 0.3}]
    trials = [trial(base, **rate, seed=seed) for seed in (1, 2) for rate in rates]
    return [*trials, trial(base, lr_multiplier=1e38, seed=3)]


def train(trials: Sequence[TrialConfig], folder: Path | None) -> dict[int, Outcome]:
    """The outcomes by slot, of trials whose keys are `key 0` and so on."""
    where = Path("none") if folder is None else folder
    keys = tuple(f"{slot:012} every 25 " for slot in range(len(trials)))
    checkpoint = Checkpoint(where / "cohort-1.safetensors", keys, "p", resume=False, files=folder)
    told = Trainer().train(trials, data_of(trials[0].dataset, trials[0].precision), checkpoint)
    return {record.slot: record for record in told if isinstance(record, Outcome)}


def load(folder: Path, outcome: Outcome, kind: str) -> dict[str, Tensor]:
    [kept] = [kept for kept in outcome.kept if kept.kind == kind]
    path = folder / f"{kept.sha256}.safetensors"
    content = path.read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (kept.sha256, kept.bytes)
    return load_file(path)


def network(config: TrialConfig, weights: dict[str, Tensor]) -> nn.Module:
    """The network as anyone would write it, with these weights."""
    layers: list[nn.Module] = []
    names = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    for name in sorted(names, key=lambda name: [int(place) for place in name.split(".")]):
        outer, dot, place = name.rpartition(".")
        own, after = weights[f"{name}.weight"], f"{outer}{dot}{int(place) + 1}"
        units, inputs = own.shape
        linear = nn.Linear(inputs, units, dtype=own.dtype)
        linear.weight.data, linear.bias.data = own, torch.zeros(units, dtype=own.dtype)
        layers.append(linear)
        if f"{after}.gamma" not in weights:
            linear.bias.data = weights[f"{after}.bias"][0]
        else:
            layers.append(normalizer(config, {part: weights.get(f"{after}.{part}") for part in PARTS}))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers[:-1], nn.Softmax(1)).eval()


PARTS = ("gamma", "beta", "gathered", "batches")


def normalizer(config: TrialConfig, parts: dict[str, Any]) -> nn.Module:
    units, dtype = parts["gamma"].shape[1], parts["gamma"].dtype
    norm: nn.BatchNorm1d | nn.GroupNorm
    if isinstance(config.norm, BatchNormOptions):
        norm = nn.BatchNorm1d(units, config.norm.eps, dtype=dtype)
        norm.running_mean, norm.running_var = parts["gathered"] / parts["batches"]
    else:
        assert isinstance(config.norm, GroupNormOptions)
        norm = nn.GroupNorm(config.norm.groups, units, config.norm.eps, dtype=dtype)
    norm.weight.data, norm.bias.data = parts["gamma"][0], parts["beta"][0]
    return norm


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_kept_weights_compute_the_kept_predictions_again(tmp_path: Path, norm: str, precision: str) -> None:
    trials = cohort(norm, precision=precision)
    ended = train(trials, tmp_path / "files")
    data = data_of("digits", precision)
    for slot in range(4):
        predictions = load(tmp_path / "files", ended[slot], "predictions")
        plain = network(trials[slot], load(tmp_path / "files", ended[slot], "weights"))
        for name, examples in {"validation": data.validation, "test": data.test}.items():
            kept = predictions[f"{name}_probabilities"]
            assert kept.dtype == torch.float32 and kept.shape == (len(examples), 10)
            assert torch.equal(predictions[f"{name}_labels"], examples.y)
            torch.testing.assert_close(kept, plain(examples.x).detach().float(), rtol=2e-5, atol=2e-6)
        final = ended[slot].final
        assert final is not None
        right = (predictions["test_probabilities"].argmax(1) == predictions["test_labels"]).double().mean()
        assert float(right) == final.test_accuracy


def test_the_twin_predicts_the_same(tmp_path: Path) -> None:
    """It was trained by itself, and says so by its losses."""
    trials = cohort(precision="float64")[:3]
    _, _, twins = watch(trials)
    ended = train(trials, tmp_path)
    for slot, twin in enumerate(twins):
        for _ in range(trials[slot].steps):
            twin.step()
        predictions, final = load(tmp_path, ended[slot], "predictions"), twin.final()
        losses = [
            float(nll_loss(predictions[f"{name}_probabilities"].double().log(), predictions[f"{name}_labels"]))
            for name in ("validation", "test")
        ]
        assert losses == pytest.approx([final.validation_loss, final.test_loss], rel=1e-6)


def test_files_are_of_finished_trials_and_say_whose_they_are(tmp_path: Path) -> None:
    ended = train(cohort("none"), tmp_path / "files")
    assert (ended[4].status, ended[4].kept) == ("diverged", ())
    named = {kept.sha256 for outcome in ended.values() for kept in outcome.kept}
    assert {path.name for path in (tmp_path / "files").iterdir()} == {f"{name}.safetensors" for name in named}
    assert len(named) == 8
    for slot in range(4):
        for kept in ended[slot].kept:
            with safe_open(tmp_path / "files" / f"{kept.sha256}.safetensors", "pt") as file:
                said = json.loads(file.metadata()["bnexp"])
            assert said == {"format": f"bnexp {kept.kind} 1", "trial_key": f"{slot:012}"}


def test_no_more_is_kept_than_was_asked_for(tmp_path: Path) -> None:
    for keep in ((), ("weights",), ("predictions",)):
        ended = train(cohort(keep=keep), tmp_path / "files")
        assert {tuple(kept.kind for kept in ended[slot].kept) for slot in range(4)} == {keep}
        assert (tmp_path / "files").exists() == bool(keep)
    assert all(outcome.kept == () for outcome in train(cohort(), None).values()), "no place was told"


def test_the_same_trial_makes_the_same_files_in_any_company(tmp_path: Path) -> None:
    trials = cohort()
    together = train(trials, tmp_path)
    alone = train(trials[1:2], tmp_path)[0]
    again = train(trials[:2], tmp_path)[1]
    by_kind: dict[str, list[Kept]] = {kept.kind: [kept] for kept in together[1].kept}
    for kept in again.kept:
        assert by_kind[kept.kind] == [kept]
    for kind in BOTH:  # its key is another, since it has another slot
        one, other = load(tmp_path, together[1], kind), load(tmp_path, alone, kind)
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_what_cannot_be_written_fails_with_a_sentence(tmp_path: Path) -> None:
    """A result without what was asked for would lie."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BnexpError, match=r"trial 000000000000: its weights cannot be kept in .*file.*; make room"):
        train(cohort(), tmp_path / "file" / "files")


LIMITED = """
import resource, signal, sys
from pathlib import Path
from bnexp.files import write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
write_whole(Path(sys.argv[1]), b"short")
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    write_whole(Path(sys.argv[1]), bytes(1000))
except OSError as error:
    sys.exit(7)
"""


def test_a_file_that_finds_no_room_leaves_nothing_and_what_stood_there(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path / "files" / "f")], timeout=60)
    assert ended.returncode == 7
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["f"]
    assert (tmp_path / "files" / "f").read_bytes() == b"short"
