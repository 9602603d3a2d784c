"""Layers of feature maps against torch.nn, one trial at a time, and the networks made of them."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    conv2d,
    cross_entropy,
    layer_norm,
    local_response_norm,
    max_pool2d,
    rms_norm,
)
from torch.nn.utils.parametrizations import weight_norm

from bnexp import random
from bnexp.config import TrialConfig
from bnexp.errors import UsageError
from bnexp.models import bn_inception, choosing
from bnexp.models.batchwise import GhostBatchNorm
from bnexp.models.blocks import Builder, Maps
from bnexp.models.choosing import Shape, fastest, method_for
from bnexp.models.convolution import Convolution, Depthwise, SeparableConvolution
from bnexp.models.convolving import METHODS, Window, same
from bnexp.models.layers import Cohort, Layer, Mode, Pass
from bnexp.models.maps import AveragePool, LocalResponseNorm, MaxPool, PerActivation, PerMap
from bnexp.models.normalization import BatchNorm, GroupNorm
from bnexp.models.of_weights import WeightNorm
from bnexp.models.per_example import InstanceNorm, LayerNorm, RmsNorm
from bnexp.normalizers import (
    BatchNormOptions,
    GhostBatchNormOptions,
    GroupNormOptions,
    InstanceNormOptions,
    LayerNormOptions,
    RmsNormOptions,
)
from bnexp.registry import MODELS, NORMS, load
from tests.cohorts import assert_as_alone, trial
from tests.conv_twins import FIGURE_5, cnn_twin, inception_twin, weights_of

CPU = torch.device("cpu")
NOW = Pass(Mode.TRAIN, torch.tensor(1))
WINDOWS = [same(1), same(3), same(3, 2), same(5), same(7, 2), Window(2, 2, 0), Window(1, 2, 0)]
SMALL_INCEPTION = {"name": "bn-inception", "stem": "small", "width": 0.05}


def cohort(seeds: int = 3, dtype: torch.dtype = torch.float64, bfloat16: bool = False) -> Cohort:
    scales = torch.linspace(0.5, 2, seeds, dtype=torch.float64)
    return Cohort(list(range(seeds)), scales, torch.zeros(seeds, dtype=torch.float64), dtype, CPU, bfloat16)


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def as_image(x_BHWC: Tensor) -> Tensor:
    return x_BHWC.permute(0, 3, 1, 2)


def assert_like(layer: Layer, twin: Any, shape: tuple[int, ...] = (3, 4, 7, 6, 5)) -> None:
    """Values and the gradient of the input, trial by trial. `twin` is of images [B, C, H, W]."""
    x = maps(*shape).requires_grad_()
    y = layer(x, NOW)
    dy = maps(*y.shape, seed=1)
    y.backward(dy)
    assert x.grad is not None
    for slot in range(len(x)):
        alone = x[slot].detach().requires_grad_()
        expected = twin(as_image(alone)).permute(0, 2, 3, 1)
        expected.backward(dy[slot])
        torch.testing.assert_close(y[slot], expected, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(x.grad[slot], alone.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "window", [same(1), same(3), same(3, 2), same(5), same(7, 2), Window(2, 2, 0), Window(1, 2, 0)]
)
def test_each_method_convolves_as_torch_does(method: str, window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, and the gradients of input and weights, which are added to what `grad` has."""
    monkeypatch.setenv(choosing.FORCED, method)
    layer = Convolution(cohort(), "x", 5, 4, window)
    x = maps(3, 2, 9, 8, 5).requires_grad_()
    before = maps(*layer.weight.shape, seed=2)
    layer.weight.grad = before.clone()
    y = layer(x, NOW)
    dy = maps(*y.shape, seed=1)
    y.backward(dy)
    assert x.grad is not None
    for slot, filters in enumerate(layer.weight.detach()):
        w = as_image(filters.view(4, window.kernel, window.kernel, 5)).clone().requires_grad_()
        alone = x[slot].detach().requires_grad_()
        expected = conv2d(as_image(alone), w, stride=window.stride, padding=window.padding).permute(0, 2, 3, 1)
        expected.backward(dy[slot])
        assert w.grad is not None
        torch.testing.assert_close(y[slot], expected)
        torch.testing.assert_close(x.grad[slot], alone.grad)
        added = layer.weight.grad[slot] - before[slot]
        torch.testing.assert_close(added, w.grad.permute(0, 2, 3, 1).reshape(4, -1))


