"""Layers with a leading trial axis: T networks of one shape, side by side in one tensor, that never mix.

Shape suffixes: T trials, S streams, B batch, I inputs, C units. A *stream* is what consecutive trials of one seed
share: the same examples, the same dropout uniforms. An input may come as x_SBI with S dividing T; stream s then
belongs to the trials s T/S .. (s+1) T/S - 1.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, nn

from bnexp import random


class Mode(Enum):
    """What a forward pass is for. Each names the statistics that normalization uses."""

    TRAIN = auto()
    """Batch statistics, which also move the moving averages; dropout on."""
    CURVE = auto()
    """Moving averages; dropout off."""
    COLLECT = auto()
    """Batch statistics, gathered for Algorithm 2; dropout off."""
    FINAL = auto()
    """The gathered population statistics of Algorithm 2; dropout off."""
    PROBE = auto()
    """Batch statistics, as the network trains, but nothing is kept or gathered; dropout off."""
    BEGIN = auto()
    """Before the first step, on its batch: what starts by data does so; dropout off. Only where anything does."""


@dataclass(frozen=True)
class Pass:
    """What layers know of one forward pass."""

    mode: Mode
    step: Tensor
    """int64 without dimension, on the device: the training step, from 1 (0 before it); keys dropout and noise."""


@dataclass(frozen=True)
class Cohort:
    """What layers know of their trials; every list has one entry a trial, in slot order."""

    streams: list[int]
    """The seed of each stream, [S]."""
    init_scale: Tensor
    """float64 [T]."""
    dropout: Tensor
    """float64 [T]."""
    dtype: torch.dtype
    device: torch.device
    bfloat16: bool = False
    """Whether products are taken in that type, whatever the parameters' own."""

    @property
    def product_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.bfloat16 else self.dtype

    @property
    def trials(self) -> int:
        return len(self.init_scale)

    def full(self, value: float, *shape: int) -> Tensor:
        """A tensor [T, *shape] of one value."""
        return torch.full((self.trials, *shape), value, dtype=self.dtype, device=self.device)


class Layer(nn.Module):
    """A module whose parameters and registered buffers all lead with the trial axis, called with the input and the
    pass."""

    name = ""
    """The layer of the network that it is part of, such as "hidden 0": a weight, its normalization and its nonlinearity
    have one name. Keys random numbers and tells probes apart."""

    decays = False
    """Whether weight decay applies to its parameters (it does to weights, not to biases, gamma or beta)."""

    gathers = False
    """Whether it learns anything in `Mode.COLLECT`."""

    begins = False
    """Whether it starts by data, in `Mode.BEGIN`."""

    takes_maps = False
    """Of a normalizer, whether it is made for feature maps [T, B, H, W, C] too, and not only for units [T, B, C]."""

    by_stream: tuple[str, ...] = ()
    """The buffers that belong to streams instead, and are made anew in `keep`."""

    def forward(self, x_TBI: Tensor, now: Pass) -> Tensor:
        raise NotImplementedError

    def decaying(self) -> Iterator[nn.Parameter]:
        """Its parameters that weight decay applies to, those of layers within it left out."""
        if self.decays:
            yield from self.parameters(recurse=False)
            for part in _parts(self):
                yield from () if isinstance(part, Layer) else part.parameters(recurse=False)

    def keep(self, slots: Tensor, streams: list[int]) -> None:
        """Go on with the trials in `slots` (int64 indices) only, whose streams are `streams`."""
        _keep(self, slots, self.by_stream)
        for part in _parts(self):
            if isinstance(part, Layer):
                part.keep(slots, streams)
            else:
                _keep(part, slots)


def _parts(layer: Layer) -> list[nn.Module]:
    """The modules within a layer, such as lists of layers, down to the nearest layers, each once. What is within those
    is theirs."""
    found = dict[nn.Module, None]()
    left = list(layer.children())
    while left:
        part = left.pop(0)
        if part not in found and not isinstance(part, Layer):
            left += part.children()
        found[part] = None
    return list(found)


def _keep(module: nn.Module, slots: Tensor, but: Sequence[str] = ()) -> None:
    """Have a module's own tensors be those of the trials in `slots`, the buffers named in `but` left out."""
    for parameter in module._parameters.values():
        if parameter is not None:
            velocity = parameter.grad
            parameter.data, parameter.grad = parameter.data[slots], None
            if velocity is not None:
                parameter.grad = velocity[slots]
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in but:
            module._buffers[name] = buffer[slots]


