"""The plain loop that a battery is timed against trains what bnexp trains, and the sample is the battery's own."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.arms import Probed
from benchmarks.battery import (
    WITHOUT,
    by_one,
    dealt,
    difference,
    disagreeing,
    experiments,
    run,
    sample,
    size,
    times,
    together,
)
from benchmarks.battery_table import PART, render, stored
from benchmarks.plain import Scheduled
from benchmarks.plain_norms import has_bias, normalized
from benchmarks.work import load
from bnexp.config import TrialConfig
from bnexp.engine.device import settle
from bnexp.registry import NORMS
from tests.norm_twins import linear_twin, norm_twin

STEPS = 6
UNITS = [name for name in NORMS if name not in WITHOUT]
STILL = {"noisy-batch": {"name": "noisy-batch", "shift": 0.0, "scale": 1.0}}
"""Without the draws, which are each side's own."""


def trial(norm: str, **fields: Any) -> TrialConfig:
    return TrialConfig.model_validate({"norm": STILL.get(norm, norm), "model": {"hidden": [8, 8]}, **fields})


@pytest.mark.parametrize("norm", [name for name in UNITS if name != "none"])
def test_the_plain_modules_are_the_twins(norm: str) -> None:
    """Outputs and gradients over three batches, so that averages come into play where there are any."""
    torch.manual_seed(0)
    options = trial(norm).norm
    product = nn.Linear(5, 8, bias=has_bias(options))
    linear, scale = linear_twin(options, 5, 8), norm_twin(options, 8)
    linear.load_state_dict(product.state_dict(), strict=False)
    if hasattr(scale, "begin"):
        scale.begin(linear.weight)
        nn.init.zeros_(product.bias)
    ours = nn.Sequential(*normalized(options, product))
    theirs = nn.Sequential(linear, scale) if scale is not None else linear
    for _ in range(3):
        x = torch.randn(60, 5) * 3 + 1
        mine, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, expected = ours(mine), theirs(twin)
        assert torch.allclose(y, expected, atol=2e-5)
        weights = torch.randn_like(y)
        (y * weights).sum().backward()
        (expected * weights).sum().backward()
        assert mine.grad is not None and twin.grad is not None and torch.allclose(mine.grad, twin.grad, atol=1e-4)


@pytest.mark.parametrize("norm", UNITS)
def test_the_loop_trains_what_bnexp_trains(norm: str) -> None:
    settle()
    data = load("digits", torch.device("cpu"))
    optimizer = {"lr": 0.1, "weight_decay": 0.01}
    schedule = {"name": "exponential", "decay": 0.5, "every": 2}
    trials = [trial(norm, optimizer=optimizer, schedule=schedule, seed=seed) for seed in (0, 1)]
    fused = Probed(trials, data, STEPS)
    fused.run(1, STEPS)
    plain = [Scheduled([one], data, STEPS) for one in trials]
    for loop in plain:
        before = copy.deepcopy(loop.network.state_dict())
        loop.losses(0)
        after = loop.network.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before), "looking changes nothing"
        loop.run(1, STEPS)
    theirs = [loss for loop in plain for loss in loop.losses(STEPS)]
    assert fused.losses(STEPS) == pytest.approx(theirs, rel=1e-5) and len(set(theirs)) == 2
    without = Scheduled([trial(norm, optimizer={"lr": 0.1})], data, STEPS)
    without.run(1, STEPS)
    assert without.losses(STEPS)[0] != pytest.approx(theirs[0], rel=1e-4), "decay and schedule tell"


