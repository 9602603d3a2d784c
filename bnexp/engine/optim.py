"""Optimizers and schedules whose numbers differ by trial: every coefficient is a column [T, 1, 1]."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from bnexp import registry
from bnexp.config import TrialConfig
from bnexp.models.layers import Layer
from bnexp.options import AdamOptions, ExponentialOptions, SgdOptions

STRETCH = 64
"""Steps whose numbers are prepared together."""

Options = TypeVar("Options", SgdOptions, AdamOptions)
Schedule = Callable[[Tensor], Tensor]
"""The factor of the learning rate at steps from 1, float64 [steps, 1, 1, 1], for every trial: [steps, T or 1, 1, 1]."""


def column(values: list[float]) -> Tensor:
    """One number a trial, float64 [T, 1, 1]."""
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


def constant(trials: list[TrialConfig]) -> Schedule:
    return torch.ones_like


def exponential(trials: list[TrialConfig]) -> Schedule:
    """decay^((step - 1) / every): the first step is taken at the whole rate."""
    options = [trial.schedule for trial in trials if isinstance(trial.schedule, ExponentialOptions)]
    decay, every = column([o.decay for o in options]), column([o.every for o in options])
    return lambda steps: decay ** ((steps - 1) / every)


class Optimizer:
    """What moves the weights. A parameter's `grad` is never cleared, but written in place; what is remembered of
    earlier steps, one tensor a parameter, is in `memories`."""

    remembers: tuple[str, ...] = ()
    """The names of its memories."""

    def __init__(self, model: Layer, trials: list[TrialConfig]) -> None:
        self.parameters: list[Tensor] = list(model.parameters())
        self.decaying = [parameter for module in model.modules() for parameter in _decaying(module)]
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.memories = {name: [torch.zeros_like(p) for p in self.parameters] for name in self.remembers}
        self.take(trials)

    def take(self, trials: list[TrialConfig]) -> None:
        """Go on with the numbers of `trials`, whose parameters the model now holds."""
        like = self.parameters[0]
        self.rate: Tensor = column([trial.optimizer.lr * trial.lr_multiplier for trial in trials])
        self.schedule: Schedule = registry.load(registry.SCHEDULES[trials[0].schedule.name])(trials)
        self.weight_decay = column([trial.optimizer.weight_decay for trial in trials]).to(like)
        self.minus_rates = torch.zeros(STRETCH, len(trials), 1, 1, dtype=like.dtype, device=like.device)
        self.decays_any = any(trial.optimizer.weight_decay > 0 for trial in trials)

    def begin_like(self, new: "Optimizer") -> None:
        """Go on with the trials of `new`, whose `state` has been copied into ours."""
        self.rate, self.schedule = new.rate, new.schedule

    def keep(self, slots: Tensor, trials: list[TrialConfig]) -> None:
        """Go on with the trials in `slots` only, after the model has done so."""
        self.memories = {name: [one[slots] for one in memory] for name, memory in self.memories.items()}
        self.take(trials)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that a step reads or writes, but the model's, and but gradients that each step leaves at 0."""
        return self.kept() | {"weight_decay": self.weight_decay, "minus_rates": self.minus_rates}

    def kept(self) -> dict[str, Tensor]:
        """What it remembers of the steps taken."""
        memories = self.memories.items()
        return {f"{name} {number}": tensor for name, memory in memories for number, tensor in enumerate(memory)}

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def rates(self, first: int, count: int) -> Tensor:
        """Each trial's learning rate at `count` steps from step `first`, counted from 1: float64 [count, T, 1, 1]."""
        rates: Tensor = self.rate * self.schedule(_numbers(first, count))
        return rates

    def prepare(self, first: int, count: int) -> None:
        """Write the numbers of `count` steps (at most STRETCH) from step `first`, counted from 1, where `step` finds
        them."""
        self.minus_rates[:count].copy_(-self.rates(first, count))

    def step(self, row: Tensor) -> None:
        """Take the prepared step at place `row` (int64 [1]), after its backward pass."""
        raise NotImplementedError

    def _decay(self) -> None:
        """Add to the gradients what decays the weights."""
        for parameter in self.decaying if self.decays_any else ():
            assert parameter.grad is not None
            parameter.grad.addcmul_(parameter, self.weight_decay)


