"""Cohorts for tests: trials with numbers of their own, trained together, alone, or beside their twins."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bnexp.config import TrialConfig
from bnexp.data.batches import DeviceData, to_device
from bnexp.data.dataset import Dataset, source
from bnexp.data.loading import DTYPES
from bnexp.engine.checkpoints import Keeper
from bnexp.engine.program import Program
from bnexp.engine.trainer import Training, train_cohort
from bnexp.options import AdamOptions, SgdOptions
from bnexp.records import Outcome, Record
from tests.twins import Twin

CPU = torch.device("cpu")
SMALL = {"model": {"name": "mlp", "hidden": (20, 20)}}
PAPER = {"model": {"name": "mlp", "hidden": (100, 100, 100)}}


def trial(base: dict[str, Any], **numbers: Any) -> TrialConfig:
    """`base` with per-trial numbers; those of the optimizer by their own names."""
    own = {name: numbers.pop(name) for name in (*SgdOptions.model_fields, *AdamOptions.model_fields) if name in numbers}
    return TrialConfig.model_validate(
        {**base, **numbers, "optimizer": {"name": "sgd", **base.get("optimizer", {}), **own}}
    )


@cache
def synthetic() -> Dataset:
    """Images of 28 x 28 pixels in ten classes that can be learned, named as one of that shape."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 200, (10, 28, 28))
    labels = np.arange(500) % 10
    images = (centres[labels] * rng.random((500, 28, 28))).astype(np.uint8)
    return Dataset("mnist", 10, 255.0, images[:400], labels[:400], images[400:], labels[400:])


@cache
def data_of(name: str, precision: str, split: int = 0) -> DeviceData:
    dataset = source(name).read() if name == "digits" else synthetic()
    return to_device(dataset, split, DTYPES[precision], CPU)


def records(trials: Sequence[TrialConfig]) -> list[Record]:
    return list(train_cohort(trials, data_of(trials[0].dataset, trials[0].precision, trials[0].split)))


def together(trials: Sequence[TrialConfig]) -> list[Outcome]:
    """The outcomes of a cohort in slot order, one a slot."""
    outcomes = [one for one in records(trials) if isinstance(one, Outcome)]
    found = sorted(outcomes, key=lambda outcome: outcome.slot)
    assert [outcome.slot for outcome in found] == list(range(len(trials)))
    return found


@cache
def alone(lone: TrialConfig) -> Outcome:
    return together([lone])[0]


def assert_as_alone(trials: Sequence[TrialConfig]) -> None:
    """Every trial of the cohort has exactly the numbers that it has alone. They are compared as text, which is
    exact too, where NaN would not be equal to itself: in what diverged, and in probes of units that are dead."""
    for place, outcome in enumerate(together(trials)):
        expected = replace(alone(trials[place]), slot=place)
        assert outcome == expected or str(outcome) == str(expected), f"slot {place}"


class Watched(Program):
    """A program that also remembers the loss of every step."""

    def __init__(self, trials: Sequence[TrialConfig], data: DeviceData) -> None:
        super().__init__(trials, data)
        self.losses: list[list[float]] = []

    def _flag(self, loss_T: Tensor) -> None:
        self.losses.append(loss_T.tolist())
        super()._flag(loss_T)


def watch(trials: Sequence[TrialConfig]) -> tuple[Training, Watched, list[Twin]]:
    """A cohort about to train, its program, and a twin of each of its trials."""
    program = Watched(trials, data_of(trials[0].dataset, trials[0].precision))
    return (
        Training(program, Keeper(None, ""), range(len(trials))),
        program,
        [Twin(program, slot) for slot in range(len(trials))],
    )


USUAL: dict[str, dict[str, Any]] = {
    "none": {"norm": "none"},
    "batch": {"norm": "batch"},
    "stopped": {"norm": {"name": "batch", "stop_gradient": True}},
    "noisy": {"norm": "noisy-batch"},
    "group": {"norm": {"name": "group", "groups": 2}},
}
"""Ten units a group, since five make the twin chaotic at the rates below: moved by one bit of one weight, it leaves
itself by 1e-8 within 200 steps."""
FURTHER: dict[str, dict[str, Any]] = {
    "layer": {"norm": "layer"},
    "rms": {"norm": {"name": "rms", "eps": 1e-3}},
    "ghost": {"norm": {"name": "ghost-batch", "groups": 3}},
    "renorm": {"norm": {"name": "batch-renorm", "rmax": 1.2, "dmax": 0.3}},
    "weight": {"norm": "weight"},
    "standardization": {"norm": "weight-standardization"},
    "fixup": {"norm": "fixup"},
    "lsuv": {"norm": "lsuv"},
}
"""Tried in short by `tests/test_further_norms.py`; what tries the usual ones tries these too with `-m long`. The eps of
`rms` is larger than its default, with which the twin is chaotic too: with ReLU it leaves itself by 4e-8."""
NORMS = USUAL | FURTHER


CHAOTIC = ("standardization",)
"""Alone it makes weights so long that a twin moved by one bit leaves itself by 0.6 within 200 steps, and that the first
gradients of the twin in float32 are 5e-6 from those in float64."""


def norm_params(but: Collection[str] = ()) -> list[Any]:
    """What a test of every normalizer is given, by the normalizer's name."""
    return [
        pytest.param(norm, id=name, marks=pytest.mark.long if name in FURTHER else ())
        for name, norm in NORMS.items()
        if name not in but
    ]


def undivided(norm: dict[str, Any]) -> dict[str, Any]:
    """The normalizer with one group, for sizes that several do not divide."""
    options = norm["norm"]
    return {"norm": {**options, "groups": 1}} if isinstance(options, dict) and "groups" in options else norm
