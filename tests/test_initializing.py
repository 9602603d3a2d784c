"""Initializations in the place of normalizers: how networks begin, in any company, and that they begin once."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bnexp import random
from bnexp.config import TrialConfig
from bnexp.data.batches import to_device
from bnexp.engine.program import Program
from bnexp.models.convolution import Convolution
from bnexp.models.convolving import same
from bnexp.models.initializing import Fixup, orthonormal, to_unit_variance
from bnexp.models.layers import Cohort, Linear, Mode, Pass
from bnexp.models.maps import PerMap
from bnexp.normalizers import FixupOptions
from tests.cohorts import CPU, SMALL, data_of, synthetic, trial, watch

CNN: dict[str, Any] = {"model": {"name": "cnn", "channels": [4, 6], "dense": [10]}}
INCEPTION: dict[str, Any] = {
    "model": {"name": "bn-inception", "stem": "small", "width": 0.05, "modules": ["3a", "3c"], "local_response": True}
}
every_model = pytest.mark.parametrize("model", [SMALL, CNN, INCEPTION], ids=["mlp", "cnn", "bn-inception"])


def program(norm: Any, *numbers: dict[str, Any], **fields: Any) -> Program:
    base = {**SMALL, "nonlinearity": "relu", "norm": norm, "precision": "float64"} | fields
    return Program([trial(base, **row) for row in numbers], data_of("digits", base["precision"]))


def products(program: Program) -> list[Linear | Convolution]:
    return [layer for layer in program.layers() if isinstance(layer, Linear | Convolution)]


def variances(program: Program) -> Tensor:
    """Of what comes of each product on the batch of the first step, all of its numbers together: [layers, T]."""
    found: list[Tensor] = []

    def tell(layer: nn.Module, given: Any, y: Tensor) -> None:
        found.append(y.flatten(1).var(1, correction=0))

    hooks = [layer.register_forward_hook(tell) for layer in products(program)]
    [index] = program.batches.indices(1, 1, program.streams)
    with torch.no_grad():
        program.apply(*program.batches.take(index), Mode.PROBE)
    for hook in hooks:
        hook.remove()
    return torch.stack(found)


NUMBERS = ({"seed": 7}, {"seed": 7, "init_scale": 9.0}, {"seed": 8, "init_scale": 0.01})


@every_model
def test_lsuv_begins_with_unit_variances(model: dict[str, Any]) -> None:
    """Of every layer, the output's too, and in every trial, whatever its init_scale, which is cancelled."""
    begun = program({"name": "lsuv", "tolerance": 0.0}, *NUMBERS, **model)
    assert float((variances(begun) - 1).abs().max()) < 1e-9
    for layer in products(begun):
        torch.testing.assert_close(layer.weight[1], layer.weight[0], rtol=1e-9, atol=1e-12)
        assert not torch.allclose(layer.weight[2], layer.weight[0])
    assert int(begun.now) == 0


def test_lsuv_in_products_of_bfloat16_begins_with_unit_variances() -> None:
    begun = program("lsuv", *NUMBERS, **CNN, precision="bfloat16")
    assert float((variances(begun).float() - 1).abs().max()) < 0.1


def test_lsuv_lets_be_what_is_within_its_tolerance() -> None:
    """The first layer's variance is some number v; a tolerance on either side of |v - 1| tells."""
    [v] = variances(program({"name": "lsuv", "tolerance": 1.0}, {"seed": 7}, init_scale=2.0))[0].tolist()
    assert 0 < abs(v - 1) < 1, "the test has something to tell apart"
    for tolerance, expected in ((abs(v - 1) - 1e-6, 1.0), (abs(v - 1) + 1e-6, v)):
        begun = program({"name": "lsuv", "tolerance": tolerance}, {"seed": 7}, init_scale=2.0)
        assert variances(begun)[0].tolist() == pytest.approx([expected])


def test_one_division_is_all_that_algorithm_1_needs() -> None:
    """Of each layer that is not within the tolerance at once; the twin divides as often as it has to."""
    trials = [trial({**SMALL, "norm": "lsuv", "precision": "float64"}, **row) for row in NUMBERS]
    divisions = [twin.divisions for twin in watch(trials)[2]]
    assert {count for of in divisions for count in of} == {1}


def test_lsuv_begins_where_pictures_are_read_as_they_are_needed() -> None:
    """As where they lie on the device."""
    config = trial({**SMALL, "dataset": "mnist", "norm": "lsuv", "nonlinearity": "relu"})
    held, streamed = (Program([config], to_device(synthetic(), 0, torch.float32, CPU, limit=n)) for n in (None, 0))
    assert streamed.feed.streamed and not held.feed.streamed
    for name, tensor in held.model.state_dict().items():
        assert torch.equal(tensor, streamed.model.state_dict()[name])


@pytest.mark.parametrize("norm", ["fixup", "lsuv"])
def test_what_is_put_back_is_not_begun_again(norm: str) -> None:
    trained, other = (program(norm, *NUMBERS) for _ in range(2))
    trained.run(1, 3)
    other.put_back({name: tensor.clone() for name, tensor in trained.kept().items()}, 3)
    for one in (trained, other):
        one.run(4, 2)
    for name, tensor in trained.kept().items():
        assert torch.equal(tensor, other.kept()[name]), name


