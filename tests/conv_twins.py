"""Plain torch.nn twins of convolutional networks: the oracles that the layers with a trial axis are held against."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bnexp.models.convolution import Convolution, Depthwise
from bnexp.models.layers import Layer, Linear

Weights = Iterator[Tensor]
"""One trial's weights of every layer that has any, in the order of the network."""


def weights_of(model: Layer, slot: int) -> Weights:
    """Filters as torch has them: [C, I, kernel, kernel]; of a depthwise layer [I M, 1, kernel, kernel]."""
    for module in model.modules():
        if isinstance(module, Convolution | Depthwise):
            kernel = module.window.kernel
            yield module.weight[slot].detach().unflatten(1, (kernel, kernel, -1)).permute(0, 3, 1, 2)
        elif isinstance(module, Linear):
            yield module.weight[slot].detach()


class Unit(nn.Sequential):
    """A convolution, BN or a bias, and ReLU."""

    def __init__(
        self, weights: Weights, inputs: int, channels: int, kernel: int, stride: int, bn: bool, separable: bool = False
    ) -> None:
        layers: list[nn.Module] = []
        if separable:
            layers.append(_conv(weights, inputs, 8 * inputs, kernel, stride, groups=inputs))
            inputs, kernel, stride = 8 * inputs, 1, 1
        layers.append(_conv(weights, inputs, channels, kernel, stride, bias=not bn))
        super().__init__(*layers, *([nn.BatchNorm2d(channels)] if bn else []), nn.ReLU())


def _conv(
    weights: Weights, inputs: int, channels: int, kernel: int, stride: int, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, groups=groups, bias=bias)
    conv.weight.data = next(weights).clone()
    if bias:
        assert conv.bias is not None
        conv.bias.data = torch.zeros_like(conv.bias).to(conv.weight)
    return conv


def _linear(weights: Weights, inputs: int, units: int, bias: bool = True) -> nn.Linear:
    linear = nn.Linear(inputs, units, bias)
    linear.weight.data = next(weights).clone()
    if bias:
        linear.bias.data = torch.zeros_like(linear.bias).to(linear.weight)
    return linear


def cnn_twin(
    weights: Weights, maps: tuple[int, int, int], stages: list[int], each: int, dense: list[int], classes: int, bn: bool
) -> nn.Sequential:
    height, width, inputs = maps
    layers: list[nn.Module] = []
    for channels in stages:
        for _ in range(each):
            layers.append(Unit(weights, inputs, channels, 3, 1, bn))
            inputs = channels
        layers.append(nn.MaxPool2d(2))
        height, width = height // 2, width // 2
    layers.append(ChannelsLast())
    units = height * width * inputs
    for count in dense:
        layers.append(_linear(weights, units, count, bias=not bn))
        layers += [nn.BatchNorm1d(count), nn.ReLU()] if bn else [nn.ReLU()]
        units = count
    return nn.Sequential(*layers, _linear(weights, units, classes))


class ChannelsLast(nn.Module):
    """Flattened in the order height, width, channel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class Inception(nn.Module):
    """A module of Figure 5 from its printed row: 1x1, 3x3 reduce, 3x3, double reduce, double, pooling, projection."""

    def __init__(self, weights: Weights, inputs: int, row: tuple[int, int, int, int, int, str, int], bn: bool) -> None:
        super().__init__()
        one, reduce, three, double_reduce, double, pool, project = row
        stride = 1 if project else 2

        def unit(given: int, channels: int, kernel: int, step: int = 1) -> Unit:
            return Unit(weights, given, channels, kernel, step, bn)

        branches = [unit(inputs, one, 1)] if one else []
        branches.append(nn.Sequential(unit(inputs, reduce, 1), unit(reduce, three, 3, stride)))  # type: ignore[arg-type]
        halves = unit(inputs, double_reduce, 1), unit(double_reduce, double, 3), unit(double, double, 3, stride)
        branches.append(nn.Sequential(*halves))  # type: ignore[arg-type]
        pooling = nn.MaxPool2d(3, stride, 1) if pool == "max" else nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        branches.append(nn.Sequential(pooling, *([unit(inputs, project, 1)] if project else [])))  # type: ignore[arg-type]
        self.branches = nn.ModuleList(branches)
        self.channels = (one + three + double + project) + (0 if project else inputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


FIGURE_5: dict[str, tuple[int, int, int, int, int, str, int]] = {
    "3a": (64, 64, 64, 64, 96, "avg", 32),
    "3b": (64, 64, 96, 64, 96, "avg", 64),
    "3c": (0, 128, 160, 64, 96, "max", 0),
    "4a": (224, 64, 96, 96, 128, "avg", 128),
    "4b": (192, 96, 128, 96, 128, "avg", 128),
    "4c": (160, 128, 160, 128, 160, "avg", 128),
    "4d": (96, 128, 192, 160, 192, "avg", 128),
    "4e": (0, 128, 192, 192, 256, "max", 0),
    "5a": (352, 192, 320, 160, 224, "avg", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}
"""As printed in the paper."""


def inception_twin(
    weights: Weights,
    inputs: int,
    classes: int,
    bn: bool,
    small: bool,
    scale: Callable[[int], int] = lambda channels: channels,
    lrn: bool = False,
) -> nn.Sequential:
    first, reduce, last = map(scale, (64, 64, 192))
    layers: list[nn.Module] = [
        Unit(weights, inputs, first, 3 if small else 7, 1 if small else 2, bn, separable=not small)
    ]
    layers += [] if small else [nn.MaxPool2d(3, 2, 1)]
    layers += [nn.LocalResponseNorm(5)] if lrn else []
    layers += [Unit(weights, first, reduce, 1, 1, bn), Unit(weights, reduce, last, 3, 1, bn)]
    layers += [nn.LocalResponseNorm(5)] if lrn else []
    layers.append(nn.MaxPool2d(3, 2, 1))
    channels = last
    for row in FIGURE_5.values():
        own = tuple(scale(part) if isinstance(part, int) and part else part for part in row)
        module = Inception(weights, channels, own, bn)  # type: ignore[arg-type]
        layers.append(module)
        channels = module.channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), _linear(weights, channels, classes))
