"""What a GPU does, held against steps launched one by one on it, and against the CPU. Skipped where there is none."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp import random
from bnexp.config import TrialConfig
from bnexp.data.batches import DeviceData, to_device
from bnexp.data.dataset import source
from bnexp.data.loading import DTYPES
from bnexp.engine import device, trainer
from bnexp.engine.checkpoints import Keeper
from bnexp.engine.program import Program
from bnexp.engine.trainer import Trainer, train_cohort
from bnexp.records import Checkpoint, Outcome, Saved
from tests.cohorts import synthetic
from tests.conftest import TINY, Bnexp
from tests.test_program import KINDS, cohort, copied, kinds, outcomes

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]

NETWORKS: dict[str, dict[str, Any]] = {
    "cnn": {"model": {"name": "cnn", "channels": [8, 16]}, "norm": {"name": "batch"}, "nonlinearity": "relu"},
    "vgg": {"model": {"name": "vgg"}, "norm": {"name": "batch"}, "nonlinearity": "relu"},
    "inception": {
        "model": {"name": "bn-inception", "stem": "small", "width": 0.125},
        "norm": {"name": "batch"},
        "nonlinearity": "relu",
    },
    "inception-sigmoid": {
        "model": {"name": "bn-inception", "stem": "small", "width": 0.125, "local_response": True},
        "norm": {"name": "none"},
    },
}


@pytest.fixture(autouse=True, scope="module")
def settled() -> Iterator[None]:
    """The settings under which a worker trains."""
    device.settle()
    yield
    torch.cuda.empty_cache()


@cache
def data(name: str = "digits", where: str = "cuda", precision: str = "float32") -> DeviceData:
    dataset = source(name).read() if name == "digits" else synthetic()
    return to_device(dataset, 0, DTYPES[precision], torch.device(where))


def assert_nearly(ours: list[Outcome], theirs: list[Outcome], relative: float) -> None:
    """The same ends, and losses that are nearly the same."""
    assert [outcome.status for outcome in ours] == [outcome.status for outcome in theirs]
    for one, other in zip(ours, theirs, strict=True):
        if one.final and other.final:
            assert one.final.train_loss == pytest.approx(other.final.train_loss, rel=relative)
            assert one.final.test_loss == pytest.approx(other.final.test_loss, rel=relative)


@kinds
def test_captured_steps_equal_steps_on_the_same_gpu_and_nearly_those_on_the_cpu(kind: dict[str, Any]) -> None:
    trials = cohort(kind, 3, 4)
    captured, launched, here = (Program(trials, data(where=where)) for where in ("cuda", "cuda", "cpu"))
    launched.replayed = None
    for program in (captured, launched, here):
        for first, last in pairwise([0, 1, 3, 20, 100]):
            program.run(first + 1, last - first)
    for name, tensor in copied(captured).items():
        torch.testing.assert_close(tensor, launched.state()[name], rtol=1e-6, atol=1e-7)
        if name.endswith("weight"):
            torch.testing.assert_close(tensor.cpu(), here.state()[name], rtol=1e-2, atol=1e-3)


def convolutional(network: str, precision: str) -> list[TrialConfig]:
    fields = {"dataset": "mnist", "batch_size": 32, "steps": 20, "precision": precision, "lr_multiplier": 0.1}
    return cohort({**NETWORKS[network], **fields}, 3, 4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_captured_steps_of_a_convolutional_network(network: str, precision: str) -> None:
    """Equal steps launched one by one."""
    trials = convolutional(network, precision)
    captured, launched = (Program(trials, data("mnist")) for _ in range(2))
    launched.replayed = None
    for program in (captured, launched):
        program.run(1, 20)
    for name, tensor in captured.model.state_dict().items():
        torch.testing.assert_close(tensor, launched.model.state_dict()[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_convolutional_network_steps_as_on_a_cpu(network: str) -> None:
    """In float64, so that nothing but a mistake makes a difference."""
    trials = convolutional(network, "float64")
    there, here = (Program(trials, data("mnist", where, "float64")) for where in ("cuda", "cpu"))
    for program in (there, here):
        program.run(1, 4)
    for name, tensor in there.model.state_dict().items():
        torch.testing.assert_close(tensor.cpu(), here.model.state_dict()[name], rtol=1e-6, atol=1e-8)


def test_a_trainer_serves_cohort_after_cohort() -> None:
    """Captured once, restarted in place, shed where trials diverge."""
    wild = {"lr_multiplier": 1e38}
    one = Trainer()
    for trials in (
        cohort(KINDS[2], 3, 4),
        cohort(KINDS[2], 5, 6),
        [*cohort(KINDS[2], 5), *cohort(KINDS[2], 6, **wild)],
    ):
        ended, alone = outcomes(list(one.train(trials, data()))), outcomes(list(train_cohort(trials, data())))
        assert_nearly(ended, alone, 1e-4)
        assert_nearly(ended, outcomes(list(train_cohort(trials, data(where="cpu")))), 1e-2)


@pytest.mark.parametrize("network", [None, *NETWORKS])
def test_a_trial_trained_twice_has_the_same_numbers(network: str | None) -> None:
    """In the same company, on the same GPU, captured anew."""
    trials = convolutional(network, "float32") if network else cohort(KINDS[1], 3, 4)
    first, second = (outcomes(list(train_cohort(trials, data(trials[0].dataset)))) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.final == other.final and one.curve == other.curve


def test_random_numbers_are_those_of_a_cpu() -> None:
    """Words and permutations to the bit; a normal number to the last digits of float64."""
    there, here = (random.keys("init", [3, 2**63 - 1], "hidden 0", device=where) for where in ("cuda", "cpu"))
    counters = [random.counters(10_001, keys.device) for keys in (there, here)]
    assert torch.equal(random.words(there, counters[0]).cpu(), random.words(here, counters[1]))
    assert torch.equal(random.permutation(there, 10_001).cpu(), random.permutation(here, 10_001))
    torch.testing.assert_close(random.normal(there, 10_001).cpu(), random.normal(here, 10_001), rtol=0, atol=1e-14)


@kinds
def test_company_changes_a_trial_by_rounding_only(kind: dict[str, Any]) -> None:
    trials = cohort(kind, 3, 4, 5, 6)
    together = outcomes(list(train_cohort(trials, data())))
    alone = [outcomes(list(train_cohort([trial], data())))[0] for trial in trials[:3]]
    assert_nearly([replace(outcome, slot=0) for outcome in together[:3]], alone, 1e-2)


def test_memory_that_ends_halves_the_cohort_and_goes_on() -> None:
    """Real memory, of which this process gets little."""
    wide = KINDS[1] | {"model": {"name": "mlp", "hidden": [512, 512]}, "steps": 30}
    trials = cohort(wide, *range(40))
    whole = outcomes(list(train_cohort(trials, data())))
    torch.cuda.empty_cache()
    sizes: list[int] = []

    class Counted(Program):
        def __init__(self, trials: Any, data: DeviceData) -> None:
            sizes.append(len(trials))
            super().__init__(trials, data)

    total = torch.cuda.get_device_properties(0).total_memory
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainer, "Program", Counted)
        patched.setattr(trainer.memory, "room", lambda program: 10**6)
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**28) / total)
        try:
            halved = outcomes(list(train_cohort(trials, data())))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(sizes) > 2 and max(sizes[2:]) < len(trials)
    assert_nearly(halved, whole, 1e-2)


def test_training_goes_on_from_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "due", lambda keeper, size: True)
    trials = cohort(KINDS[1], 3, 4, steps=200)
    place = Checkpoint(tmp_path / "cohort-1.safetensors", tuple(map(str, trials)), "p", True)
    whole = outcomes(list(train_cohort(trials, data())))
    for record in Trainer().train(trials, data(), place):
        if isinstance(record, Saved):
            break
    resumed = outcomes(list(Trainer().train(trials, data(), place)))
    assert {outcome.resumed_at_step for outcome in resumed} != {None}
    assert_nearly(resumed, whole, 1e-5)


def test_probes_find_nearly_what_they_find_on_a_cpu() -> None:
    probes = ["percentiles", "moments", "gradient-norms", "covariate-shift", "smoothness", "scale-invariance"]
    trials = cohort(KINDS[1], 3, steps=30, probes=probes)
    there, here = (outcomes(list(train_cohort(trials, data(where=where)))) for where in ("cuda", "cpu"))
    for one, other in zip(there, here, strict=True):
        assert [(p.step, p.layer, p.name) for p in one.probes] == [(p.step, p.layer, p.name) for p in other.probes]
        first = [(p.value, q.value) for p, q in zip(one.probes, other.probes, strict=True) if p.step == 0]
        assert first
        for ours, theirs in first:
            assert ours == pytest.approx(theirs, rel=2e-2, abs=1e-4)


def test_a_run_on_a_gpu_answers_as_one_on_a_cpu(tmp_path: Path, bnexp: Bnexp) -> None:
    (tmp_path / "experiments.yaml").write_text(TINY)
    rows = {}
    for where in ("cuda", "cpu"):
        ended = bnexp("run", "tiny", "--device", where, "--db", f"{where}.db", cwd=tmp_path)
        assert ended.code == 0, ended.err
        sql = "select trial_key, status, trained from trial_results order by trial_key"
        asked = bnexp("query", sql, "--db", f"{where}.db", "--format", "json", cwd=tmp_path)
        rows[where] = json.loads(asked.out)
    assert rows["cuda"] == rows["cpu"] and len(rows["cpu"]) == 24
    verified = bnexp("verify", "--sample", "3", "--device", "cuda", "--db", "cuda.db", cwd=tmp_path)
    assert verified.code == 0, verified.out + verified.err
    shown = bnexp("query", "select distinct device from attempts", "--db", "cuda.db", cwd=tmp_path)
    assert torch.cuda.get_device_name() in shown.out
