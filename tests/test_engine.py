"""The engine: a trial's numbers are those of a plain torch.nn program, and the same bits in any company."""

from collections.abc import Iterable
from dataclasses import astuple, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ExponentialLR

from bnexp import random
from bnexp.config import TrialConfig
from bnexp.data.batches import POPULATION_BATCHES, Batches
from bnexp.data.examples import Examples
from bnexp.engine import device
from bnexp.engine.cohort import evaluation_steps
from bnexp.engine.program import Program
from bnexp.errors import UsageError
from bnexp.models.layers import Linear
from bnexp.models.nonlinearities import sigmoid
from bnexp.records import Final, Outcome, Point, Progress
from tests.cohorts import (
    CHAOTIC,
    NORMS,
    PAPER,
    SMALL,
    alone,
    assert_as_alone,
    data_of,
    norm_params,
    records,
    together,
    trial,
    undivided,
    watch,
)
from tests.twins import Twin, dropout_mask


@pytest.fixture(autouse=True, scope="module")
def settled() -> None:
    """The engine's settings, for the twins too."""
    device.settle()


def apart(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest number expected."""
    difference, size = (actual - expected).abs().max(), expected.abs().max().clamp_min(1e-30)
    return float(difference.detach() / size.detach())


def weights_apart(program: Program, slot: int, twin: Twin) -> float:
    ours = [parameter[slot] for parameter in program.optimizer.parameters]
    return max(apart(our.reshape(its.shape), its) for our, its in zip(ours, twin.in_order(), strict=True))


def velocities(program: Program) -> list[Tensor]:
    return [parameter.grad for parameter in program.optimizer.parameters if parameter.grad is not None]


def assert_close(actual: Point | Final, expected: Point | Final, tolerance: float) -> None:
    assert astuple(actual) == pytest.approx(astuple(expected), rel=tolerance)


norms = pytest.mark.parametrize("norm", [NORMS["none"], NORMS["batch"]], ids=["none", "batch"])
every_norm = pytest.mark.parametrize("norm", norm_params())
every_calm_norm = pytest.mark.parametrize("norm", norm_params(but=CHAOTIC))


@pytest.mark.parametrize("nonlinearity", ["sigmoid", "relu", "tanh"])
@pytest.mark.parametrize(
    ("norm", "dropout"),
    [
        *(pytest.param(*each.values, 0.4, id=each.id, marks=each.marks) for each in norm_params(but=CHAOTIC)),
        pytest.param(NORMS["none"], 0.0, id="none without dropout"),
        pytest.param(NORMS["batch"], 0.0, id="batch without dropout"),
    ],
)
def test_float64_equals_the_twin(norm: dict[str, Any], nonlinearity: str, dropout: float) -> None:
    """Losses, weights, curve and final numbers, over 200 steps, in a cohort whose every number differs by
    trial. Two trials share a stream's seed but not its run of slots, and nothing may be mistaken for a
    neighbour's."""
    base = {**SMALL, **norm, "nonlinearity": nonlinearity, "precision": "float64", "steps": 200}
    trials = [
        trial(base, seed=7, dropout=dropout, weight_decay=1e-3, lr_multiplier=0.5),
        trial(base, seed=7, dropout=dropout / 2, momentum=0.5, lr_multiplier=5.0),
        trial(base, seed=8, dropout=dropout, weight_decay=1e-2, momentum=0.0, init_scale=1.7),
    ]
    training, program, twins = watch(trials)
    points = [1, 2, 19, 100, 200]
    for step in range(1, 201):
        program.run(step, 1)
        losses = [twin.step() for twin in twins]
        assert program.losses[-1] == pytest.approx(losses, rel=1e-9)
        if step in points:
            training.add_points(step)
            for slot, twin in enumerate(twins):
                assert_close(training.curves[slot][-1], twin.point(), 1e-9)
    assert max(weights_apart(program, slot, twin) for slot, twin in enumerate(twins)) < 1e-9
    for outcome in training.finish():
        assert outcome.final is not None
        assert [point.step for point in outcome.curve] == points
        assert_close(outcome.final, twins[outcome.slot].final(), 1e-9)


@pytest.mark.parametrize("batch_size", [2, 7])
@pytest.mark.parametrize(
    "norm",
    [
        {"norm": {"name": "batch", "eps": 0.1, "momentum": 0.5}},
        {"norm": {"name": "noisy-batch", "eps": 0.1, "momentum": 0.5, "shift": 2.0, "scale": 3.0}},
        {"norm": {"name": "group", "groups": 3, "eps": 0.1}},
        {"norm": "none"},
        pytest.param({"norm": {"name": "layer", "eps": 0.1}}, marks=pytest.mark.slow),
        pytest.param({"norm": {"name": "rms", "eps": 0.1}}, marks=pytest.mark.slow),
    ],
    ids=["batch", "noisy", "group", "none", "layer", "rms"],
)
def test_float64_equals_the_twin_with_other_options(norm: dict[str, Any], batch_size: int) -> None:
    """Other options of the norms, fixed batches of other sizes, a schedule by trial, one layer, shared streams, and a
    population of more than 100 batches."""
    base = {
        **norm,
        "model": {"name": "mlp", "hidden": (9,)},
        "batch_size": batch_size,
        "shuffle": "fixed",
        "steps": 60,
    }
    base |= {"precision": "float64", "nonlinearity": "tanh"}
    trials = [
        trial(base, seed=seed, dropout=dropout, schedule={"name": "exponential", "decay": decay, "every": 20.0})
        for seed in (1, 2)
        for dropout, decay in ((0.0, 1.0), (0.3, 0.5), (0.6, 0.1))
    ]
    training, program, twins = watch(trials)
    for step in range(1, 61):
        program.run(step, 1)
        assert program.losses[-1] == pytest.approx([twin.step() for twin in twins], rel=1e-9)
    training.add_points(60)
    for outcome in training.finish():
        twin = twins[outcome.slot]
        assert outcome.final is not None
        assert weights_apart(program, outcome.slot, twin) < 1e-9
        assert_close(outcome.curve[-1], twin.point(), 1e-9)
        assert_close(outcome.final, twin.final(), 1e-9)


@pytest.mark.parametrize("nonlinearity", ["sigmoid", "relu", "tanh"])
@every_calm_norm
def test_float32_gradients_of_one_step_equal_the_twins(norm: dict[str, Any], nonlinearity: str) -> None:
    """After one step without weight decay the velocity is the gradient times the momentum: as a whole within 1e-6, and
    every tensor of it nearly so (torch's own first beta, a sum that cancels, is 1.8e-6 from the float64 one)."""
    base = {**PAPER, **norm, "nonlinearity": nonlinearity}
    _, program, twins = watch([trial(base, dropout=dropout, seed=seed) for seed in (3, 4) for dropout in (0.0, 0.5)])
    program.run(1, 1)
    for slot, twin in enumerate(twins):
        twin.step()
        ours = [velocity[slot].flatten() / 0.9 for velocity in velocities(program)]
        its = [parameter.grad.flatten() for parameter in twin.in_order() if parameter.grad is not None]
        assert float((torch.cat(ours) - torch.cat(its)).norm() / torch.cat(its).norm()) < 1e-6
        for our, theirs in zip(ours, its, strict=True):
            assert float((our - theirs).norm()) <= 3e-6 * float(theirs.norm()), "both may be 0"


@every_calm_norm
def test_float32_equals_the_twin_over_100_steps_of_sigmoid(norm: dict[str, Any]) -> None:
    base = {**PAPER, **norm}
    training, program, twins = watch(
        [trial(base, dropout=0.2, seed=3, lr_multiplier=5.0), trial(base, weight_decay=1e-3, seed=4)]
    )
    for step in range(1, 101):
        program.run(step, 1)
        assert program.losses[-1] == pytest.approx([twin.step() for twin in twins], rel=1e-4)
    training.add_points(100)
    for outcome in training.finish():
        twin = twins[outcome.slot]
        assert outcome.final is not None
        assert weights_apart(program, outcome.slot, twin) < 1e-4
        for ours, its in ((outcome.curve[-1], twin.point()), (outcome.final, twin.final())):
            assert astuple(ours) == pytest.approx(astuple(its), rel=1e-4, abs=1 / 360 + 1e-9)


def mixed(norm: dict[str, Any], nonlinearity: str) -> list[TrialConfig]:
    """18 trials, six of each of three seeds, with all per-trial numbers mixed."""
    base = {**SMALL, **norm, "nonlinearity": nonlinearity, "steps": 20, "eval_every": 20}
    numbers: list[dict[str, Any]] = [
        {},
        {"lr_multiplier": 30.0},
        {"dropout": 0.5, "lr_multiplier": 5.0},
        {"dropout": 0.1, "weight_decay": 1e-2},
        {"init_scale": 10.0, "momentum": 0.5},
        {"init_scale": 0.01, "dropout": 0.9, "lr": 0.1},
    ]
    return [trial(base, seed=seed, **row) for seed in (0, 1, 2**40) for row in numbers]


def test_the_sigmoid_takes_maps_whose_channels_come_first_in_memory() -> None:
    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).permute(0, 2, 3, 1)
    x.requires_grad_()
    y = sigmoid(x)
    [ours], [torchs] = (torch.autograd.grad(each.square().sum(), x) for each in (y, torch.sigmoid(x)))
    assert torch.allclose(y, torch.sigmoid(x), rtol=1e-15) and torch.allclose(ours, torchs, rtol=1e-14)


