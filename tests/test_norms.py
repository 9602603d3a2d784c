"""Normalizers one by one: those of each example are torch's, noise is as announced, probing leaves nothing behind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch.nn.utils.parametrizations import weight_norm

from bnexp.config import TrialConfig
from bnexp.errors import UsageError
from bnexp.models.batchwise import BatchRenorm, GhostBatchNorm
from bnexp.models.layers import Cohort, Layer, Linear, Mode, Pass
from bnexp.models.mlp import mlp
from bnexp.models.normalization import BatchNorm, GroupNorm, NoisyBatchNorm
from bnexp.models.of_weights import WeightNorm, WeightStandardization
from bnexp.models.per_example import LayerNorm, RmsNorm
from bnexp.normalizers import (
    BatchNormOptions,
    BatchRenormOptions,
    GhostBatchNormOptions,
    GroupNormOptions,
    LayerNormOptions,
    NoisyBatchNormOptions,
    RmsNormOptions,
    WeightNormOptions,
    WeightStandardizationOptions,
)
from tests.cohorts import SMALL, Watched, assert_as_alone, data_of, trial
from tests.norm_twins import RmsTwin

CPU = torch.device("cpu")


def cohort(streams: list[int], trials: int = 3, dtype: torch.dtype = torch.float64) -> Cohort:
    return Cohort(streams, torch.ones(trials).double(), torch.zeros(trials).double(), dtype, CPU)


def now(mode: Mode, step: int = 1) -> Pass:
    return Pass(mode, torch.tensor(step))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def assert_as_plain(layer: Any, plain: Callable[[], Any], units: int, batch: int, mode: Mode) -> None:
    """Values and all three gradients of three trials, each as those of a torch.nn module of its own."""
    layer.gamma.data, layer.beta.data = drawn(3, 1, units, seed=1), drawn(3, 1, units, seed=2)
    x, weights = drawn(3, batch, units, seed=3).requires_grad_(), drawn(3, batch, units, seed=4)
    y = layer(x, now(mode))
    (y * weights).sum().backward()
    assert x.grad is not None
    for slot in range(3):
        alone = plain().double()
        alone.weight.data, alone.bias.data = layer.gamma.data[slot, 0], layer.beta.data[slot, 0]
        theirs = x.detach()[slot].clone().requires_grad_()
        expected = alone(theirs)
        (expected * weights[slot]).sum().backward()
        torch.testing.assert_close(y[slot], expected, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(x.grad[slot], theirs.grad, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(layer.gamma.grad[slot, 0], alone.weight.grad, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(layer.beta.grad[slot, 0], alone.bias.grad, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("units", "groups", "batch"), [(12, 4, 5), (7, 1, 2), (7, 7, 2), (33, 11, 61)])
def test_group_normalization_is_torchs(units: int, groups: int, batch: int, mode: Mode) -> None:
    """Whatever the pass is for; a group of one unit included."""
    layer = GroupNorm(cohort([1]), "hidden 0", units, GroupNormOptions(groups=groups, eps=1e-3))
    assert_as_plain(layer, lambda: nn.GroupNorm(groups, units, eps=1e-3), units, batch, mode)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("units", "batch"), [(12, 5), (33, 61)])
def test_layer_normalization_is_torchs(units: int, batch: int, mode: Mode) -> None:
    layer = LayerNorm(cohort([1]), "hidden 0", units, LayerNormOptions(eps=1e-3))
    assert_as_plain(layer, lambda: nn.LayerNorm(units, eps=1e-3), units, batch, mode)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("units", "batch"), [(12, 5), (33, 61)])
def test_root_mean_square_normalization_is_torchs_with_a_bias(units: int, batch: int, mode: Mode) -> None:
    layer = RmsNorm(cohort([1]), "hidden 0", units, RmsNormOptions(eps=1e-3))
    assert_as_plain(layer, lambda: RmsTwin(units, eps=1e-3), units, batch, mode)


def ghost(units: int, trials: int = 3, **options: Any) -> GhostBatchNorm:
    return GhostBatchNorm(cohort([1], trials), "hidden 0", units, GhostBatchNormOptions(**options))


@pytest.mark.parametrize(("batch", "parts"), [(12, [4, 4, 4]), (11, [4, 4, 3]), (5, [3, 2])])
@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.COLLECT, Mode.PROBE])
def test_a_ghost_batch_is_normalized_as_if_it_were_alone(batch: int, parts: list[int], mode: Mode) -> None:
    """Torch's batch normalization of each; a batch that cannot be cut evenly, as a probe's, nearly so."""

    def plain() -> nn.Module:
        class Each(nn.BatchNorm1d):
            def forward(self, x: Tensor) -> Tensor:
                return torch.cat([super(Each, self).forward(part) for part in x.split(parts)])

        return Each(7, 1e-3)

    assert_as_plain(ghost(7, groups=3, eps=1e-3), plain, 7, batch, mode)


def test_moving_averages_move_with_every_ghost_batch() -> None:
    """One after the other, as torch's do, and debiased as such; what is gathered counts each."""
    layer, twin, x = (
        ghost(7, trials=1, groups=3, momentum=0.3),
        nn.BatchNorm1d(7, momentum=0.3).double(),
        drawn(1, 12, 7),
    )
    layer(x, now(Mode.TRAIN))
    layer(x, now(Mode.COLLECT))
    for part in x[0].split(4):
        twin(part)
    assert twin.running_mean is not None and twin.running_var is not None and float(layer.batches) == 3
    torch.testing.assert_close(layer.moving[0, 0], twin.running_mean)
    torch.testing.assert_close(layer.moving[0, 1], twin.running_var - 0.7**3)
    evaluated = (x - twin.running_mean / (1 - 0.7**3)) / ((twin.running_var - 0.7**3) / (1 - 0.7**3) + 1e-5).sqrt()
    torch.testing.assert_close(layer(x, now(Mode.CURVE)), evaluated)
    means = torch.stack([part.mean(0) for part in x[0].split(4)]).mean(0)
    variances = torch.stack([part.var(0) for part in x[0].split(4)]).mean(0)
    torch.testing.assert_close(layer(x, now(Mode.FINAL)), (x - means) / (variances + 1e-5).sqrt())


