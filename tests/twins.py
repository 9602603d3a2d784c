"""A plain torch.nn twin of one trial: the oracle that the fused engine is held against."""

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, cross_entropy
from torch.optim.lr_scheduler import ExponentialLR

from benchmarks.plain import optimizer
from bnexp import random
from bnexp.data.batches import CURVE_EXAMPLES, Batches
from bnexp.data.examples import Examples
from bnexp.engine.program import Program
from bnexp.models.layers import Linear
from bnexp.normalizers import BatchNormOptions, FixupOptions, LsuvOptions, NoisyBatchNormOptions
from bnexp.options import ExponentialOptions
from bnexp.records import Final, Point
from tests.norm_twins import (
    BatchTwin,
    ScaleTwin,
    Statistics,
    begin_fixup,
    begin_lsuv,
    linear_twin,
    norm_twin,
    output_twin,
)

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def dropout_mask(seed: int, layer: str, step: int, p: float, x: Tensor) -> Tensor:
    """What dropout multiplies x [examples, units] with: 0 where the uniform of (seed, layer, step, example,
    unit) is under p, else 1 / (1 - p)."""
    keys = random.step_keys(random.keys("dropout", [seed], layer), torch.tensor(step))
    uniform = random.uniform(keys, random.counters(x.numel()), torch.float64).view(x.shape)
    return ((uniform >= p).double() / (1 - p)).to(x.dtype)


def noise(seed: int, layer: str, step: int, norm: NoisyBatchNormOptions, x: Tensor) -> tuple[Tensor, Tensor]:
    """What x [examples, units] is multiplied by and what is then added to it, [units] each: of 2 x units uniforms of
    (seed, layer, step), the second half make the factors and the first half the shifts."""
    keys = random.step_keys(random.keys("noise", [seed], layer), torch.tensor(step))
    shift, scale = random.uniform(keys, random.counters(2 * x.shape[1]), torch.float64).view(2, -1).to(x.dtype)
    return 1 + (norm.scale - 1) * scale, norm.shift * (2 * shift - 1)


