"""How many trials memory holds, and cohorts that are trained in parts."""

from typing import Any

import pytest
import torch

from bnexp.engine import memory
from bnexp.engine.evaluation import chunk
from bnexp.engine.program import Program
from bnexp.records import Outcome
from tests.cohorts import data_of, records, trial

CNN = {"model": {"name": "cnn", "channels": [4], "dense": []}, "steps": 4, "eval_every": 2, "batch_size": 30}


def of(trials: int, **fields: Any) -> Program:
    return Program([trial(CNN | fields, seed=seed) for seed in range(trials)], data_of("digits", "float32"))


def test_room_is_for_the_activations_of_a_step_or_of_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 8x8: images, the convolution, its bias and its ReLU have 64 + 3 x 256 numbers, pooled 64 and flattened 64, and
    the output 10 twice; an evaluation of 384 holds 256 numbers each, more than a step of 30 does."""
    numbers = 64 + 3 * 256 + 64 + 64 + 2 * 10
    parameters = 4 * 9 + 4 + 640 + 10
    for batch, activations in ((30, 256 * chunk(64)), (300, numbers * 300)):
        bytes_ = 4 * (memory.COPIES * activations + 3 * parameters)
        for fit in (1, 5):
            monkeypatch.setattr(memory, "_free", lambda _, fit=fit, bytes_=bytes_: (fit + 0.5) * bytes_ / memory.SHARE)
            assert memory.room(of(1, batch_size=batch)) == memory.room(of(3, batch_size=batch)) == fit
    monkeypatch.setattr(memory, "_free", lambda _: 0)
    assert memory.room(of(1)) == 1


def test_what_is_free_is_told_by_the_system() -> None:
    assert 1 << 20 < memory._free(torch.device("cpu")) < 1 << 50


@pytest.mark.parametrize("room", [1, 2, 3])
def test_a_cohort_trained_in_parts_has_the_same_outcomes(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [trial(CNN, seed=seed, lr=rate) for seed in (0, 1) for rate in (0.01, 0.1, 1e30)][:5]
    whole = {one.slot: one for one in records(trials) if isinstance(one, Outcome)}
    made: list[int] = []
    monkeypatch.setattr(memory, "room", lambda program: made.append(len(program.trials)) or room)
    parts = [one for one in records(trials) if isinstance(one, Outcome)]
    assert len(parts) == 5 and {one.slot: one for one in parts} == whole
    assert made == [1], "it is asked once, of one trial"