nonlinearities = pytest.mark.parametrize("nonlinearity", ["sigmoid", "relu", "tanh"])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 18])
@nonlinearities
@norms
def test_a_trial_in_a_cohort_equals_itself_alone(norm: dict[str, Any], nonlinearity: str, size: int) -> None:
    """Bit for bit: cohorts of one stream (2, 3), of uneven seeds (7) and of several streams (18)."""
    assert_as_alone(mixed(norm, nonlinearity)[:size])


@nonlinearities
@every_norm
def test_slots_do_not_matter(norm: dict[str, Any], nonlinearity: str) -> None:
    """Backwards, seeds interleaved, and shuffled."""
    trials = mixed(norm, nonlinearity)
    shuffled = [trials[place] for place in random.permutation(random.keys("test", [0]), 18)[0].tolist()]
    for permuted in (trials[::-1], [*trials[::6], *trials[1::6]], shuffled):
        assert_as_alone(permuted)


@pytest.mark.parametrize("nonlinearity", ["sigmoid", "relu"])
@norms
def test_a_trial_of_the_papers_network_equals_itself_alone(norm: dict[str, Any], nonlinearity: str) -> None:
    """Three layers of 100, 60 steps: one cohort of shared streams and one of none."""
    base = {**PAPER, **norm, "nonlinearity": nonlinearity, "steps": 60, "eval_every": 30}
    numbers: list[dict[str, Any]] = [{}, {"lr_multiplier": 5.0, "dropout": 0.5}, {"init_scale": 3.0}]
    trials = [trial(base, seed=seed, **row) for seed in (0, 1) for row in numbers]
    assert_as_alone(trials)
    assert_as_alone(trials[:2])
    assert_as_alone(trials[2:])


