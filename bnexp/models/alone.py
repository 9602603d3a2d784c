"""Normalizers of a person's own: those with a trial axis as they are, and plain modules trial by trial, as networks are
that are such modules.

Shape suffixes as in `layers`."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bnexp import own, random, registry
from bnexp.config import TrialConfig
from bnexp.errors import UsageError
from bnexp.models.layers import Cohort, Layer, Mode, Pass
from bnexp.models.trying import CPU, batch, tried
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
    return partial(_make, made, config.norm.name, dict(config.norm.options))


def _make(
    made: type[nn.Module], path: str, options: dict[str, Any], cohort: Cohort, name: str, units: int, _: Any
) -> Layer:
    def build(cohort: Cohort) -> Layer:
        if issubclass(made, Layer):
            return made(cohort, name, units, **options)
        return Alone(cohort, name, lambda _: made(units, **options))

    try:
        if cohort.device.type == "meta":  # nothing is trained, but it is found out whether it could be
            x_TBC = batch(cohort, 2, units)
            tried(build, cohort, x_TBC, x_TBC.shape, "the same shape")
        return build(cohort)
    except UsageError:
        raise
    except Exception as error:
        called = f"{made.__name__} of {units} units with options {options}"
        raise UsageError(f"norm: {called}: {own.said(error, path)}") from error


class Alone(Layer):
    """A plain module for each trial, one after the other: not fused, so as slow as in a loop of trials.

    It sees one trial's batch, the units [B, C] of a layer or the images of a network. Its parameters start as it makes
    them, under a seed of (trial's seed, layer); what it draws at random in training belongs to (trial's seed, layer,
    step) on a CPU, and to nothing on a GPU. It is in training mode where the network trains, and in evaluation mode
    where it is evaluated; there is no other population than the statistics that it has by then."""

    def __init__(self, cohort: Cohort, name: str, make: Callable[[int], nn.Module], decays: bool = False) -> None:
        """`make` makes the module of the trial in a slot. With `decays`, weight decay applies to those of its
        parameters that have two axes or more."""
        super().__init__()
        self.name, self.decays = name, decays
        self._seeds = _each(cohort.streams, cohort.trials)
        made = [
            _seeded(partial(make, slot), random.key("init", seed, name)[0]) for slot, seed in enumerate(self._seeds)
        ]
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
        self._plain = [module.to("meta") for module in made]
        """In a list, so that their tensors are none of ours."""

    def decaying(self) -> Iterator[nn.Parameter]:
        weights = [path for key, path in self._paths.items() if self.decays and len(self._shapes[key]) > 1]
        ours = dict(self.named_parameters())
        return (ours[path] for path in dict.fromkeys(weights) if path in ours)

    def tensors(self) -> dict[str, Tensor]:
        """The modules' parameters and buffers under their own names, [T, ...]; one of several names under the first."""
        first = {path: key for key, path in reversed(self._paths.items())}
        return {key: getattr(self, path).view(-1, *self._shapes[key]) for path, key in first.items()}

    def leaves(self) -> Iterator[nn.Module]:
        """The parts of the modules that have none themselves."""
        return (part for plain in self._plain for part in plain.modules() if not any(part.children()))

    def keep(self, slots: Tensor, streams: list[int]) -> None:
        super().keep(slots, streams)
        self._seeds = _each(streams, len(slots))
        self._plain = [self._plain[slot] for slot in slots.tolist()]

    def forward(self, x_SBC: Tensor, now: Pass) -> Tensor:
        draws = now.mode in (Mode.TRAIN, Mode.PROBE)
        mine = {key: getattr(self, path) for key, path in self._paths.items()}
        if now.mode is Mode.PROBE:  # leaves nothing behind
            mine = {key: one if isinstance(one, nn.Parameter) else one.clone() for key, one in mine.items()}
        x_SBC = x_SBC.to(next((one.dtype for one in self.parameters()), x_SBC.dtype))
        step = int(now.step) if draws and x_SBC.device == CPU else None
        each = []
        for slot, plain in enumerate(self._plain):
            plain.train(draws)
            ours = {key: one[slot].view(self._shapes[key]) for key, one in mine.items()}
            if step is not None:  # nothing else here draws from torch's own generator
                torch.default_generator.manual_seed(random.key("own", self._seeds[slot], self.name, step)[0])
            x_BC = x_SBC[slot * len(x_SBC) // len(self._plain)]
            left = dict(ours)  # functional_call puts into it what the module has of each name in the end
            each.append(functional_call(plain, left, (x_BC,), tie_weights=False))
            for key in ours:
                if left[key] is not ours[key]:  # would be lost
                    raise ValueError(f"it binds {key!r} to another tensor; change what it has in place, as by copy_")
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