def test_the_sample_is_a_cohort_of_each_experiment_and_is_dealt_evenly() -> None:
    suite = experiments()
    for norm in ("none", "ghost-batch"):
        cohorts = sample(norm, suite)
        assert list(cohorts) == [experiment.name for experiment in suite]
        assert {config.norm.name for cohort in cohorts.values() for config in cohort} == {norm}
        assert all(len({config.nonlinearity for config in cohort}) == 1 for cohort in cohorts.values())
        shares = dealt(list(cohorts.values()))
        assert sum(map(len, shares)) == len(cohorts)
        sizes = [sum(map(size, share)) for share in shares]
        assert max(sizes) < 1.1 * min(sizes)
        trials = [config for cohort in cohorts.values() for config in cohort]
        alone = [[cohort[0] for cohort in share] for share in by_one(trials, 2)]
        assert [len(share) for share in alone] == [-(-len(trials) // 2), len(trials) // 2]
        assert sorted(str(one) for share in alone for one in share) == sorted(map(str, trials))


def test_losses_are_compared_where_there_is_no_chance() -> None:
    tame, wild, drawn = trial("batch"), trial("batch", seed=1), trial("batch", dropout=0.5)
    assert difference({tame: 1.1, wild: 2.0, drawn: 5.0}, {tame: 1.0, wild: 2.0, drawn: 1.0}) == pytest.approx(0.05)
    assert difference({tame: math.nan, wild: 2.0}, {tame: math.inf, wild: 2.0}) == 0
    assert difference({tame: math.nan}, {tame: 1.0}) == math.inf
    assert difference({drawn: 1.0}, {drawn: 2.0}) is None
    found = [{"norm": "a", "difference": 0.0}, {"norm": "b", "difference": math.nan}, {"norm": "c", "difference": None}]
    assert disagreeing(found) == ["b"]


SECONDS = {"fused": [1.0, 2.0, 1.0], "plain": [4.0, 8.0, 9.0], "plain, 2 processes": [5.0, 6.0, 8.0]}
RECORD: dict[str, Any] = {
    "device_name": "Some Processor",
    "cores": 2,
    "load_before": 0.25,
    "versions": {"torch": "2.13.0", "python": "3.11.7"},
    "commit": "0123456789abcdef+",
    "date": "2026-01-02",
    "rounds": 3,
    "steps": 10,
    "processes": 2,
    "normalizers": [
        {"norm": "batch", "trials": {"a": 40, "b": 8}, "difference": 1e-7, "seconds": SECONDS, "times": times(SECONDS)},
        {"norm": "rms", "trials": {"a": 48}, "difference": 0.5, "seconds": SECONDS, "times": times(SECONDS)},
    ],
}


def test_each_loop_is_compared_round_by_round() -> None:
    found = times(SECONDS)
    assert found["plain"] == {"median": 4.0, "min": 4.0, "max": 9.0}
    assert found["plain, 2 processes"] == {"median": 5.0, "min": 3.0, "max": 8.0}
    slower = {"seconds": {**SECONDS, "fused": [3.0, 2.0, 8.0]}}
    assert together([{"seconds": SECONDS}, slower])["plain"] == {"median": 2.0, "min": 2.0, "max": 4.0}


def test_the_table_says_what_was_measured() -> None:
    text = render(RECORD | {"all": times(SECONDS)})
    assert "| normalizer | bnexp, s | plain loop | plain, 2 processes |" in text
    assert "| batch | 1.00 | 4.0 [4.0, 9.0] | 5.0 [3.0, 8.0] |" in text
    assert "| rms | – | disagrees | disagrees |" in text and "| **all** |  | **4.0 [4.0, 9.0]** |" in text
    assert "48 trials of a normalizer take 10 training steps" in text and "commit 0123456789+" in text
    assert "load 0.25" in text


def test_the_page_says_what_is_stored() -> None:
    page = PART.path.read_text()
    assert PART.replaced(page, render(stored())) == page, "run python benchmarks/battery_table.py"


@pytest.mark.slow
def test_it_measures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    record = run(["rms"], 1, 2, print)
    [one] = record["normalizers"]
    assert {len(seconds) for seconds in one["seconds"].values()} == {2} and disagreeing([one]) == []
    assert record["all"] == one["times"] and all(found["min"] > 0 for found in one["times"].values())
    assert "rms: " in capsys.readouterr().out
