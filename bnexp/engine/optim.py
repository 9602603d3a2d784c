"""Optimizers and schedules whose numbers differ by trial: every coefficient is a column [T, 1, 1]."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bnexp import registry
from bnexp.config import ExponentialOptions, TrialConfig
from bnexp.models.layers import Layer

Schedule = Callable[[int], Tensor | float]
"""The factor of the learning rate at a step, from 1: a number, or float64 [T, 1, 1]."""


def column(values: list[float]) -> Tensor:
    """One number a trial, float64 [T, 1, 1]."""
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


def constant(trials: list[TrialConfig]) -> Schedule:
    return lambda step: 1.0


def exponential(trials: list[TrialConfig]) -> Schedule:
    """decay^((step - 1) / every): the first step is taken at the whole rate."""
    options = [trial.schedule for trial in trials if isinstance(trial.schedule, ExponentialOptions)]
    decay, every = column([o.decay for o in options]), column([o.every for o in options])
    return lambda step: decay ** ((step - 1) / every)


class Sgd:
    """v = momentum v + g + weight_decay w; w = w - lr v, as torch.optim.SGD without dampening."""

    def __init__(self, model: Layer, trials: list[TrialConfig]) -> None:
        self.parameters = list(_with_decay(model))
        self.velocities = [torch.zeros_like(parameter) for parameter, _ in self.parameters]
        self._set_numbers(trials)

    def _set_numbers(self, trials: list[TrialConfig]) -> None:
        like = self.velocities[0]
        self.schedule: Schedule = registry.load(registry.SCHEDULES[trials[0].schedule.name])(trials)
        self.rate = column([trial.optimizer.lr * trial.lr_multiplier for trial in trials])
        self.momentum = column([trial.optimizer.momentum for trial in trials]).to(like)
        self.weight_decay = column([trial.optimizer.weight_decay for trial in trials]).to(like)
        self.decays_any = any(trial.optimizer.weight_decay > 0 for trial in trials)

    def keep(self, slots: Tensor, trials: list[TrialConfig]) -> None:
        """Go on with `trials` only, which stood in `slots` (int64 indices)."""
        self.velocities = [velocity[slots] for velocity in self.velocities]
        self._set_numbers(trials)

    @torch.no_grad()
    def step(self, number: int) -> None:
        """Take training step `number`, from 1, and forget the gradients."""
        minus_rate = (-self.rate * self.schedule(number)).to(self.momentum)
        for (parameter, decays), velocity in zip(self.parameters, self.velocities, strict=True):
            gradient = parameter.grad
            assert gradient is not None
            if decays and self.decays_any:
                gradient = torch.addcmul(gradient, parameter, self.weight_decay)
            velocity.mul_(self.momentum).add_(gradient)
            parameter.addcmul_(velocity, minus_rate)
            parameter.grad = None


def _with_decay(model: Layer) -> Iterator[tuple[nn.Parameter, bool]]:
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            yield parameter, isinstance(module, Layer) and module.decays