@pytest.mark.parametrize(("batch_size", "groups"), [(60, 7), (60, 60), (2, 2), (60, 120)])
def test_ghost_batches_that_a_batch_does_not_hold_are_refused(batch_size: int, groups: int) -> None:
    config = TrialConfig.model_validate({"batch_size": batch_size, "norm": {"name": "ghost-batch", "groups": groups}})
    words = (
        rf"norm\.groups: a batch of {batch_size} examples cannot be cut into {groups} virtual batches of equally many"
    )
    with pytest.raises(UsageError, match=words):
        mlp(cohort([0]), config, (2, 2), 10)


def renorm(**options: Any) -> BatchRenorm:
    """Of seven units of two trials, with a gamma and a beta, that has seen three batches."""
    layer = BatchRenorm(cohort([1], 2), "hidden 0", 7, BatchRenormOptions(**options))
    layer.gamma.data, layer.beta.data = drawn(2, 1, 7, seed=1), drawn(2, 1, 7, seed=2)
    for step in (1, 2, 3):
        layer(drawn(2, 9, 7, seed=10 + step), now(Mode.TRAIN, step))
    return layer


@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.PROBE])
def test_batch_renormalization_without_room_is_batch_normalization(mode: Mode) -> None:
    """And so is any before the first step, and at it, whatever its limits."""
    x, weights = drawn(2, 9, 7, seed=3).requires_grad_(), drawn(2, 9, 7, seed=4)
    narrow, wide = renorm(rmax=1.0, dmax=0.0), renorm()
    plain = BatchNorm(cohort([1], 2), "hidden 0", 7, BatchNormOptions())
    plain.gamma.data, plain.beta.data = narrow.gamma.data, narrow.beta.data
    expected = plain(x, now(mode, 4))
    [gradient] = torch.autograd.grad((expected * weights).sum(), x)
    for layer, step in ((narrow, 4), (wide, 1 if mode is Mode.TRAIN else 0)):
        y = layer(x, now(mode, step))
        torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(torch.autograd.grad((y * weights).sum(), x)[0], gradient, rtol=1e-9, atol=1e-11)