def test_a_separable_convolution_is_a_depthwise_and_a_pointwise_one() -> None:
    layer = SeparableConvolution(cohort(), "x", 3, 5, same(7, 2))
    x = maps(3, 2, 16, 16, 3).requires_grad_()
    y = layer(x, NOW)
    assert layer.depthwise.weight.shape == (3, 24, 49) and y.shape == (3, 2, 8, 8, 5)
    dy = maps(*y.shape, seed=1)
    y.backward(dy)
    assert x.grad is not None
    for slot in range(3):
        alone = x[slot].detach().requires_grad_()
        filters = [filters.clone().requires_grad_() for filters in weights_of(layer, slot)]
        between = conv2d(as_image(alone), filters[0], stride=2, padding=3, groups=3)
        expected = conv2d(between, filters[1]).permute(0, 2, 3, 1)
        expected.backward(dy[slot])
        torch.testing.assert_close(y[slot], expected)
        torch.testing.assert_close(x.grad[slot], alone.grad)
        for own, theirs in zip((layer.depthwise, layer.pointwise), filters, strict=True):
            torch.testing.assert_close(_filters(own, slot), theirs.grad)


def test_the_first_layer_shows_a_streams_examples_to_all_its_trials() -> None:
    two = Cohort([7, 8], torch.ones(4).double(), torch.zeros(4).double(), torch.float64, CPU)
    for layer in (Convolution(two, "x", 2, 3, same(3)), SeparableConvolution(two, "x", 2, 3, same(3))):
        x = maps(2, 2, 5, 5, 2)
        torch.testing.assert_close(layer(x, NOW), layer(x.repeat_interleave(2, 0), NOW))


def test_weights_start_with_the_standard_deviation_of_their_fan_in() -> None:
    weight = Convolution(cohort(), "x", 64, 64, same(3)).weight
    for slot, scale in enumerate((0.5, 1.25, 2.0)):
        assert float(weight[slot].detach().std()) == pytest.approx(scale / math.sqrt(9 * 64), rel=0.02)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (3, 1), (2, 2)])