@norms
def test_a_trial_on_images_of_784_pixels_equals_itself_alone(norm: dict[str, Any]) -> None:
    """A first layer of 784 inputs, one stream: where a wide matrix product may sum in another order."""
    base = {
        **norm,
        "model": {"name": "mlp", "hidden": (100,)},
        "dataset": "mnist",
        "steps": 20,
        "eval_every": 10,
    }
    assert_as_alone([trial(base, seed=5, lr_multiplier=rate, dropout=0.3) for rate in (1.0, 5.0, 30.0)])


@pytest.mark.parametrize("batch_size", [2, 7, 61])
@every_norm
def test_odd_sizes_equal_themselves_alone(norm: dict[str, Any], batch_size: int) -> None:
    """Sizes that leave every vector register partly filled, and the smallest batch."""
    base = {**undivided(norm), "model": {"name": "mlp", "hidden": (33, 7)}, "batch_size": batch_size, "steps": 20}
    assert_as_alone([trial(base, seed=seed, dropout=p) for seed in (0, 1) for p in (0.0, 0.2, 0.4)][:5])


@every_norm
def test_float64_trials_equal_themselves_alone(norm: dict[str, Any]) -> None:
    base = {**SMALL, **norm, "steps": 20, "precision": "float64", "eval_every": 10}
    assert_as_alone([trial(base, seed=seed, dropout=p) for seed in (0, 1) for p in (0.0, 0.2)])