def test_batch_renormalization_with_room_normalizes_by_the_averages_of_the_batches_before() -> None:
    """As an evaluation does, in which it is no different then, though the batch is far from them."""
    layer, x = renorm(rmax=1e6, dmax=1e6), 5 * drawn(2, 9, 7, seed=3) + 3
    before = layer(x, now(Mode.CURVE, 3))
    torch.testing.assert_close(layer(x, now(Mode.PROBE, 3)), before, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(layer(x, now(Mode.TRAIN, 4)), before, rtol=1e-10, atol=1e-11)
    assert float((layer(x, now(Mode.CURVE, 4)) - before).detach().abs().max()) > 0.1


def test_the_corrections_of_batch_renormalization_have_limits() -> None:
    """On both sides, and they are constants in the backward pass."""
    layer = renorm(rmax=2.0, dmax=0.5)
    for scale, shift, r, d in ((100.0, 1e4, 2.0, 0.5), (0.01, -1e4, 0.5, -0.5)):
        x, weights = (scale * drawn(2, 9, 7, seed=3) + shift).requires_grad_(), drawn(2, 9, 7, seed=4)
        deviation = (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        expected = ((x - x.mean(1, keepdim=True)) / deviation * r + d) * layer.gamma + layer.beta
        y = layer(x, now(Mode.PROBE, 3))
        torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-10)
        ours, theirs = (torch.autograd.grad((each * weights).sum(), x)[0] for each in (y, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-12)


def test_batch_renormalization_averages_deviations_and_ends_with_those_gathered() -> None:
    layer, batches = renorm(momentum=0.3), [drawn(2, 9, 7, seed=20 + number) for number in range(3)]
    for x in batches:
        layer(x, now(Mode.COLLECT, 3))
    means, deviations = (
        torch.stack([of(x) for x in batches]).mean(0)
        for of in (
            lambda x: x.mean(1, keepdim=True),
            lambda x: (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt(),
        )
    )
    expected = (batches[0] - means) / deviations * layer.gamma + layer.beta
    torch.testing.assert_close(layer(batches[0], now(Mode.FINAL, 3)), expected)


def test_weight_normalization_is_torchs() -> None:
    """Values and the gradients of v, g, b and x, from torch's own parametrization of a layer with other weights."""
    streams = Cohort([1, 2, 3], torch.ones(3).double(), torch.zeros(3).double(), torch.float64, CPU)
    linear, layer = Linear(streams, "hidden 0", 5, 7), WeightNorm(streams, "hidden 0", 7, WeightNormOptions())
    layer.follow(linear)
    torch.testing.assert_close(layer.gamma[:, 0].detach(), linear.weight.detach().norm(dim=2))
    torch.testing.assert_close(
        layer(linear(drawn(3, 4, 5), now(Mode.TRAIN)), now(Mode.TRAIN)), drawn(3, 4, 5) @ linear.weight.transpose(1, 2)
    )
    linear.weight.data, layer.gamma.data, layer.beta.data = (
        drawn(3, 7, 5),
        drawn(3, 1, 7, seed=1),
        drawn(3, 1, 7, seed=2),
    )
    x, weights = drawn(3, 4, 5, seed=3).requires_grad_(), drawn(3, 4, 7, seed=4)
    y = layer(linear(x, now(Mode.TRAIN)), now(Mode.TRAIN))
    (y * weights).sum().backward()
    for slot in range(3):
        plain = weight_norm(nn.Linear(5, 7).double())
        g, v = plain.parametrizations.weight.original0, plain.parametrizations.weight.original1
        g.data, v.data, plain.bias.data = layer.gamma.data[slot].T, linear.weight.data[slot], layer.beta.data[slot, 0]
        theirs = x.detach()[slot].clone().requires_grad_()
        expected = plain(theirs)
        (expected * weights[slot]).sum().backward()
        torch.testing.assert_close(y[slot], expected)
        pairs = [(x.grad, theirs.grad), (linear.weight.grad, v.grad), (layer.gamma.grad, g.grad.T)]
        for ours, its in [*pairs, (layer.beta.grad, plain.bias.grad[None])]:
            assert ours is not None
            torch.testing.assert_close(ours[slot], its)


def test_weight_standardization_uses_weights_of_mean_zero_and_variance_one() -> None:
    """As torch's layer normalization of them would make them, in values and gradients; the bias comes after."""
    linear = Linear(cohort([1]), "hidden 0", 5, 7)
    layer = WeightStandardization(cohort([1]), "hidden 0", 7, WeightStandardizationOptions(eps=1e-3))
    layer.follow(linear)
    linear.weight.data, layer.bias.data = drawn(3, 7, 5) + 2, drawn(3, 1, 7, seed=2)
    x, weights = drawn(3, 4, 5, seed=3), drawn(3, 4, 7, seed=4)
    y = layer(linear(x, now(Mode.TRAIN)), now(Mode.TRAIN))
    (y * weights).sum().backward()
    for slot in range(3):
        plain = linear.weight.detach()[slot].clone().requires_grad_()
        expected = x[slot] @ layer_norm(plain, (5,), eps=1e-3).T + layer.bias.detach()[slot]
        (expected * weights[slot]).sum().backward()
        assert plain.grad is not None and linear.weight.grad is not None
        torch.testing.assert_close(y[slot], expected)
        torch.testing.assert_close(linear.weight.grad[slot], plain.grad)


def test_the_gradient_of_a_prepared_weight_is_added_to_the_velocity() -> None:
    """Whose tensor stays, as a CUDA graph needs it."""
    linear, layer = Linear(cohort([1]), "x", 5, 7), WeightNorm(cohort([1]), "x", 7, WeightNormOptions())
    layer.follow(linear)
    found = []
    for before in (torch.zeros(3, 7, 5).double(), drawn(3, 7, 5)):
        linear.weight.grad = velocity = before.clone()
        (layer(linear(drawn(1, 4, 5), now(Mode.TRAIN)), now(Mode.TRAIN)) * drawn(3, 4, 7)).sum().backward()
        assert linear.weight.grad is velocity
        found.append(velocity - before)
    torch.testing.assert_close(found[0], found[1])
    assert float(found[0].abs().min()) > 0


def test_groups_that_do_not_divide_the_units_are_refused() -> None:
    config = TrialConfig.model_validate(
        {"norm": {"name": "group", "groups": 3}, "model": {"name": "mlp", "hidden": [9, 7]}}
    )
    with pytest.raises(UsageError, match=r"norm\.groups: 3 groups do not divide the 7 units of layer 'hidden 1'"):
        mlp(cohort([0]), config, (2, 2), 10)


@pytest.mark.parametrize(("units", "batch"), [(20, 60), (7, 2)])
def test_stopped_statistics_are_constants_in_the_backward_pass_only(units: int, batch: int) -> None:
    stopped = BatchNorm(cohort([1]), "hidden 0", units, BatchNormOptions(stop_gradient=True))
    through = BatchNorm(cohort([1]), "hidden 0", units, BatchNormOptions())
    for layer in (stopped, through):
        layer.gamma.data = drawn(3, 1, units, seed=1)
    x, weights = drawn(3, batch, units, seed=3).requires_grad_(), drawn(3, batch, units, seed=4)
    y = stopped(x, now(Mode.TRAIN))
    assert torch.equal(y, through(x, now(Mode.TRAIN))) and torch.equal(stopped.moving, through.moving)
    [ours] = torch.autograd.grad((y * weights).sum(), x)
    mean, variance = x.mean(1, keepdim=True).detach(), x.var(1, correction=0, keepdim=True).detach()
    plain = (x - mean) / (variance + 1e-5).sqrt() * stopped.gamma.detach()
    [theirs] = torch.autograd.grad((plain * weights).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def noisy(streams: list[int], trials: int, units: int = 500, name: str = "hidden 0", **options: Any) -> NoisyBatchNorm:
    return NoisyBatchNorm(cohort(streams, trials), name, units, NoisyBatchNormOptions(**options))


def factor_and_shift(layer: NoisyBatchNorm, x: Tensor, step: int, mode: Mode = Mode.TRAIN) -> tuple[Tensor, Tensor]:
    """[T, C] each, found from the outputs of the layer and of one without noise."""
    y, quiet = layer(x, now(mode, step)), BatchNorm.forward(layer, x, now(Mode.PROBE, step))
    factor = (y[:, 1] - y[:, 0]) / (quiet[:, 1] - quiet[:, 0])
    shift = y[:, 0] - factor * quiet[:, 0]
    torch.testing.assert_close(y, factor[:, None] * quiet + shift[:, None], rtol=1e-9, atol=1e-9)
    return factor.detach(), shift.detach()


@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.PROBE])
def test_noise_is_one_factor_and_one_shift_a_unit_and_step(mode: Mode) -> None:
    """Uniform over what the options say, shared by the trials of a seed and by nothing else."""
    layer = noisy([5, 6], 4, shift=0.5, scale=1.25)
    x = drawn(4, 6, 500)
    factor, shift = factor_and_shift(layer, x, 9, mode)
    for numbers, low, high in ((factor, 1.0, 1.25), (shift, -0.5, 0.5)):
        assert low - 1e-9 <= float(numbers.min()) < low + 0.01 * (high - low) + 1e-9
        assert high - 0.01 * (high - low) < float(numbers.max()) <= high + 1e-9
        assert float(numbers.mean()) == pytest.approx((low + high) / 2, abs=0.05 * (high - low))
        torch.testing.assert_close(numbers[0], numbers[1], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(numbers[2], numbers[3], rtol=1e-9, atol=1e-9)
    assert abs(torch.corrcoef(torch.stack([factor[0], shift[0]]))[0, 1]) < 0.2
    others = [
        factor_and_shift(layer, x, 10)[1][0],
        factor_and_shift(noisy([5], 4, name="hidden 1"), x, 9)[1][0],
        shift[2],
    ]
    for other in others:
        assert abs(torch.corrcoef(torch.stack([shift[0], other]))[0, 1]) < 0.2


def test_noise_of_no_size_is_none() -> None:
    layer, x = noisy([5], 2, shift=0.0, scale=1.0), drawn(2, 6, 500)
    assert torch.equal(layer(x, now(Mode.TRAIN)), BatchNorm.forward(layer, x, now(Mode.PROBE)))


@pytest.mark.parametrize("mode", [Mode.CURVE, Mode.COLLECT, Mode.FINAL])
def test_evaluation_has_no_noise(mode: Mode) -> None:
    layer, plain = noisy([5], 2, units=7), BatchNorm(cohort([5], 2), "hidden 0", 7, BatchNormOptions())
    x = drawn(2, 6, 7)
    for one in (layer, plain):
        for what in (Mode.TRAIN, Mode.COLLECT):
            one(x, now(what))
    assert torch.equal(layer(x, now(mode)), plain(x, now(mode)))


def test_noise_goes_with_the_trials_that_are_kept() -> None:
    layer, x = noisy([5, 6, 7], 3, units=7), drawn(3, 6, 7)
    before = layer(x, now(Mode.TRAIN, 4))
    layer.keep(torch.tensor([0, 2]), [5, 7])
    assert torch.equal(layer(x[[0, 2]], now(Mode.TRAIN, 4)), before[[0, 2]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: noisy([5], 2, units=7),
        lambda: BatchNorm(cohort([5], 2), "x", 7, BatchNormOptions()),
        lambda: ghost(7, 2, groups=3),
        renorm,
    ],
    ids=["noisy", "batch", "ghost", "renorm"],
)
def test_a_probe_leaves_nothing_behind_and_training_and_gathering_do(make: Callable[[], Layer]) -> None:
    """In the pass's own mode: nothing is kept by what only looks."""
    layer, x = make(), drawn(2, 6, 7)
    for mode, moves in ((Mode.PROBE, set()), (Mode.TRAIN, {"moving"}), (Mode.COLLECT, {"gathered", "batches"})):
        before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
        layer(x, now(mode))
        assert {name for name, tensor in layer.state_dict().items() if not torch.equal(tensor, before[name])} == moves


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_normalizer_stands_where_its_position_says(place: str) -> None:
    """As a chain of torch.nn with the same weights, over 30 steps in float64. After the nonlinearity, the layer before
    it has a bias."""
    config = trial({**SMALL, "norm": {"name": "batch", "position": place}, "precision": "float64", "steps": 30})
    program = Watched([config], data_of("digits", "float64"))
    linears = [layer for layer in program.layers() if isinstance(layer, Linear)]
    chain: list[nn.Module] = []
    for number, linear in enumerate(linears):
        last = number == len(linears) - 1
        outputs, inputs = linear.weight.shape[1:]
        plain = nn.Linear(inputs, outputs, bias=last or place == "after").double()
        plain.weight.data.copy_(linear.weight[0])
        if plain.bias is not None:
            plain.bias.data.zero_()
        steps = [nn.BatchNorm1d(outputs).double(), nn.Sigmoid()][:: 1 if place == "before" else -1]
        chain += [plain, *([] if last else steps)]
    network = nn.Sequential(*chain)
    plainly = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    for step in range(1, 31):
        program.run(step, 1)
        x, y = (part[0] for part in program.batches.take(program.batches.indices(step, 1, program.streams)[0]))
        plainly.zero_grad()
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        plainly.step()
        assert program.losses[-1] == pytest.approx([loss.item()], rel=1e-9)


@pytest.mark.parametrize("model", [SMALL["model"], {"name": "cnn", "channels": [4], "dense": [8]}], ids=["mlp", "cnn"])
def test_normalized_after_the_nonlinearity_a_trial_equals_itself_alone(model: dict[str, Any]) -> None:
    base = {"model": model, "norm": {"name": "batch", "position": "after"}, "nonlinearity": "relu", "steps": 12}
    trials = [trial(base, seed=1, lr_multiplier=1e38), trial(base, seed=1), trial(base, seed=2, init_scale=2.0)]
    assert_as_alone(trials)