def test_a_layer_from_which_nothing_comes_stays_as_it_is() -> None:
    """Nor is one that has overflowed divided by it."""
    x = torch.stack([torch.zeros(4, 3), torch.full((4, 3), torch.inf), 3 * torch.arange(12.0).view(4, 3)])
    factors = to_unit_variance(x, 0.1)
    assert factors[:2].flatten().tolist() == [1.0, 1.0]
    torch.testing.assert_close((x[2] * factors[2]).var(correction=0), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize(("units", "inputs"), [(5, 8), (8, 5), (6, 6), (1, 4)])
def test_weights_are_orthonormal_to_the_same_bits_in_any_company(units: int, inputs: int) -> None:
    draws = torch.randn(3, units, inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = orthonormal(draws)
    small = weights @ weights.mT if units <= inputs else weights.mT @ weights
    torch.testing.assert_close(small, torch.eye(min(units, inputs)).double().expand_as(small), rtol=0, atol=1e-12)
    assert all(torch.equal(orthonormal(draws[slot : slot + 1])[0], weights[slot]) for slot in range(3))


def test_weights_without_them_are_to_the_bit_what_they_always_were() -> None:
    """As one product of a draw and a number: other roundings would make other trials of all that were ever stored."""
    weight = products(program("none", *NUMBERS))[1].weight
    for slot, (seed, scale) in enumerate(((7, 1.0), (7, 9.0), (8, 0.01))):
        draws = random.normal(random.keys("init", [seed], "hidden 1"), 20 * 20).view(20, 20)
        assert torch.equal(weight[slot], draws * (scale * (1 / 20) ** 0.5))


@every_model
def test_fixup_begins_with_hes_deviations_and_no_output(model: dict[str, Any]) -> None:
    """Whose draws are those of a network without it; so at first every class is as likely."""
    begun, plain = (program(norm, *NUMBERS, **model) for norm in ("fixup", "none"))
    *hidden, output = products(begun)
    assert not output.weight.any()
    for layer, other in zip(hidden, products(plain)[:-1], strict=True):
        torch.testing.assert_close(layer.weight, other.weight * 2**0.5, rtol=1e-12, atol=0)
    [index] = begun.batches.indices(1, 1, begun.streams)
    assert not begun.apply(*begun.batches.take(index), Mode.CURVE)[1].any()
    before = {name: parameter.clone() for name, parameter in begun.model.named_parameters()}
    begun.run(1, 1)
    moved = {name for name, tensor in begun.model.named_parameters() if not torch.equal(tensor, before[name])}
    paths = {id(tensor): name for name, tensor in begun.model.named_parameters()}
    bias = max((name for name in before if name.endswith(".bias")), key=lambda name: int(name.split(".")[0]))
    assert moved == {paths[id(output.weight)], bias}


def test_fixup_of_feature_maps_is_torchs_convolution_between_scalars() -> None:
    """With padding, which comes after the first of them; values and the gradients of all."""
    cohort = Cohort([1, 2], torch.ones(4).double(), torch.zeros(4).double(), torch.float64, CPU)
    product, layer = Convolution(cohort, "x", 3, 5, same(3)), Fixup(cohort, "x", 5, FixupOptions())
    layer.follow(product)
    generator = torch.Generator().manual_seed(0)
    scalars = [layer.alpha, layer.gamma, layer.beta]
    for scalar in scalars:
        scalar.data = torch.randn(4, 1, 1, dtype=torch.float64, generator=generator)
    x = torch.randn(2, 6, 7, 4, 3, dtype=torch.float64, generator=generator)
    now = Pass(Mode.TRAIN, torch.tensor(1))
    y = PerMap(layer)(product(x, now), now)
    dy = torch.randn(y.shape, dtype=torch.float64, generator=generator)
    y.backward(dy)
    for slot in range(4):
        own = [scalar.detach()[slot, 0].clone().requires_grad_() for scalar in scalars]
        filters = product.weight.detach()[slot].unflatten(1, (3, 3, 3)).permute(0, 3, 1, 2)
        maps = x[slot // 2].permute(0, 3, 1, 2) + own[0]
        plain = nn.functional.conv2d(maps, filters, padding=1) * own[1] + own[2]
        plain.permute(0, 2, 3, 1).backward(dy[slot])
        torch.testing.assert_close(y[slot], plain.permute(0, 2, 3, 1))
        for ours, its in zip(scalars, own, strict=True):
            assert ours.grad is not None and its.grad is not None
            torch.testing.assert_close(ours.grad[slot, 0], its.grad)


@pytest.mark.parametrize("norm", ["fixup", "lsuv"])
def test_an_initialization_has_no_position(norm: str) -> None:
    """Nothing is normalized, before the nonlinearity or after it."""
    with pytest.raises(ValidationError, match=rf"norm\.shipped\.{norm}\.position"):
        TrialConfig.model_validate({"norm": {"name": norm, "position": "after"}})