@every_norm
def test_what_is_recorded_changes_nothing_that_happens(norm: dict[str, Any]) -> None:
    """Points wherever they stand have the same numbers, and the final numbers do not move."""
    often, seldom = (
        together([trial({**SMALL, **norm, "steps": 30, "eval_every": every}, dropout=p) for p in (0.0, 0.4)])
        for every in (1, 30)
    )
    for dense, sparse in zip(often, seldom, strict=True):
        assert dense.final == sparse.final
        assert set(sparse.curve) <= set(dense.curve)
        assert [point.step for point in sparse.curve] == evaluation_steps(30, 30)
        assert [point.step for point in dense.curve] == list(range(1, 31))


WILD: list[dict[str, Any]] = [
    {"weight_decay": 1e3},
    {"weight_decay": 1e4},
    {"init_scale": 1e10},
    {"init_scale": 4e12},
    {"init_scale": 1e38},
    {"lr_multiplier": 1e38},
]
"""Numbers under which ReLU without normalization diverges, at various steps and to various losses."""


def diverging(base: dict[str, Any]) -> list[TrialConfig]:
    return [trial(base, seed=seed, **wild) for seed, wild in enumerate(WILD)]


@every_norm
@pytest.mark.parametrize("wild", [*WILD, {"lr_multiplier": 1e6}], ids=str)
def test_neighbours_of_a_diverging_trial_are_unaffected(wild: dict[str, Any], norm: dict[str, Any]) -> None:
    """Whether it shares their stream or not, stands first or last, and ends or not."""
    base = {**SMALL, **norm, "nonlinearity": "relu", "steps": 25, "eval_every": 7}
    calm = [trial(base, seed=seed, dropout=p) for seed in (0, 1) for p in (0.0, 0.3)]
    assert_as_alone([trial(base, seed=0, **wild), *calm])
    assert_as_alone([*calm, trial(base, seed=1, dropout=0.3, **wild)])
    assert_as_alone([calm[0], trial(base, seed=0, **wild), *calm[2:]])


def plain_divergence(lone: TrialConfig) -> tuple[int, float] | None:
    """The step at which a plain loop's loss ceases to be finite, and that loss."""
    [twin] = watch([lone])[2]
    for step in range(1, lone.steps + 1):
        loss = twin.step()
        if not np.isfinite(loss):
            return step, loss
    return None


def test_a_diverged_trial_ends_with_its_step_and_reason() -> None:
    """The step is where a plain loop's loss is not finite; the curve ends before it; there is no final."""
    base = {**SMALL, "nonlinearity": "relu", "steps": 25, "eval_every": 10}
    trials = [*diverging(base), trial(base, seed=9)]
    outcomes = together(trials)
    assert [outcome.status for outcome in outcomes] == ["diverged"] * len(WILD) + ["finished"]
    for lone, outcome in zip(trials[:-1], outcomes, strict=False):
        expected = plain_divergence(lone)
        assert expected is not None
        assert (outcome.diverged_at_step, outcome.reason) == (expected[0], str(expected[1]))
        steps = [point.step for point in outcome.curve]
        assert steps == [step for step in evaluation_steps(25, 10) if step < expected[0]]
        assert outcome.final is None
    assert len({outcome.diverged_at_step for outcome in outcomes[:-1]}) > 3
    assert {outcome.reason for outcome in outcomes[:-1]} == {"inf", "nan"}
    last = outcomes[-1]
    assert last.final is not None and last.diverged_at_step is None and last.reason is None
    assert [point.step for point in last.curve] == evaluation_steps(25, 10)


