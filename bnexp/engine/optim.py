"""Optimizers and schedules whose numbers differ by trial: every coefficient is a column [T, 1, 1]."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bnexp import registry
from bnexp.config import TrialConfig
from bnexp.models.layers import Layer
from bnexp.options import ExponentialOptions

STRETCH = 64
"""Steps whose numbers are prepared together."""

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


class Sgd:
    """v = momentum v + g + weight_decay w; w = w - lr v, as torch.optim.SGD without dampening.

    A parameter's `grad` is never cleared: it is the velocity, scaled by the momentum as soon as it has been used, to
    which the next backward pass adds its gradient."""

    def __init__(self, model: Layer, trials: list[TrialConfig]) -> None:
        self.parameters: list[Tensor] = list(model.parameters())
        self.decaying = [parameter for module in model.modules() for parameter in _decaying(module)]
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.take(trials)

    def take(self, trials: list[TrialConfig]) -> None:
        """Go on with the numbers of `trials`, whose parameters the model now holds."""
        like = self.parameters[0]
        self.rate = column([trial.optimizer.lr * trial.lr_multiplier for trial in trials])
        self.schedule: Schedule = registry.load(registry.SCHEDULES[trials[0].schedule.name])(trials)
        self.momentum = column([trial.optimizer.momentum for trial in trials]).to(like)
        self.weight_decay = column([trial.optimizer.weight_decay for trial in trials]).to(like)
        self.minus_rates = torch.zeros(STRETCH, len(trials), 1, 1, dtype=like.dtype, device=like.device)
        self.decays_any = any(trial.optimizer.weight_decay > 0 for trial in trials)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that a step reads or writes, but the model's."""
        numbers = {"momentum": self.momentum, "weight_decay": self.weight_decay, "minus_rates": self.minus_rates}
        return self.velocities() | numbers

    def velocities(self) -> dict[str, Tensor]:
        """What the optimizer remembers of the steps taken."""
        return {f"velocity {number}": velocity for number, velocity in enumerate(self._velocities())}

    def _velocities(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def rates(self, first: int, count: int) -> Tensor:
        """Each trial's learning rate at `count` steps from step `first`, counted from 1: float64 [count, T, 1, 1]."""
        steps = torch.arange(first, first + count, dtype=torch.float64)[:, None, None, None]
        return self.rate * self.schedule(steps)

    def prepare(self, first: int, count: int) -> None:
        """Write the rates of `count` steps (at most STRETCH) from step `first`, counted from 1, where `step` finds
        them."""
        self.minus_rates[:count].copy_(-self.rates(first, count))

    @torch.no_grad()
    def step(self, row: Tensor) -> None:
        """Take the prepared step at place `row` (int64 [1]), after its backward pass."""
        velocities, [minus_rate] = self._velocities(), self.minus_rates.index_select(0, row)
        for parameter in self.decaying if self.decays_any else ():
            assert parameter.grad is not None
            parameter.grad.addcmul_(parameter, self.weight_decay)
        torch._foreach_addcmul_(self.parameters, velocities, [minus_rate] * len(velocities))
        torch._foreach_mul_(velocities, [self.momentum] * len(velocities))


def _decaying(module: nn.Module) -> Iterator[nn.Parameter]:
    return module.parameters(recurse=False) if isinstance(module, Layer) and module.decays else iter(())