class Sgd(Optimizer):
    """v = momentum v + g + weight_decay w; w = w - lr v, as torch.optim.SGD without dampening.

    A parameter's `grad` is the velocity, scaled by the momentum as soon as it has been used, to which the next backward
    pass adds its gradient."""

    def take(self, trials: list[TrialConfig]) -> None:
        super().take(trials)
        self.momentum = column(_of(SgdOptions, trials, lambda options: options.momentum)).to(self.parameters[0])

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"momentum": self.momentum}

    def kept(self) -> dict[str, Tensor]:
        return {f"velocity {number}": velocity for number, velocity in enumerate(self._gradients())}

    @torch.no_grad()
    def step(self, row: Tensor) -> None:
        velocities, [minus_rate] = self._gradients(), self.minus_rates.index_select(0, row)
        self._decay()
        torch._foreach_addcmul_(self.parameters, velocities, [minus_rate] * len(velocities))
        torch._foreach_mul_(velocities, [self.momentum] * len(velocities))


class Nesterov(Sgd):
    """v = momentum v + g + weight_decay w; w = w - lr (g + weight_decay w + momentum v), as torch.optim.SGD with
    `nesterov` (Sutskever, Martens, Dahl and Hinton 2013, in the form of Bengio, Boulanger-Lewandowski and Pascanu 2012,
    section 3.5)."""

    remembers = ("velocity",)
    kept = Optimizer.kept

    @torch.no_grad()
    def step(self, row: Tensor) -> None:
        gradients, velocities = self._gradients(), self.memories["velocity"]
        [minus_rate], each = self.minus_rates.index_select(0, row), len(gradients)
        self._decay()
        torch._foreach_mul_(velocities, [self.momentum] * each)
        torch._foreach_add_(velocities, gradients)
        torch._foreach_addcmul_(gradients, velocities, [self.momentum] * each)
        torch._foreach_addcmul_(self.parameters, gradients, [minus_rate] * each)
        torch._foreach_zero_(gradients)


class Adam(Optimizer):
    """m = beta1 m + (1 - beta1) g; u = beta2 u + (1 - beta2) g^2; at step t, w = w - lr m / (1 - beta1^t) /
    (sqrt(u / (1 - beta2^t)) + eps), as torch.optim.Adam (Kingma and Ba 2015, Algorithm 1). Weight decay is added to g,
    and so is a part of both moments."""

    remembers = ("first moment", "second moment")

    def take(self, trials: list[TrialConfig]) -> None:
        super().take(trials)
        like = self.parameters[0]
        self.beta1 = column(_of(AdamOptions, trials, lambda options: options.beta1))
        self.beta2 = column(_of(AdamOptions, trials, lambda options: options.beta2))
        eps = column(_of(AdamOptions, trials, lambda options: options.eps))
        self.numbers = [number.to(like) for number in (self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2, eps)]
        self.inverse_roots = torch.zeros_like(self.minus_rates)
        """[STRETCH, T, 1, 1] 1 / sqrt(1 - beta2^t)"""

    def state(self) -> dict[str, Tensor]:
        numbers = {f"number {place}": number for place, number in enumerate(self.numbers)}
        return super().state() | numbers | {"inverse_roots": self.inverse_roots}

    def begin_like(self, new: "Optimizer") -> None:
        super().begin_like(new)
        assert isinstance(new, Adam)
        self.beta1, self.beta2 = new.beta1, new.beta2

    def prepare(self, first: int, count: int) -> None:
        steps = _numbers(first, count)
        self.minus_rates[:count].copy_(-self.rates(first, count) / (1 - self.beta1**steps))
        self.inverse_roots[:count].copy_((1 - self.beta2**steps).rsqrt())

    @torch.no_grad()
    def step(self, row: Tensor) -> None:
        gradients, each = self._gradients(), len(self.parameters)
        [minus_rate], [inverse_root] = (n.index_select(0, row) for n in (self.minus_rates, self.inverse_roots))
        beta1, rest1, beta2, rest2, eps = ([number] * each for number in self.numbers)
        first, second = self.memories["first moment"], self.memories["second moment"]
        self._decay()
        torch._foreach_mul_(first, beta1)
        torch._foreach_addcmul_(first, gradients, rest1)
        torch._foreach_mul_(gradients, gradients)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, rest2)
        roots = torch._foreach_sqrt(second)
        torch._foreach_mul_(roots, [inverse_root] * each)
        torch._foreach_add_(roots, eps)
        torch._foreach_addcmul_(self.parameters, torch._foreach_div(first, roots), [minus_rate] * each)
        torch._foreach_zero_(gradients)


def _numbers(first: int, count: int) -> Tensor:
    """The numbers of `count` steps from step `first`: float64 [count, 1, 1, 1]."""
    return torch.arange(first, first + count, dtype=torch.float64)[:, None, None, None]


def _of(kind: type[Options], trials: list[TrialConfig], number: Callable[[Options], float]) -> list[float]:
    """One number of each trial's optimizer, whose options are of this kind."""
    return [number(trial.optimizer) for trial in trials if isinstance(trial.optimizer, kind)]


def _decaying(module: nn.Module) -> Iterator[nn.Parameter]:
    return module.decaying() if isinstance(module, Layer) else iter(())
