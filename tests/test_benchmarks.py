"""The benchmarks measure what they say, and the table shows what was measured."""

import math
from typing import Any

import pytest
import torch

from benchmarks import table
from benchmarks.agreement import each_trial, mean_over_seeds
from benchmarks.arms import UNITS, Arm, all_arms
from benchmarks.rounds import interleaved, ratios
from benchmarks.speed import disagreeing
from benchmarks.table import PART, render
from benchmarks.work import WORKS, flops, least_bytes, load
from bnexp.engine.device import settle

STEPS = 12


def test_operations_of_a_small_network_by_hand() -> None:
    # Layers 3 -> 2 -> 1, batch 5: 2*5*6 = 60 and 2*5*2 = 20; outputs and weights' gradients of both, inputs' of one.
    assert flops((3, 2, 1), 5) == 60 + 60 + 20 + 20 + 20
    assert least_bytes((3, 2, 1)) == 4 * (5 * 6 + 6 * 2)


def test_rounds_are_interleaved_and_an_arm_that_cannot_run_is_left_out() -> None:
    seen = []

    def measure(arm: str, number: int) -> float | None:
        seen.append(f"{arm}{number}")
        return None if arm == "b" else float(number)

    assert interleaved("abc", 3, measure) == {"a": [1, 2, 3], "c": [1, 2, 3]}
    assert seen == ["a1", "b1", "c1", "a2", "c2", "a3", "c3"]


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2, 6, 12], [1, 2, 3]) == {"median": 3, "min": 2, "max": 4}


@pytest.mark.parametrize("wrong", [{0: 1.0, 1: 2.1}, {0: 1.0, 1: math.nan}, {0: 1.0}])
def test_an_arm_with_a_wrong_missing_or_non_finite_loss_is_refused(wrong: dict[int, float]) -> None:
    reference = {0: 1.0, 1: 2.0}
    assert each_trial(reference, {0: 1.00005, 1: 2.0, 2: 9.0}).agrees
    assert not each_trial(reference, wrong).agrees


def test_with_dropout_the_mean_must_lie_within_its_standard_error() -> None:
    seed_of = {trial: trial // 2 for trial in range(16)}
    noise = [0.01, -0.01, 0.02, -0.02]
    references = [{trial: 1 + trial / 10 + shift for trial in seed_of} for shift in noise]
    near = {trial: loss + 0.01 for trial, loss in references[0].items()}
    far = {trial: loss + 0.10 for trial, loss in references[0].items()}
    assert mean_over_seeds(references, near, seed_of).agrees
    assert not mean_over_seeds(references, far, seed_of).agrees
    assert not mean_over_seeds(references, {**near, 3: math.nan}, seed_of).agrees
    assert not mean_over_seeds(references, {0: 1.0}, seed_of).agrees


def test_every_process_gets_as_many_full_cohorts_and_the_first_trials_are_everybodys() -> None:
    work = WORKS[0]
    for arm in (*all_arms("cpu", 3, (1, 4, 64)), *all_arms("cuda", 16)):
        shares = arm.shares(work, 8)
        assert len(shares) == arm.processes and len({len(share) for share in shares}) == 1
        trials = [trial for share in shares for cohort in share for trial in cohort]
        assert trials[:8] == [work.trial(number) for number in range(8)]
        assert {len(cohort) for share in shares for cohort in share} == {arm.cohort}


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_loops_train_what_bnexp_trains(norm: str) -> None:
    [work] = [work for work in WORKS if (work.dataset, work.norm, work.dropout) == ("digits", norm, 0)]
    settle()
    data = load("digits", torch.device("cpu"))
    losses: dict[str, dict[int, float]] = {}
    for kind in ("loader", "eager", "fused"):
        [cohorts] = Arm(kind, 1, 4 if kind == "fused" else 1).shares(work, 4)
        found = []
        for cohort in cohorts:
            unit = UNITS[kind](cohort, data, STEPS)
            unit.run(1, STEPS)
            found += unit.losses(STEPS)
        losses[kind] = dict(enumerate(found))
    assert each_trial(losses["eager"], losses["loader"], 1e-6).agrees
    assert each_trial(losses["eager"], losses["fused"], 1e-5).agrees
    assert len(set(losses["eager"].values())) == 4


def summed(value: float) -> dict[str, float]:
    return {"median": value, "min": value - 1, "max": value + 1}


def arm(kind: str, rate: float, **others: Any) -> dict[str, Any]:
    return {
        "arm": kind,
        "kind": kind,
        "processes": 2,
        "cohort": 1,
        "status": "agrees",
        "trial_steps_per_second": summed(rate),
        "share_of_multiply_peak": summed(0.25),
        "peak_memory_bytes": 3_000_000,
        **others,
    }


RECORD: dict[str, Any] = {
    "benchmark": "speed",
    "quick": False,
    "device": "cpu",
    "device_name": "Some Processor",
    "processor": "Some Processor",
    "cores": 2,
    "versions": {"torch": "2.13.0"},
    "commit": "0123456789abcdef+",
    "date": "2026-01-02",
    "rounds": 5,
    "steps": 100,
    "works": [
        {
            "work": "digits-bn",
            "inputs": 64,
            "norm": "batch",
            "dropout": 0.5,
            "data": "synthetic noise",
            "arms": [
                {"arm": "loader", "kind": "loader", "processes": 1, "cohort": 1, "status": "disagrees"},
                {"arm": "compiled", "kind": "compiled", "processes": 1, "cohort": 1, "status": "not measured"},
                arm("parallel", 1234),
                arm("fused", 5000, arm="fused-4-x2", cohort=4),
                arm("fused", 9876, arm="fused-16-x2", cohort=16),
                arm("fused", 99999, arm="fused-16-x1", cohort=16, processes=1),
            ],
            "ratios": [{"of": f"fused-{n}-x2", "to": "parallel", **summed(n / 2)} for n in (4, 16)],
        }
    ],
}


def test_the_table_says_what_was_measured_where_and_no_figure_of_an_arm_that_disagrees() -> None:
    text = render([RECORD, {**RECORD, "quick": True, "device_name": "Another"}])
    assert "**Some Processor, 2 cores** (2026-01-02, commit 0123456789+, torch 2.13.0)" in text
    assert "| network | bnexp | DataLoader | compiled | plain loop, 2 processes |" in text
    row = "| 64 inputs, BN, Dropout 0.5 | 9,876 | disagrees | – | 8.0 [7.0, 9.0] | 25% | 3 MB |"
    assert row in text and "synthetic noise" in text
    assert "Another" not in text and "99,999" not in text
    assert disagreeing(RECORD) == ["digits-bn: loader"]


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    readme = f"above\n{PART.begin}\nold\n{PART.end}\nbelow"
    new = PART.replaced(readme, "new")
    assert new == f"above\n{PART.begin}\n\nnew\n\n{PART.end}\nbelow" == PART.replaced(new, "new")
    with pytest.raises(ValueError, match=r"docs/speed\.md has no"):
        PART.replaced("no markers", "new")


def test_the_page_says_what_is_stored() -> None:
    """Nobody writes figures there by hand, and none are left behind by another run."""
    page = PART.path.read_text()
    assert PART.replaced(page, render(table.stored())) == page
