"""Normalizers of a person's own: those with a trial axis as they are, and plain modules trial by trial.

Shape suffixes as in `layers`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bnexp import random, registry
from bnexp.config import TrialConfig
from bnexp.errors import UsageError
from bnexp.models.layers import Cohort, Layer, Mode, Pass
from bnexp.normalizers import OwnNormOptions


def normalizer(config: TrialConfig) -> Callable[..., Layer]:
    """What makes a layer's normalizer of a cohort, the layer's name, its units and the options of the norm. Raises
    UsageError where it is a person's own and cannot be used."""
    made = registry.component(registry.NORMS, config.norm.name, config.sources)
    if not isinstance(config.norm, OwnNormOptions):
        shipped: Callable[..., Layer] = made
        return shipped
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise UsageError(f"norm: {config.norm.name} is no class of layers or modules")
    return partial(_make, made, dict(config.norm.options))


def _make(made: type[nn.Module], options: dict[str, Any], cohort: Cohort, name: str, units: int, _: Any) -> Layer:
    try:
        if issubclass(made, Layer):
            return made(cohort, name, units, **options)
        return Alone(cohort, name, partial(made, units, **options))
    except TypeError as error:
        raise UsageError(f"norm: {made.__name__} of {units} units with options {options}: {error}") from error


class Alone(Layer):
    """A plain module for each trial, one after the other: not fused, so as slow as in a loop of trials.

    It sees the units of one trial's batch, [B, C]. Its parameters start as it makes them, under a seed of (trial's
    seed, layer). It is in training mode where the network trains, and in evaluation mode where it is evaluated; there
    is no other population than the statistics that it has by then. Its own random numbers are not keyed: a module that
    draws any while it trains makes results depend on the company."""

    def __init__(self, cohort: Cohort, name: str, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.name = name
        seeds = [seed for seed in cohort.streams for _ in range(cohort.trials // len(cohort.streams))]
        made = [_seeded(make, seed, name) for seed in seeds]
        self._shapes = {key: tensor.shape for key, tensor in made[0].state_dict(keep_vars=True).items()}
        self._paths = {key: f"own {key.replace('.', ' ')}" for key in self._shapes}
        """Names that a module may have for a tensor, by those in the plain one."""
        learned = dict(made[0].named_parameters())
        for key, path in self._paths.items():
            each = torch.stack([module.state_dict()[key].reshape(1, -1) for module in made]).to(cohort.device)
            if each.is_floating_point():
                each = each.to(cohort.dtype)
            if key in learned:
                self.register_parameter(path, nn.Parameter(each))
            else:
                self.register_buffer(path, each)
        self._plain = [made[0].to("meta")]
        """In a list, so that its tensors are none of ours."""

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        [plain] = self._plain
        plain.train(now.mode in (Mode.TRAIN, Mode.PROBE))
        mine = {key: getattr(self, path) for key, path in self._paths.items()}
        if now.mode is Mode.PROBE:  # leaves nothing behind
            mine = {key: one if isinstance(one, nn.Parameter) else one.clone() for key, one in mine.items()}
        x_TBC = x_TBC.to(next((one.dtype for one in self.parameters()), x_TBC.dtype))
        return torch.stack(
            [
                functional_call(plain, {key: one[slot].view(self._shapes[key]) for key, one in mine.items()}, (x_BC,))
                for slot, x_BC in enumerate(x_TBC)
            ]
        )


def _seeded(make: Callable[[], nn.Module], seed: int, name: str) -> nn.Module:
    """A module whose first numbers belong to (seed, layer)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.key("init", seed, name)[0])
        return make()