class Images(Layer):
    """Examples as images: [S, B, H, W, C] of [S, B, H W C]."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        super().__init__()
        self.shape = height, width, channels

    def forward(self, x_SBI: Tensor, now: Pass) -> Tensor:
        x_SBHWC: Tensor = x_SBI.unflatten(2, self.shape)
        return x_SBHWC


class Sequential(Layer):
    """Layers one after the other."""

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        for number, layer in enumerate(layers):
            self.add_module(str(number), layer)

    def forward(self, x_TBI: Tensor, now: Pass) -> Tensor:
        for layer in self.children():
            x_TBI = layer(x_TBI, now)
        return x_TBI


class _Product(torch.autograd.Function):
    """x W^T of each trial. The gradient of W is added to `W.grad` by the multiplication itself, which saves writing and
    reading a tensor as large as all weights; `W.grad` is there already, since it holds the optimizer's velocity. The
    gradient of a W that is made of other weights is given back as usual."""

    @staticmethod
    def forward(ctx: Any, x_SBI: Tensor, weight_TCI: Tensor) -> Tensor:
        ctx.save_for_backward(x_SBI, weight_TCI)
        y_TBC = x_SBI.new_empty(len(weight_TCI), x_SBI.shape[1], weight_TCI.shape[1])
        weight = weight_TCI.to(x_SBI.dtype)
        for x_NBI, of in _by_stream(x_SBI, len(weight_TCI)):
            torch.bmm(x_NBI, weight[of].transpose(1, 2), out=y_TBC[of])
        return y_TBC

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        [dy_TBC], (x_SBI, weight_TCI) = gradients, ctx.saved_tensors
        into_TCI = gradient_of(weight_TCI)
        for x_NBI, of in _by_stream(x_SBI, len(weight_TCI)):
            add_product(into_TCI[of], dy_TBC[of].transpose(1, 2), x_NBI)
        dx_SBI = torch.bmm(dy_TBC, weight_TCI.to(dy_TBC.dtype)) if ctx.needs_input_grad[0] else None
        return dx_SBI, None if weight_TCI.is_leaf else into_TCI


def gradient_of(weight: Tensor) -> Tensor:
    """What a weight's gradient is to be added to: `grad` of a parameter, zeros for what is made of others."""
    if not weight.is_leaf:
        return torch.zeros_like(weight)
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def _by_stream(x_SBI: Tensor, trials: int) -> Iterator[tuple[Tensor, slice]]:
    """The examples of N trials [N, B, I], and which trials these are: all at once where each has its own examples, else
    stream by stream, each trial of it seeing the same memory. A GPU would wait for so many small products; there the
    examples are copied for each trial."""
    streams, batch, inputs = x_SBI.shape
    shared = trials // streams
    if shared == 1 or x_SBI.is_cuda:
        yield x_SBI.repeat_interleave(shared, 0) if shared > 1 else x_SBI, slice(None)
        return
    for stream, x_BI in enumerate(x_SBI):
        yield x_BI.expand(shared, batch, inputs), slice(stream * shared, (stream + 1) * shared)


class Linear(Layer):
    """y = x W^T, without a bias. W starts normal with standard deviation init_scale sqrt(1/fan_in).

    A stream's trials see the same examples in the first layer. They are multiplied trial by trial all the same: one
    wide matrix gains little on a CPU, and its rounding depends on its width, that is, on the trial's company."""

    decays = True
    prepare: Callable[[Tensor], Tensor] | None = None
    """What makes of W the weights that are used."""
    enter: Callable[[Tensor], Tensor] | None = None
    """What makes of x what is multiplied."""

    def __init__(self, cohort: Cohort, name: str, inputs: int, units: int) -> None:
        super().__init__()
        self.name = name
        self.product_dtype = cohort.product_dtype
        self.weight = nn.Parameter(initial_weights(cohort, name, units, inputs))

    def forward(self, x_SBI: Tensor, now: Pass) -> Tensor:
        x_SBI = x_SBI if self.enter is None else self.enter(x_SBI)
        weight_TCI = self.weight if self.prepare is None else self.prepare(self.weight)
        y_TBC: Tensor = _Product.apply(x_SBI.to(self.product_dtype), weight_TCI)  # type: ignore[no-untyped-call]
        return y_TBC


def initial_weights(cohort: Cohort, name: str, outputs: int, fan_in: int) -> Tensor:
    """Normal with standard deviation init_scale sqrt(1/fan_in), [T, outputs, fan_in]; the trials of one stream have the
    same draws. On the device meta, which has no numbers, nothing is drawn."""
    if cohort.device.type == "meta":
        return torch.empty(cohort.trials, outputs, fan_in, device=cohort.device, dtype=cohort.dtype)
    return scaled(cohort, initial_draws(cohort, name, outputs, fan_in), math.sqrt(1 / fan_in))


def initial_draws(cohort: Cohort, name: str, outputs: int, fan_in: int) -> Tensor:
    """The standard normal numbers behind the weights of layer `name`, float64 [S, outputs, fan_in]."""
    draws = random.normal(random.keys("init", cohort.streams, name, device=cohort.device), outputs * fan_in)
    return draws.view(-1, outputs, fan_in)


def scaled(cohort: Cohort, weight_SCK: Tensor, factor: float = 1.0) -> Tensor:
    """The weights of each stream (float64) as those of its trials, times init_scale times `factor`: [T, C, K]."""
    scale = cohort.init_scale.to(cohort.device) * factor
    weight_TCK = weight_SCK.repeat_interleave(cohort.trials // len(cohort.streams), 0) * scale[:, None, None]
    return weight_TCK.to(cohort.dtype)


def add_product(into: Tensor, left: Tensor, right: Tensor) -> None:
    """into += left right, of each trial; also into a gradient of another type."""
    if into.dtype == left.dtype:
        into.baddbmm_(left, right)
    else:
        into.add_(torch.bmm(left, right))


class Nonlinearity(Layer):
    """An elementwise function."""

    def __init__(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.name, self.function = name, function

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        return self.function(x_TBC)