def test_a_cohort_that_has_all_diverged_ends_early() -> None:
    """At the first evaluation after the last divergence, and nothing comes after."""
    base = {**SMALL, "nonlinearity": "relu", "steps": 500, "eval_every": 10}
    told = records(diverging(base))
    progress = [one for one in told if isinstance(one, Progress)]
    last = max(one.diverged_at_step or 0 for one in told if isinstance(one, Outcome))
    assert told[-1] == progress[-1] == Progress(next(s for s in evaluation_steps(30, 10) if s >= last), live=0, steps=0)
    assert [one.live for one in progress] == sorted((one.live for one in progress), reverse=True)
    assert {one.slot for one in told if isinstance(one, Outcome)} == set(range(len(WILD)))


def test_a_curve_survives_a_variance_that_overflows() -> None:
    """Batch normalization keeps training where a layer's variance is infinite for a step. The moving average
    is then infinite, not NaN, and every point of the curve is a number, as the twin's are."""
    lone = trial({**SMALL, "norm": "batch", "nonlinearity": "relu"}, lr_multiplier=1e4)
    training, program, [twin] = watch([lone])
    for step in range(1, 21):
        program.run(step, 1)
        training.add_points(step)
        assert np.isfinite(twin.step()) and np.isfinite(program.losses[-1]).all()
        assert np.isfinite(twin.point().train_loss)
    assert not all(norm.running_var is not None and norm.running_var.isfinite().all() for norm in twin.norms)
    assert np.isfinite([point.train_loss for point in training.curves[0]]).all()


def test_a_trial_whose_last_update_ruined_it_has_diverged() -> None:
    """Training ends just before the step whose loss would not be finite; no final numbers come of that."""
    base = {**SMALL, "nonlinearity": "relu"}
    wild = {"lr_multiplier": 1e38, "seed": 3}
    found = plain_divergence(trial({**base, "steps": 25}, **wild))
    assert found is not None and found[0] > 1
    steps = found[0] - 1
    ruined, calm = together([trial({**base, "steps": steps}, **wild), trial({**base, "steps": steps}, seed=3)])
    assert (ruined.status, ruined.diverged_at_step, ruined.final) == ("diverged", steps, None)
    assert ruined.reason in {"nan", "inf"}
    assert calm == replace(alone(trial({**base, "steps": steps}, seed=3)), slot=1)


OPTIMIZERS: dict[str, list[dict[str, Any]]] = {
    "nesterov": [{"momentum": 0.5}, {"lr_multiplier": 3.0}, {"momentum": 0.99, "weight_decay": 1e-2}],
    "adam": [
        {"beta1": 0.5, "beta2": 0.9, "lr_multiplier": 10.0},
        {"eps": 1e-2, "lr": 0.03},
        {"beta2": 0.99, "weight_decay": 1e-2},
    ],
}
"""Numbers of a cohort's trials."""
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS)


@optimizers
def test_an_optimizer_equals_torchs_own(optimizer: str) -> None:
    """In float64, over 200 steps, with a schedule, in a cohort whose every number differs by trial."""
    base = {**SMALL, "norm": "batch", "precision": "float64", "steps": 200, "optimizer": {"name": optimizer}}
    base |= {"schedule": {"name": "exponential", "decay": 0.5, "every": 50.0}}
    _, program, twins = watch([trial(base, seed=7, **numbers) for numbers in OPTIMIZERS[optimizer]])
    for step in range(1, 201):
        program.run(step, 1)
        assert program.losses[-1] == pytest.approx([twin.step() for twin in twins], rel=1e-9)
    assert max(weights_apart(program, slot, twin) for slot, twin in enumerate(twins)) < 1e-9


@optimizers
def test_with_any_optimizer_a_trial_equals_itself_alone_and_after_a_neighbours_end(optimizer: str) -> None:
    base = {**SMALL, "nonlinearity": "relu", "steps": 25, "eval_every": 5, "optimizer": {"name": optimizer}}
    trials = [trial(base, seed=0, lr_multiplier=1e38), *(trial(base, seed=0, **n) for n in OPTIMIZERS[optimizer])]
    assert [outcome.status for outcome in together(trials)] == ["diverged", *["finished"] * 3]
    assert_as_alone(trials)