def test_max_pooling(kernel: int, stride: int) -> None:
    assert_like(MaxPool(kernel, stride), lambda x: max_pool2d(x, kernel, stride, (kernel - 1) // 2))


def test_average_pooling_counts_what_is_there() -> None:
    assert_like(AveragePool(3), lambda x: avg_pool2d(x, 3, 1, 1, count_include_pad=False))


def test_local_response_normalization() -> None:
    assert_like(LocalResponseNorm(alpha=0.5), lambda x: local_response_norm(x, 5, alpha=0.5), (3, 2, 4, 4, 9))


def test_batch_normalization_of_a_feature_map_is_over_batch_and_places() -> None:
    assert_like(PerMap(BatchNorm(cohort(), "x", 5, BatchNormOptions())), nn.BatchNorm2d(5).double())


def test_batch_normalization_of_an_activation_is_over_the_batch() -> None:
    norm = nn.BatchNorm1d(7 * 6 * 5).double()
    layer = PerActivation(BatchNorm(cohort(), "x", 7 * 6 * 5, BatchNormOptions()))
    assert_like(layer, lambda x: norm(x.flatten(1)).view(x.shape))


def test_the_moving_averages_of_a_feature_map_count_its_places() -> None:
    layer, twin = BatchNorm(cohort(1), "x", 5, BatchNormOptions()), nn.BatchNorm2d(5, momentum=0.1).double()
    x = maps(1, 4, 7, 6, 5)
    PerMap(layer)(x, NOW)
    twin(as_image(x[0]))
    assert twin.running_mean is not None and twin.running_var is not None
    torch.testing.assert_close(layer.moving[0, 0], twin.running_mean)
    torch.testing.assert_close(layer.moving[0, 1], twin.running_var - 0.9)


def test_group_normalization_of_feature_maps() -> None:
    layer = GroupNorm(cohort(), "x", 6, GroupNormOptions(groups=3))
    assert_like(layer, nn.GroupNorm(3, 6).double(), (3, 2, 4, 5, 6))


def test_layer_normalization_of_feature_maps_is_over_all_maps_and_places() -> None:
    layer = LayerNorm(cohort(), "x", 6, LayerNormOptions())
    assert_like(layer, lambda x: layer_norm(x, x.shape[1:]), (3, 2, 4, 5, 6))


def test_root_mean_square_normalization_of_feature_maps_is_over_all_maps_and_places() -> None:
    layer = RmsNorm(cohort(), "x", 6, RmsNormOptions())
    assert_like(layer, lambda x: rms_norm(x, x.shape[1:], eps=1e-5), (3, 2, 4, 5, 6))


def test_instance_normalization_is_torchs() -> None:
    assert_like(InstanceNorm(cohort(), "x", 5, InstanceNormOptions()), nn.InstanceNorm2d(5, affine=True).double())


@pytest.mark.parametrize(
    ("model", "pixels", "layer"),
    [
        ({"name": "mlp"}, 6, "layer 'hidden 0' has units, which have no places"),
        ({"name": "cnn", "channels": [3]}, 6, "layer 'dense 0' has units, which have no places"),
        ({"name": "cnn", "channels": [3, 3, 3], "dense": []}, 4, "layer 'convolution 2' has maps of one place"),
    ],
)
def test_instance_normalization_of_one_place_is_refused(model: dict[str, Any], pixels: int, layer: str) -> None:
    with pytest.raises(
        UsageError, match=rf"norm: instance normalizes .*{layer}; use norm: layer, or .*\(model\.dense: \[\]\)"
    ):
        network(model, (pixels, pixels, 1), norm="instance")


def test_a_ghost_batch_of_feature_maps_is_of_whole_examples() -> None:
    """Also where the examples, and not their places, cannot be cut evenly, as in a probe."""
    layer, twin = GhostBatchNorm(cohort(), "x", 5, GhostBatchNormOptions(groups=2)), nn.BatchNorm2d(5).double()
    assert_like(layer, lambda x: torch.cat([twin(x[:3]), twin(x[3:])]), (3, 5, 4, 6, 5))


@pytest.mark.parametrize("norm", ["group", "layer", "rms", "instance", "ghost-batch"])
def test_gamma_and_beta_are_of_each_feature_map(norm: str) -> None:
    """Whatever the statistics are over."""
    model = network({"name": "cnn", "channels": [4], "dense": []}, (6, 6, 1), norm=norm, batch_size=8)
    [layer] = [module for module in model.modules() if hasattr(module, "gamma")]
    plain = layer(maps(3, 2, 6, 6, 4), NOW)
    layer.gamma.data, layer.beta.data = maps(3, 1, 4, seed=1), maps(3, 1, 4, seed=2)
    expected = plain * layer.gamma[:, :, None, None] + layer.beta[:, :, None, None]
    torch.testing.assert_close(layer(maps(3, 2, 6, 6, 4), NOW), expected)


@pytest.mark.parametrize("separable", [False, True])
def test_weight_normalization_of_feature_maps_is_torchs(separable: bool) -> None:
    """Of the filters of each map; of a separable convolution, the pointwise ones, which make the maps."""
    config = TrialConfig.model_validate({"norm": "weight", "nonlinearity": "identity"})
    block, _ = Builder(cohort(), config).convolution("x", Maps(6, 5, 2), 4, same(3), separable=separable)
    [depthwise] = [m for m in block.modules() if isinstance(m, Depthwise)] if separable else [None]
    [product] = [module for module in block.modules() if isinstance(module, Convolution)]
    [layer] = [module for module in block.modules() if isinstance(module, WeightNorm)]
    layer.gamma.data, layer.beta.data = maps(3, 1, 4, seed=1), maps(3, 1, 4, seed=2)
    x = maps(3, 2, 6, 5, 2)
    y = block(x, NOW)
    dy = maps(*y.shape, seed=3)
    y.backward(dy)
    for slot in range(3):
        given = as_image(x[slot] if depthwise is None else depthwise(x, NOW)[slot].detach())
        kernel = 1 if separable else 3
        plain = weight_norm(nn.Conv2d(given.shape[1], 4, kernel, padding=kernel // 2).double())
        g, v = plain.parametrizations.weight.original0, plain.parametrizations.weight.original1
        *_, filters = weights_of(block, slot)
        g.data, v.data, plain.bias.data = layer.gamma.data[slot, 0].view(4, 1, 1, 1), filters, layer.beta.data[slot, 0]
        expected = plain(given).permute(0, 2, 3, 1)
        expected.backward(dy[slot])
        torch.testing.assert_close(y[slot], expected)
        torch.testing.assert_close(_filters(product, slot), v.grad)
        assert layer.gamma.grad is not None
        torch.testing.assert_close(layer.gamma.grad[slot, 0], g.grad.flatten())


def normalized(norm: str, x: Tensor, dy: Tensor) -> list[Tensor]:
    """What comes of two training passes of a normalizer of x [T, B, H, W, C], its parameters' gradients included."""
    options = TrialConfig.model_validate({"norm": norm}).norm
    layer: Layer = load(NORMS[norm])(cohort(len(x), torch.float32), "x", x.shape[-1], options)
    layer = layer if layer.takes_maps else PerMap(layer)
    x = x.clone().requires_grad_()
    for step in (1, 2):
        y = layer(x * step, Pass(Mode.TRAIN, torch.tensor(step)))
        y.backward(dy)
    found = [y, x.grad, *(parameter.grad for parameter in layer.parameters()), *layer.buffers()]
    return [tensor for tensor in found if tensor is not None]


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "rms", "instance", "ghost-batch", "batch-renorm"])
def test_feature_maps_are_normalized_to_the_same_bits_in_any_company(norm: str) -> None:
    """Three trials and each alone, on sizes that leave vector registers partly filled."""
    x, dy = maps(3, 6, 5, 7, 12).float(), maps(3, 6, 5, 7, 12, seed=1).float()
    together = normalized(norm, x, dy)
    assert len(together) > 3
    for slot in range(3):
        alone = normalized(norm, x[slot : slot + 1], dy[slot : slot + 1])
        assert all(torch.equal(one[slot], own[0]) for one, own in zip(together, alone, strict=True))


# The choice of the method


def shape(kernel: int = 3, stride: int = 1, dtype: torch.dtype = torch.float32) -> Shape:
    return Shape(6, 6, 3, 4, same(kernel, stride), 2, dtype, CPU)


def test_on_a_cpu_the_choice_is_a_rule_and_takes_trials_one_by_one() -> None:
    chosen = {(kernel, stride): method_for(shape(kernel, stride)) for kernel in (1, 3) for stride in (1, 2)}
    assert chosen == {(1, 1): "patches", (1, 2): "loop", (3, 1): "loop", (3, 2): "loop"}
    assert method_for(shape()._replace(trials=5)) == method_for(shape())


def test_a_method_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choosing.FORCED, "grupoed")
    with pytest.raises(UsageError, match=r"no such method 'grupoed' .*did you mean 'grouped'"):
        method_for(shape())


def test_where_methods_are_measured_the_fastest_that_agrees_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU. One that is hardly faster, computes something else, or only NaN, is not."""
    seconds = {"loop": 1.0, "spoilt": 0.5}
    monkeypatch.setattr(choosing, "_seconds", lambda name, *_: seconds[name])
    for factor, time, expected in [
        (1.0, 0.5, "spoilt"),
        (1.0, 0.95, "loop"),
        (1.01, 0.5, "loop"),
        (math.nan, 0.5, "loop"),
    ]:

        def forward(x: Tensor, weights: Tensor, window: Window, factor: float = factor) -> Tensor:
            return METHODS["loop"].forward(x, weights, window) * factor

        seconds["spoilt"] = time
        spoilt = {"loop": METHODS["loop"], "spoilt": METHODS["loop"]._replace(forward=forward)}
        monkeypatch.setattr(choosing, "METHODS", spoilt)
        fastest.cache_clear()
        assert fastest(shape()) == expected
    fastest.cache_clear()


# Networks


def network(model: dict[str, Any], shape: tuple[int, ...], seeds: int = 3, **fields: Any) -> Layer:
    config = TrialConfig.model_validate({"model": model, "nonlinearity": "relu", "norm": "batch", **fields})
    built: Layer = load(MODELS[config.model.name])(cohort(seeds), config, shape, 10)
    return built


def gradients(model: Layer, x: Tensor, y: Tensor) -> Tensor:
    """Every trial's loss, after its backward pass."""
    logits = model(x.flatten(2), NOW)
    losses = torch.stack([cross_entropy(logits[slot], y) for slot in range(len(logits))])
    losses.sum().backward()
    return losses.detach()


def assert_as_twins(model: Layer, twin: Any, examples: tuple[int, int, int, int]) -> None:
    """Loss and the gradients of every weight, by trial."""
    x, y = maps(3, *examples).abs(), torch.arange(examples[0]) % 10
    losses = gradients(model, x, y)
    for slot in range(3):
        other = twin(weights_of(model, slot))
        loss = cross_entropy(other(as_image(x[slot])), y)
        loss.backward()
        torch.testing.assert_close(losses[slot], loss.detach(), rtol=1e-10, atol=0)
        ours = {tuple(p.shape[1:]): p for p in model.parameters()}
        assert len(ours) > 2
        expected = [p.grad for p in other.parameters() if p.dim() > 1 and p.grad is not None]
        found = [_filters(module, slot) for module in model.modules() if getattr(module, "decays", False)]
        assert len(found) == len(expected)
        for own, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(own, theirs, rtol=1e-7, atol=1e-10)
        flat = [p.grad for p in other.parameters() if p.dim() == 1 and p.grad is not None]
        mine = [p.grad[slot] for p in model.parameters() if p.dim() == 3 and p.shape[1] == 1 and p.grad is not None]
        total = sum(float(g.square().sum()) for g in flat)
        assert sum(float(g.square().sum()) for g in mine) == pytest.approx(total, rel=1e-7)


def _filters(module: Any, slot: int) -> Tensor:
    gradient: Tensor = module.weight.grad[slot]
    if not hasattr(module, "window"):
        return gradient
    kernel = module.window.kernel
    return gradient.unflatten(1, (kernel, kernel, -1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_cnn_equals_its_twin(norm: str) -> None:
    model = network({"name": "cnn", "channels": [3, 4], "convolutions": 2, "dense": [6]}, (9, 8, 2), norm=norm)
    assert_as_twins(model, lambda w: cnn_twin(w, (9, 8, 2), [3, 4], 2, [6], 10, norm == "batch").double(), (6, 9, 8, 2))


@pytest.mark.parametrize(("norm", "lrn"), [pytest.param("none", True, marks=pytest.mark.slow), ("batch", False)])
def test_a_narrow_inception_equals_its_twin(norm: str, lrn: bool) -> None:
    model = network(SMALL_INCEPTION | {"local_response": lrn}, (14, 14, 1), norm=norm)

    def scale(channels: int) -> int:
        return bn_inception.scaled(channels, 0.05)

    assert_as_twins(
        model, lambda w: inception_twin(w, 1, 10, norm == "batch", True, scale, lrn).double(), (4, 14, 14, 1)
    )


@pytest.mark.slow
def test_the_papers_inception_equals_its_twin_at_224_pixels() -> None:
    model = network({"name": "bn-inception"}, (224, 224, 3))
    assert_as_twins(model, lambda w: inception_twin(w, 3, 10, True, False).double(), (2, 224, 224, 3))


def test_inception_is_figure_5(monkeypatch: pytest.MonkeyPatch) -> None:
    """Branch widths and sizes as printed, with the printed table's defects: 608 maps in 4c and 4d, 1056 in 4e, and the
    size after the stride in 3c and 4e. Some 11 million parameters with a 1000-way output, where the text says 13.6."""
    monkeypatch.setattr(random, "normal", lambda keys, count: torch.zeros(keys.shape[1], count))
    config = TrialConfig.model_validate({"model": "bn-inception", "norm": "batch", "nonlinearity": "relu"})
    one = cohort(1, torch.float32)
    built = bn_inception.parts(one, config, (224, 224, 3))
    assert built.shapes == {
        "conv1": Maps(112, 112, 64),
        "pool1": Maps(56, 56, 64),
        "conv2": Maps(56, 56, 192),
        "pool2": Maps(28, 28, 192),
        "3a": Maps(28, 28, 256),
        "3b": Maps(28, 28, 320),
        "3c": Maps(14, 14, 576),
        "4a": Maps(14, 14, 576),
        "4b": Maps(14, 14, 576),
        "4c": Maps(14, 14, 608),
        "4d": Maps(14, 14, 608),
        "4e": Maps(7, 7, 1056),
        "5a": Maps(7, 7, 1024),
        "5b": Maps(7, 7, 1024),
    }
    for name, row in FIGURE_5.items():
        kept = [module.weight.shape[1] for module in built.layers[name].modules() if isinstance(module, Convolution)]
        one_, reduce, three, double_reduce, double, _, project = row
        assert kept == [n for n in (one_, reduce, three, double_reduce, double, double, project) if n], name
    network_ = bn_inception.bn_inception(one, config, (224, 224, 3), 1000)
    weights = sum(p.numel() for p in network_.parameters() if p.shape[1] > 1 or p.dim() > 3)
    total = sum(p.numel() for p in network_.parameters())
    assert total == count_of_the_table() and 11.0e6 < total < 11.4e6 and weights < total


@pytest.mark.slow
def test_the_sizes_of_figure_5_are_those_that_come_out() -> None:
    config = TrialConfig.model_validate({"model": "bn-inception", "norm": "batch", "nonlinearity": "relu"})
    built = bn_inception.parts(cohort(1, torch.float32), config, (224, 224, 3))
    x = torch.rand(1, 1, 224, 224, 3)
    with torch.no_grad():
        for name, layer in built.layers.items():
            x = layer(x, NOW)
            if name in built.shapes:
                assert x.shape[2:] == built.shapes[name], name


def count_of_the_table() -> int:
    """Weights of Figure 5's rows, gamma and beta for each feature map, and the output layer with its bias."""
    sizes = [(3, 8 * 3, 49), (8 * 3, 64, 1), (64, 64, 1), (64, 192, 9)]
    weights = 24 * 49 + sum(inputs * outputs * area for inputs, outputs, area in sizes[1:])
    maps_ = 64 + 64 + 192
    inputs = 192
    for one, reduce, three, double_reduce, double, _, project in FIGURE_5.values():
        weights += inputs * (one + reduce + double_reduce + project)
        weights += 9 * (reduce * three + double_reduce * double + double * double)
        maps_ += one + reduce + three + double_reduce + 2 * double + project
        inputs = one + three + double + project + (0 if project else inputs)
    return weights + 2 * maps_ + 1000 * inputs + 1000


def test_the_small_stem_leaves_the_early_strides_out() -> None:
    config = TrialConfig.model_validate({"model": {"name": "bn-inception", "stem": "small", "width": 0.125}})
    for pixels, sizes in ((28, (14, 7, 4)), (32, (16, 8, 4))):
        shapes = bn_inception.parts(cohort(1), config, (pixels, pixels, 3)).shapes
        assert tuple(shapes[name].height for name in ("3a", "3c", "4e")) == sizes
        assert shapes["conv1"] == Maps(pixels, pixels, 8) and shapes["5b"].channels == 128


def test_batch_normalization_per_activation_is_of_the_last_layers() -> None:
    norm = {"name": "batch", "per_activation": 2}
    model = network({"name": "cnn", "channels": [3, 4, 5]}, (28, 28, 1), norm=norm)
    assert [type(m).__name__ for m in model.modules() if isinstance(m, PerMap | PerActivation)] == [
        "PerMap",
        "PerActivation",
        "PerActivation",
    ]
    for few in ({"name": "cnn", "channels": [3]}, {"name": "bn-inception", "modules": ["5b"], "width": 0.05}):
        with pytest.raises(
            UsageError, match=r"norm\.per_activation: 2 is more than the 1 convolutional layers or modules"
        ):
            network(few, (28, 28, 1), norm=norm)


# In the engine

MODEL_FIELDS: dict[str, dict[str, Any]] = {
    "cnn": {"model": {"name": "cnn", "channels": [4, 6], "dense": [10]}},
    "vgg": {"model": {"name": "vgg", "channels": [4, 5], "dense": []}},
    "bn-inception": {"model": SMALL_INCEPTION | {"modules": ["3a", "4e", "5b"], "local_response": True}},
}


@pytest.mark.parametrize(
    ("model", "norm", "precision"),
    [(model, norm, "float32") for model in MODEL_FIELDS for norm in ("none", "batch")]
    + [("cnn", "batch", "bfloat16"), ("bn-inception", "batch", "bfloat16")]
    + [
        pytest.param(model, norm, precision, marks=pytest.mark.slow)
        for model, norm, precision in [
            ("cnn", "layer", "float32"),
            ("cnn", "rms", "bfloat16"),
            ("vgg", "instance", "float32"),
            ("vgg", "instance", "bfloat16"),
            ("cnn", {"name": "ghost-batch", "per_activation": 1}, "float32"),
            ("cnn", {"name": "batch-renorm", "per_activation": 1}, "float32"),
            ("cnn", "weight", "float32"),
            ("cnn", "weight", "bfloat16"),
            ("cnn", "weight-standardization", "float32"),
            ("cnn", "fixup", "float32"),
            ("cnn", "fixup", "bfloat16"),
            ("cnn", "lsuv", "float32"),
            ("cnn", "lsuv", "bfloat16"),
            ("bn-inception", "fixup", "float32"),
            ("bn-inception", "lsuv", "float32"),
        ]
    ],
)
def test_a_convolutional_trial_in_a_cohort_equals_itself_alone(model: str, norm: Any, precision: str) -> None:
    base = {"steps": 2, "eval_every": 2, "norm": norm, "nonlinearity": "relu", "batch_size": 32, **MODEL_FIELDS[model]}
    base |= {"precision": precision}
    assert_as_alone([trial(base, seed=seed, lr=rate, dropout=0.3) for seed in (0, 1) for rate in (0.01, 0.05)])


def test_products_in_bfloat16_leave_normalization_and_parameters_in_float32() -> None:
    layer = Convolution(cohort(2, torch.float32, bfloat16=True), "x", 5, 4, same(3))
    x = maps(2, 3, 6, 6, 5).float().requires_grad_()
    y = layer(x, NOW)
    assert (y.dtype, layer.weight.dtype) == (torch.bfloat16, torch.float32)
    norm = PerMap(BatchNorm(cohort(2, torch.float32), "x", 4, BatchNormOptions()))
    z = norm(y, NOW)
    z.square().sum().backward()
    assert z.dtype == torch.float32 and layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32
    exact = Convolution(cohort(2, torch.float32), "x", 5, 4, same(3))(x, NOW)
    error = (y - exact).detach().abs().max() / exact.detach().abs().max()
    assert 0 < float(error) < 0.02


def test_a_trial_in_bfloat16_trains_nearly_as_in_float32() -> None:
    from tests.cohorts import together

    base = {"steps": 60, "eval_every": 60, "norm": "batch", "nonlinearity": "relu", **MODEL_FIELDS["cnn"]}
    [one], [other] = (together([trial({**base, "precision": p}, lr=0.05)]) for p in ("bfloat16", "float32"))
    assert one.final and other.final and one.final != other.final
    assert abs(one.final.test_accuracy - other.final.test_accuracy) < 0.1
