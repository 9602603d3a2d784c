"""Normalizers of a person's own: those with a trial axis as they are, and plain modules trial by trial.

Shape suffixes as in `layers`."""

from collections.abc import Callable
from dataclasses import replace
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

CPU = torch.device("cpu")
TRIED = 4
"""Examples in the batch that a layer of a person's own is tried with."""


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
    def build(cohort: Cohort) -> Layer:
        if issubclass(made, Layer):
            return made(cohort, name, units, **options)
        return Alone(cohort, name, partial(made, units, **options))

    try:
        if cohort.device.type == "meta":  # nothing is trained, but it is found out whether it could be
            _try(build, replace(cohort, device=CPU, bfloat16=False), units)
        return build(cohort)
    except UsageError:
        raise
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"norm: {made.__name__} of {units} units with options {options}: {said}") from error


@torch.no_grad()
def _try(build: Callable[[Cohort], Layer], cohort: Cohort, units: int) -> None:
    """Make one of two trials and pass a batch through it, and of the first trial alone. Raises ValueError where shapes
    are not what they should be, or a trial depends on its company."""
    both, one = (
        replace(cohort, streams=[*range(trials)], init_scale=torch.ones(trials), dropout=torch.zeros(trials))
        for trials in (2, 1)
    )
    together, alone = build(both), build(one)
    for path, parameter in together.named_parameters():
        if parameter.dim() != 3 or len(parameter) != 2:
            shape = f"[{', '.join(map(str, parameter.shape))}]"
            raise ValueError(f"its parameter {path!r} is {shape} in a cohort of 2 trials, where [2, n, m] is wanted")
    x_TBC = torch.randn(2, TRIED, units, dtype=cohort.dtype, generator=torch.Generator().manual_seed(0))
    now = Pass(Mode.TRAIN, torch.ones((), dtype=torch.int64))
    y_TBC = together(x_TBC, now)
    if not isinstance(y_TBC, Tensor) or y_TBC.shape != x_TBC.shape:
        given = list(y_TBC.shape) if isinstance(y_TBC, Tensor) else type(y_TBC).__name__
        raise ValueError(f"of [2, {TRIED}, {units}] it makes {given}, where the same shape is wanted")
    if not torch.allclose(y_TBC[:1], alone(x_TBC[:1], now), rtol=1e-3, atol=1e-4, equal_nan=True):
        raise ValueError("a trial has other numbers in company than alone: nothing may cross the first axis")


class Alone(Layer):
    """A plain module for each trial, one after the other: not fused, so as slow as in a loop of trials.

    It sees the units of one trial's batch, [B, C]. Its parameters start as it makes them, under a seed of (trial's
    seed, layer); what it draws at random in training belongs to (trial's seed, layer, step) on a CPU, and to nothing on
    a GPU. It is in training mode where the network trains, and in evaluation mode where it is evaluated; there is no
    other population than the statistics that it has by then."""

    def __init__(self, cohort: Cohort, name: str, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.name = name
        self._seeds = _each(cohort.streams, cohort.trials)
        made = [_seeded(make, random.key("init", seed, name)[0]) for seed in self._seeds]
        self._shapes: dict[str, torch.Size] = {}
        self._paths: dict[str, str] = {}
        """Where each tensor of a module is here, by its name there. One of several names is one tensor here too."""
        known: dict[int, str] = {}
        for key, tensor in _tensors(made[0]).items():
            self._shapes[key] = tensor.shape
            self._paths[key] = known.setdefault(id(tensor), f"own {key.replace('.', ' ')}")
            if hasattr(self, self._paths[key]):
                continue
            each = torch.stack([_tensors(module)[key].detach().reshape(1, -1) for module in made]).to(cohort.device)
            if each.is_floating_point():
                each = each.to(cohort.dtype)
            if isinstance(tensor, nn.Parameter) and tensor.requires_grad:
                self.register_parameter(self._paths[key], nn.Parameter(each))
            else:
                self.register_buffer(self._paths[key], each)
        self._plain = [made[0].to("meta")]
        """In a list, so that its tensors are none of ours."""

    def keep(self, slots: Tensor, streams: list[int]) -> None:
        super().keep(slots, streams)
        self._seeds = _each(streams, len(slots))

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        [plain] = self._plain
        draws = now.mode in (Mode.TRAIN, Mode.PROBE)
        plain.train(draws)
        mine = {key: getattr(self, path) for key, path in self._paths.items()}
        if now.mode is Mode.PROBE:  # leaves nothing behind
            mine = {key: one if isinstance(one, nn.Parameter) else one.clone() for key, one in mine.items()}
        x_TBC = x_TBC.to(next((one.dtype for one in self.parameters()), x_TBC.dtype))
        step = int(now.step) if draws and x_TBC.device == CPU else None
        each = []
        for slot, x_BC in enumerate(x_TBC):
            own = {key: one[slot].view(self._shapes[key]) for key, one in mine.items()}
            if step is not None:  # nothing else here draws from torch's own generator
                torch.default_generator.manual_seed(random.key("own", self._seeds[slot], self.name, step)[0])
            each.append(functional_call(plain, own, (x_BC,), tie_weights=False))
        return torch.stack(each)


def _each(streams: list[int], trials: int) -> list[int]:
    """The seed of each trial."""
    return [seed for seed in streams for _ in range(trials // len(streams))]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by name, those that have several names under each."""
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return dict(named)


def _seeded(work: Callable[[], Any], seed: int) -> Any:
    """What `work` gives where torch's random numbers are those of a seed; afterwards they are as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return work()