class Twin(nn.Module):
    """One trial as anyone would write it, from the initial weights in `slot` of a fresh `training`."""

    def __init__(self, training: Program, slot: int) -> None:
        super().__init__()
        self.trial = trial = training.trials[slot]
        self.sets = training.data
        self.batches = Batches(self.sets.train, trial.batch_size, trial.shuffle == "fixed")
        norm = trial.norm
        widths = [prod(self.sets.shape), *trial.model.hidden]
        self.linears = [linear_twin(norm, i, units) for i, units in pairwise(widths)]
        self.linears.append(output_twin(norm, widths[-1], self.sets.classes))
        found = [norm_twin(norm, units) for units in widths[1:]]
        self.norms: list[Any] = [twin for twin in found if twin is not None]
        self.layers = nn.ModuleList([*self.linears, *self.norms]).to(self.sets.train.x)
        theirs = [module for module in training.model.modules() if isinstance(module, Linear)]
        for linear, their in zip(self.linears, theirs, strict=True):
            linear.weight.data.copy_(their.weight[slot])
            if linear.bias is not None:
                linear.bias.data.zero_()
        for linear, scale in zip(self.linears, self.norms, strict=False):
            if isinstance(scale, ScaleTwin):
                scale.begin(linear.weight)
        self._begin()
        weights = [linear.weight for linear in self.linears]
        others = [parameter for parameter in self.layers.parameters() if parameter.dim() == 1]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": trial.optimizer.weight_decay},
            {"params": others},
        ]
        self.optimizer = optimizer(trial, groups)
        rule = trial.schedule
        gamma = rule.decay ** (1 / rule.every) if isinstance(rule, ExponentialOptions) else 1.0
        self.schedule = ExponentialLR(self.optimizer, gamma)
        self.steps = 0

    def _begin(self) -> None:
        """What an initialization in the place of a norm makes of the weights, from their draws and not from theirs."""
        names = [*(f"hidden {number}" for number in range(len(self.linears) - 1)), "output"]
        given = self.linears, names, self.trial.seed, self.trial.init_scale
        if isinstance(self.trial.norm, FixupOptions):
            begin_fixup(*given)
        if isinstance(self.trial.norm, LsuvOptions):
            [x] = self.batches.take(self.batches.indices(1, 1, [self.trial.seed])[0])[0]
            self.divisions = begin_lsuv(*given, lambda number: self._product(x, number), self.trial.norm.tolerance)

    def _product(self, x: Tensor, number: int) -> Tensor:
        """What comes of layer `number`, of a network without norms."""
        for linear in self.linears[:number]:
            x = FUNCTIONS[self.trial.nonlinearity](linear(x))
        return torch.as_tensor(self.linears[number](x))

    def in_order(self) -> list[nn.Parameter]:
        """The parameters as the engine's optimizer lists them: layer by layer, weight first."""
        found: list[nn.Parameter] = []
        for number, linear in enumerate(self.linears):
            found += linear.parameters()
            found += self.norms[number].parameters() if number < len(self.norms) else []
        return found

    def step(self) -> float:
        """Take the next training step, leave the gradients in place, and return the batch's loss."""
        self.steps += 1
        x, y = (part[0] for part in self.batches.take(self.batches.indices(self.steps, 1, [self.trial.seed])[0]))
        self.optimizer.zero_grad()
        loss = cross_entropy(self._logits(x, self._normalize, dropout=True), y)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach())

    def _normalize(self, number: int, x: Tensor) -> Tensor:
        """Normalized as in training, which moves the averages."""
        norm, options = self.norms[number], self.trial.norm
        y: Tensor = norm(x)
        if isinstance(options, BatchNormOptions) and options.stop_gradient:
            mean, variance = x.mean(0).detach(), x.var(0, correction=0).detach()
            y = (x - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
        if isinstance(options, NoisyBatchNormOptions):
            factor, shift = noise(self.trial.seed, f"hidden {number}", self.steps, options, x)
            y = y * factor + shift
        return y

    def layer_by_layer(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What enters each nonlinearity, from the first hidden layer to the last, and what leaves it, in training but
        for dropout; the logits end both lists. It moves averages but those that training uses."""
        entering, leaving = [], []
        for norm in self.norms:
            norm.still = True
        for number, linear in enumerate(self.linears[:-1]):
            entering.append(self._normalize(number, linear(x)) if self.norms else linear(x))
            x = FUNCTIONS[self.trial.nonlinearity](entering[-1])
            leaving.append(x)
        for norm in self.norms:
            norm.still = False
        logits = self.linears[-1](x)
        return [*entering, logits], [*leaving, logits]

    def _logits(self, x: Tensor, normalize: Callable[[int, Tensor], Tensor], dropout: bool = False) -> Tensor:
        p = self.trial.dropout
        for number, linear in enumerate(self.linears[:-1]):
            x = linear(x)
            x = FUNCTIONS[self.trial.nonlinearity](normalize(number, x) if self.norms else x)
            if dropout and p:
                x = x * dropout_mask(self.trial.seed, f"hidden {number}", self.steps, p, x)
        return torch.as_tensor(self.linears[-1](x))

    @torch.no_grad()
    def _measure(self, examples: Examples, statistics: list[Statistics]) -> tuple[float, ...]:
        """Mean loss, accuracy and top-5 accuracy under these statistics, dropout off."""

        def normalize(number: int, x: Tensor) -> Tensor:
            norm = self.norms[number]
            if not isinstance(norm, BatchTwin):
                return torch.as_tensor(norm(x))
            return batch_norm(x, *statistics[number], norm.weight, norm.bias, eps=norm.eps)

        logits = self._logits(examples.x, normalize)
        best = logits.sort(dim=1, descending=True, stable=True).indices == examples.y[:, None]
        among = [float(best[:, :count].sum()) / len(examples) for count in (1, 5)]
        return float(cross_entropy(logits.double(), examples.y)), *among

    def point(self) -> Point:
        """A point of the curve, from debiased averages."""
        averages = [norm.averages(self.steps) for norm in self.norms if isinstance(norm, BatchTwin)]
        sets = [part.first(CURVE_EXAMPLES) for part in (self.sets.train, self.sets.validation)]
        return Point(self.steps, *(number for part in sets for number in self._measure(part, averages)[:2]))

    @torch.no_grad()
    def final(self) -> Final:
        """The final numbers, from Algorithm 2's means over batches of the mean and the m/(m-1) variance."""
        seen: list[list[Statistics]] = [[] for _ in self.norms]

        def normalize(number: int, x: Tensor) -> Tensor:
            norm = self.norms[number]
            if not isinstance(norm, BatchTwin):
                return torch.as_tensor(norm(x))
            y, found = norm.gathering(x)
            seen[number] += found
            return y

        for x in self.batches.population([self.trial.seed]):
            self._logits(x[0], normalize)
        population = [norm.population(of) for norm, of in zip(self.norms, seen, strict=True) if of]
        sets = (self.sets.train, self.sets.validation, self.sets.test)
        measured = [self._measure(part, population) for part in sets]
        _, *best = (part[2] for part in measured)
        return Final(*(number for part in measured for number in part[:2]), *best)