def test_a_schedule_is_the_trials_own() -> None:
    """decay^((step - 1) / every) for each trial, as torch's scheduler; the whole rate at the first step."""
    rules = [(0.5, 10.0), (0.9, 1.0), (1.0, 7.0), (0.04, 1000.0)]
    trials = [
        trial(SMALL, lr_multiplier=3.0, schedule={"name": "exponential", "decay": decay, "every": every})
        for decay, every in rules
    ]
    optimizer = Program(trials, data_of("digits", "float64")).optimizer
    for place, (decay, every) in enumerate(rules):
        plain = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.06)
        schedule = ExponentialLR(plain, decay ** (1 / every))
        for step in range(1, 101):
            optimizer.prepare(step, 1)
            rate = -optimizer.minus_rates[0, place].item()
            assert rate == pytest.approx(plain.param_groups[0]["lr"], rel=1e-12)
            assert rate == pytest.approx(0.06 * decay ** ((step - 1) / every), rel=1e-12)
            plain.step()
            schedule.step()


def test_a_trial_with_a_schedule_equals_itself_alone_and_after_a_neighbours_end() -> None:
    """The columns of the schedule go with the trials that are left."""
    base = {**SMALL, "nonlinearity": "relu", "steps": 25, "eval_every": 5}
    decays = [{"name": "exponential", "decay": decay, "every": 5.0} for decay in (0.3, 0.5, 0.9)]
    trials = [trial(base, seed=0, schedule=decays[0], lr_multiplier=1e38)]
    trials += [trial(base, seed=0, schedule=rule, dropout=0.2, momentum=0.5, weight_decay=1e-2) for rule in decays]
    assert [outcome.status for outcome in together(trials)] == ["diverged", *["finished"] * 3]
    assert_as_alone(trials)


def examples(count: int) -> Examples:
    """Examples whose one input is their own number."""
    return Examples(torch.arange(count, dtype=torch.float64)[:, None], torch.arange(count))


def labels(batches: Batches, step: int, seeds: list[int]) -> Tensor:
    """The labels [S, B] of one step."""
    return batches.take(batches.indices(step, 1, seeds)[0])[1]


def members(batches: Batches, epoch: int, seed: int) -> list[list[int]]:
    first = epoch * batches.per_epoch + 1
    return [labels(batches, step, [seed])[0].tolist() for step in range(first, first + batches.per_epoch)]


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("count", [60, 65])
def test_the_batches_of_an_epoch_are_disjoint_and_cover(count: int, fixed: bool) -> None:
    """All examples but the remainder, whole batches only; x goes with y."""
    batches = Batches(examples(count), 6, fixed)
    assert batches.per_epoch == 10
    for epoch in range(3):
        seen = [index for batch in members(batches, epoch, 4) for index in batch]
        assert len(seen) == len(set(seen)) == 60 and set(seen) <= set(range(count))
    x, y = batches.take(batches.indices(3, 1, [4, 5])[0])
    assert x.shape == (2, 6, 1) and torch.equal(x[:, :, 0].long(), y)


def test_fixed_batches_keep_their_members_and_change_their_order() -> None:
    batches = Batches(examples(65), 6, True)
    epochs = [members(batches, epoch, 4) for epoch in range(4)]
    kept = [{frozenset(batch) for batch in epoch} for epoch in epochs]
    assert kept[0] == kept[1] == kept[2] == kept[3]
    assert len({str(epoch) for epoch in epochs}) == 4
    population = [x[0, :, 0].long().tolist() for x in batches.population([4])]
    assert {frozenset(batch) for batch in population} == kept[0]


def test_fresh_batches_change_their_members() -> None:
    batches = Batches(examples(65), 6, False)
    kept = [{frozenset(batch) for batch in members(batches, epoch, 4)} for epoch in range(4)]
    assert not any(a & b for a, b in pairwise(kept))
    left_out = [set(range(65)).difference(*epoch) for epoch in kept]
    assert left_out[0] != left_out[1], "no example is left out for ever"


