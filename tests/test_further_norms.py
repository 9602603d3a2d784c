"""The normalizers that the longer tests of the engine try with `-m slow` only, held to the same contract in short: each
is as its twin in float64, probed and unprobed, and the same bits in any company, after a checkpoint too."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.engine import device, probing
from bnexp.engine.checkpoints import Keeper
from bnexp.engine.program import Program
from bnexp.records import Resumed
from tests import test_program
from tests.cohorts import FURTHER, SMALL, assert_as_alone, data_of, trial, watch
from tests.test_checkpoints import cohort, outcomes, place, train
from tests.test_engine import assert_close, weights_apart
from tests.test_probes import Numbers, Plain, numbers

every_further = pytest.mark.parametrize("norm", FURTHER.values(), ids=FURTHER)
STEPS = 30


@pytest.fixture(autouse=True, scope="module")
def settled() -> None:
    """The engine's settings, for the twins too."""
    device.settle()


@every_further
def test_float64_equals_the_twin_in_short(norm: dict[str, Any]) -> None:
    """Losses, weights, curve and final numbers, of trials whose every number differs."""
    base = {**SMALL, **norm, "nonlinearity": "tanh", "precision": "float64", "steps": STEPS}
    trials = [
        trial(base, seed=7, dropout=0.4, weight_decay=1e-3, lr_multiplier=0.5),
        trial(base, seed=8, dropout=0.0, weight_decay=1e-2, momentum=0.5, init_scale=1.7),
    ]
    training, program, twins = watch(trials)
    for step in range(1, STEPS + 1):
        program.run(step, 1)
        assert program.losses[-1] == pytest.approx([twin.step() for twin in twins], rel=1e-9)
        if step in (1, 7, STEPS):
            training.add_points(step)
    for outcome in training.finish():
        twin = twins[outcome.slot]
        assert weights_apart(program, outcome.slot, twin) < 1e-9
        assert outcome.final is not None and [point.step for point in outcome.curve] == [1, 7, STEPS]
        assert_close(outcome.curve[-1], twin.point(), 1e-9)
        assert_close(outcome.final, twin.final(), 1e-9)


@every_further
@pytest.mark.parametrize("name", ["smoothness", "moments"])
def test_probes_find_what_plain_autograd_finds_in_short(norm: dict[str, Any], name: str) -> None:
    """Before the first step and within training."""
    base = {**SMALL, **norm, "precision": "float64", "probes": (name,)}
    _, program, twins = watch([trial(base, seed=7, lr_multiplier=5.0), trial(base, seed=8, dropout=0.3)])
    for step in (0, 3):
        program.run(1, step)
        for told, twin in zip(probing.sample(program, step), twins, strict=True):
            while twin.steps < step:
                twin.step()
            expected: Numbers = getattr(Plain(twin), name)(step)
            assert expected.keys() == numbers(told).keys()
            assert all(numbers(told)[key] == pytest.approx(of, rel=1e-8, abs=1e-11) for key, of in expected.items())


@every_further
def test_a_trial_equals_itself_alone_in_short(norm: dict[str, Any]) -> None:
    """Bit for bit, beside a neighbour that diverges, seeds interleaved, and on sizes that leave every vector register
    partly filled."""
    base = {**norm, "nonlinearity": "relu", "steps": 4, "eval_every": 4, "probes": ("gradient-norms",)}
    numbers_of = [{"seed": 0, "dropout": 0.3}, {"seed": 1}, {"seed": 0, "lr_multiplier": 1e38}]
    assert_as_alone([trial({**base, **SMALL}, **row) for row in numbers_of])
    odd = {**base, "model": {"name": "mlp", "hidden": (33, 7)}, "batch_size": 21, "steps": 3}
    assert_as_alone([trial(odd, **row) for row in numbers_of[:2]])


@every_further
def test_it_goes_on_from_a_checkpoint_in_short(
    norm: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Keeper, "due", lambda keeper, size: True)
    trials = cohort(**norm, steps=8, eval_every=4)[:2]
    undisturbed = outcomes(trials, train(trials))
    train(trials, place(tmp_path, trials), stop_after=2)
    after = train(trials, place(tmp_path, trials))
    assert any(isinstance(record, Resumed) for record in after) and outcomes(trials, after) == undisturbed


@every_further
def test_a_probe_leaves_the_network_as_it_was(norm: dict[str, Any]) -> None:
    program = Program([trial({**SMALL, **norm, "probes": ("smoothness",)})], data_of("digits", "float32"))
    program.run(1, 3)
    before = {name: tensor.clone() for name, tensor in program.state().items()}
    probing.sample(program, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in program.state().items())


@every_further
def test_a_step_can_be_recorded_and_replayed(norm: dict[str, Any]) -> None:
    """As a CUDA graph does."""
    digits = data_of("digits", "float32")
    test_program.test_a_step_can_be_recorded_once_and_replayed_without_python(norm, digits)


@pytest.mark.slow
@every_further
def test_a_program_serves_one_cohort_after_another(norm: dict[str, Any]) -> None:
    digits = data_of("digits", "float32")
    test_program.test_what_a_step_uses_stays_where_it_is(norm, digits)
    test_program.test_a_program_restarted_is_a_program_made_anew(norm, digits)
