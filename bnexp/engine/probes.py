"""What can be measured inside a network while it trains: each probe reads a `Bench`, every trial at once.

Shape suffixes: T trials, B batch, C units. Sums are in float64, whatever the network computes in. Numbers that are not
finite are told as they are.
"""

import math
from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from bnexp.engine.probing import Bench, Reading, Slope

PERCENTILES = (15, 50, 85)

STRIDES = (0.5, 1.0, 2.0, 4.0)
"""Lengths of the steps along the gradient, in learning rates."""

SCALE = 7.3
"""Of weights, where it should not matter; no power of two, which would be exact."""


def percentiles(bench: Bench) -> Iterator[Reading]:
    """The 15th, 50th and 85th percentile over the batch of what enters each nonlinearity of the last hidden layer (the
    paper's Figure 1), interpolated linearly as numpy does."""
    layer, x_TBC = list(bench.inputs().items())[-1]
    ordered_TBC = x_TBC.sort(1).values.double()
    # NaN is sorted last, so a unit that has any would have percentiles all the same.
    ordered_TBC = ordered_TBC.where(~ordered_TBC[:, -1:].isnan(), math.nan)
    for percent in PERCENTILES:
        place = percent / 100 * (ordered_TBC.shape[1] - 1)
        below_TC, above_TC = ordered_TBC[:, math.floor(place)], ordered_TBC[:, math.ceil(place)]
        yield Reading(layer, f"p{percent}", torch.lerp(below_TC, above_TC, place % 1))


def moments(bench: Bench) -> Iterator[Reading]:
    """Mean and biased variance over the batch of what enters each nonlinearity."""
    for layer, x_TBC in bench.inputs().items():
        mean_T1C = x_TBC.mean(1, keepdim=True, dtype=torch.float64)
        yield Reading(layer, "mean", mean_T1C[:, 0])
        yield Reading(layer, "variance", (x_TBC - mean_T1C).square().mean(1))


def gradient_norms(bench: Bench) -> Iterator[Reading]:
    """The squared 2-norm of the gradient of the mean loss with respect to each layer's weights, and to its outputs on
    the whole batch (the logits, of the output layer). Yang et al. 2019 ("A mean field theory of batch normalization")
    find that the latter grows by pi / (pi - 1) a layer towards the input, with ReLU at initialization."""
    activations: dict[str, Tensor] = {}

    def keep(layer: str, gradient_TBC: Tensor) -> None:
        activations[layer] = _squared([gradient_TBC])

    def watch(layer: str, entering_TBC: Tensor, leaving_TBC: Tensor) -> None:
        leaving_TBC.register_hook(partial(keep, layer))

    slope = bench.slope(watch)
    for layer, weight in bench.weights.items():
        yield Reading(layer, "weights", _squared([slope.gradients[weight]]))
        yield Reading(layer, "activations", activations[layer])


def covariate_shift(bench: Bench) -> Iterator[Reading]:
    """How the gradient of each layer's weights changes when all layers before it take one plain gradient step at the
    present rate: the 2-norm of the difference, and the cosine (Santurkar et al. 2018, definition 2.1)."""
    now = bench.slope()
    with bench.moving():
        for number, (layer, weight) in enumerate(bench.weights.items()):
            then = bench.slope() if number else now
            before, after = now.gradients[weight], then.gradients[weight]
            yield Reading(layer, "l2", _squared([before - after]).sqrt())
            yield Reading(layer, "cosine", _cosine(before, after))
            bench.descend(now.gradients, bench.rate_T11, bench.layers[layer])


def smoothness(bench: Bench) -> Iterator[Reading]:
    """The loss, its range over steps of 0.5 to 4 rates along the gradient g of all parameters, and there the largest
    change of g, in 2-norm as it is and by the length of the step (Santurkar et al. 2018, section 3.1)."""
    now = bench.slope()
    size_T = _squared(now.gradients).sqrt()
    losses, changes, betas = [], [], []
    for stride in STRIDES:
        rate_T11 = bench.rate_T11 * stride
        with bench.moving():
            bench.descend(now.gradients, rate_T11)
            then = bench.slope()
        change_T = _squared(b - a for a, b in zip(now.gradients, then.gradients, strict=True)).sqrt()
        losses.append(then.loss)
        changes.append(change_T)
        betas.append(change_T / (rate_T11.flatten().double() * size_T))
    seen = torch.stack(losses)
    yield Reading("", "loss", now.loss)
    yield Reading("", "loss range", seen.amax(0) - seen.amin(0))
    yield Reading("", "gradient change", torch.stack(changes).amax(0))
    yield Reading("", "effective beta", torch.stack(betas).amax(0))


def scale_invariance(bench: Bench) -> Iterator[Reading]:
    """Section 3.3, for each hidden layer with its weights W multiplied by a: BN((aW)u) = BN(Wu), the gradient with
    respect to the network's input stays, and that with respect to aW is 1/a of that with respect to W. Each as the
    largest error, relative to the largest number."""
    plain = bench.slope(inputs=True)
    for layer in bench.hidden:
        weight = bench.weights[layer]
        scaled = _scaled(bench, weight)
        assert scaled.inputs is not None and plain.inputs is not None
        yield Reading(layer, "logits", _relative(scaled.logits, plain.logits))
        yield Reading(layer, "input gradient", _relative(scaled.inputs, plain.inputs))
        ours, expected = SCALE * scaled.gradients[weight], plain.gradients[weight]
        yield Reading(layer, "weight gradient", _relative(ours, expected))


def _scaled(bench: Bench, weight: int) -> Slope:
    with bench.moving():
        with torch.no_grad():
            bench.parameters[weight].mul_(SCALE)
        return bench.slope(inputs=True)


def _squared(tensors: Iterable[Tensor]) -> Tensor:
    """The squared 2-norm of all numbers of each trial, [T]. Added one by one, since a sum over a stack of them would
    be taken in an order that depends on T."""
    first, *others = [tensor.double().square().flatten(1).sum(1) for tensor in tensors]
    return sum(others, first)


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    """[T]; NaN where either is zero."""
    product_T = (first.double() * second.double()).flatten(1).sum(1)
    return product_T / (_squared([first]).sqrt() * _squared([second]).sqrt())


def _relative(actual: Tensor, expected: Tensor) -> Tensor:
    """The largest difference over the largest number expected, [T]; 0 where there is no difference."""
    difference_T = (actual.double() - expected.double()).abs().flatten(1).amax(1)
    return torch.where(difference_T == 0, 0.0, difference_T / expected.double().abs().flatten(1).amax(1))