@pytest.mark.parametrize("fixed", [False, True])
def test_a_streams_batches_depend_on_its_seed_alone(fixed: bool) -> None:
    """Not on the other streams, nor on what was asked before."""
    together_, lone = (Batches(examples(65), 6, fixed) for _ in range(2))
    for step in (1, 2, 25, 11, 1):
        y = labels(together_, step, [4, 5, 6])
        for place, seed in enumerate((4, 5, 6)):
            assert torch.equal(labels(lone, step, [seed])[0], y[place])
    assert not torch.equal(y[0], y[1])
    many = [x[1] for x in together_.population([4, 5])]
    assert all(torch.equal(a, b[0]) for a, b in zip(many, lone.population([5]), strict=True))


@pytest.mark.parametrize(("count", "expected"), [(60, 10), (605, 100), (6000, 100)])
def test_the_population_is_of_at_most_100_batches(count: int, expected: int) -> None:
    """Of an epoch of its own, which no training step sees in that order."""
    batches = Batches(examples(count), 6, False)
    found = [x[0, :, 0].long().tolist() for x in batches.population([4])]
    assert len(found) == expected <= POPULATION_BATCHES
    seen = [index for batch in found for index in batch]
    assert len(seen) == len(set(seen)) == expected * 6
    assert found[0] != members(batches, 0, 4)[0]


def test_a_batch_of_more_than_all_examples_is_refused() -> None:
    assert Batches(examples(60), 60, False).per_epoch == 1
    with pytest.raises(UsageError, match="batch_size: 61 is more than the 60 training examples"):
        Batches(examples(60), 61, False)


def first_weights(trials: Iterable[TrialConfig]) -> list[Tensor]:
    program = Program(list(trials), data_of("digits", "float64"))
    return [module.weight.detach() for module in program.model.modules() if isinstance(module, Linear)]


def test_initial_weights_are_common_to_a_seed_and_scaled() -> None:
    """Normal with deviation init_scale sqrt(1/fan_in), one draw for all scales, others by seed and layer."""
    base = {**PAPER, "precision": "float64"}
    layers = first_weights([trial(base, init_scale=1.0), trial(base, init_scale=4.0), trial(base, seed=1)])
    assert [tuple(layer.shape[1:]) for layer in layers] == [(100, 64), (100, 100), (100, 100), (10, 100)]
    for layer in layers:
        fan_in = layer.shape[2]
        assert torch.equal(layer[1], 4 * layer[0])
        assert float(layer[0].std()) == pytest.approx(fan_in**-0.5, rel=0.08)
    for one, other in (
        (layers[0][0], layers[0][2]),
        (layers[1][0], layers[2][0]),
        (layers[2][0], layers[2][2]),
    ):
        assert abs(np.corrcoef(one.flatten(), other.flatten())[0, 1]) < 4 / one.numel() ** 0.5


def test_dropout_drops_its_share_and_nested_sets() -> None:
    """Of the twin's mask, which the engine was held against: trials of one seed drop nested sets of units."""
    masks = [dropout_mask(0, "hidden 0", 5, p, torch.zeros(60, 100)) for p in (0.2, 0.5, 0.9)]
    for mask, p in zip(masks, (0.2, 0.5, 0.9), strict=True):
        assert float((mask == 0).double().mean()) == pytest.approx(p, abs=0.03)
        assert mask.max().item() == pytest.approx(1 / (1 - p))
    assert all(((small > 0) | (large == 0)).all() for small, large in pairwise(masks))


def test_other_seeds_and_splits_give_other_numbers() -> None:
    base = {**SMALL, "steps": 5, "eval_every": 5}
    finals = {alone(trial(base, seed=seed, split=split)).final for seed in (0, 1) for split in (0, 1)}
    assert len(finals) == 4


def test_batch_normalization_trains_where_its_absence_does_not() -> None:
    """The point of it all, in small: three sigmoid layers of 100 on digits."""
    base = {**PAPER, "steps": 200, "eval_every": 200}
    plain, normed = (alone(trial({**base, "norm": norm})).final for norm in ("none", "batch"))
    assert plain is not None and normed is not None
    assert normed.test_accuracy > 0.85 > 0.5 > plain.test_accuracy
