"""The network of a cohort: one that ships, or a person's own, with a trial axis or a plain module trial by trial.

Shape suffixes: T trials, S streams, B batch, H height, W width, I inputs."""

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bnexp import own, registry
from bnexp.config import TrialConfig
from bnexp.errors import UsageError
from bnexp.models.alone import Alone
from bnexp.models.layers import Cohort, Layer, Pass
from bnexp.models.trying import cohort_like, images, passed, refuse_other, tried
from bnexp.options import OwnModelOptions

Shape = tuple[int, int, int]

NEUTRAL: Mapping[str, object] = {"norm": "none", "nonlinearity": "sigmoid", "dropout": 0.0, "init_scale": 1.0}
"""The factors that a network may take, and what each is where it takes none."""


def network(cohort: Cohort, config: TrialConfig, shape: Shape, classes: int) -> Layer:
    """Logits [T, B, classes] of examples [S, B, H W C]; `shape` is one example's height, width and channels. Raises
    UsageError where the network is a person's own and cannot be used."""
    made = registry.component(registry.MODELS, config.model.name, config.sources)
    if not isinstance(config.model, OwnModelOptions):
        shipped: Layer = made(cohort, config, shape, classes)
        return shipped
    try:
        return _Own(made, config, shape, classes).network(cohort)
    except UsageError:
        raise
    except Exception as error:
        options = f" with options {dict(config.model.options)}" if config.model.options else ""
        raise UsageError(f"model: {config.model.name}{options}: {own.said(error, config.model.name)}") from error


class _Own:
    """A network of a person's own. Whatever it is made with is given by name, to those that it names."""

    def __init__(self, made: Callable[..., Any], config: TrialConfig, shape: Shape, classes: int) -> None:
        assert isinstance(config.model, OwnModelOptions)
        self.name, self.options = config.model.name, dict(config.model.options)
        if not callable(made):
            raise ValueError("it is neither a class of networks nor a function that makes one")
        self.made, self.config, self.shape, self.classes = made, config, shape, classes
        self.names = inspect.signature(made).parameters.keys()
        self.factors = {name: getattr(config, name) for name in NEUTRAL} | {"norm": config.norm.name}
        """What the trial has of each."""

    def network(self, cohort: Cohort) -> Layer:
        plain = "cohort" not in self.names
        build = self._plain if plain else self._fused
        if plain:
            self._refuse_strange()
        if cohort.device.type == "meta":  # nothing is trained, but it is found out whether it could be
            self._try(build, cohort)
            found = build(cohort)
            if not any(True for _ in found.parameters()):
                raise ValueError("it has no parameters to train")
            if not plain:
                self._refuse_namesakes(found)
                self._refuse_unheard(cohort)
        return build(cohort)

    def _made(self, given: Mapping[str, Any]) -> Any:
        if taken := self.options.keys() & (given.keys() | NEUTRAL.keys()):
            raise UsageError(f"model.options: {min(taken)!r} is given to model {self.name} by bnexp, and is no option")
        return self.made(**{name: value for name, value in given.items() if name in self.names}, **self.options)

    def _fused(self, cohort: Cohort, config: Any = None) -> Layer:
        given = {"cohort": cohort, "config": config or self.config, "shape": self.shape, "classes": self.classes}
        made = self._made(given)
        if not isinstance(made, Layer):
            raise ValueError(f"with a trial axis it must be a Layer, not {type(made).__name__}")
        return made

    def _plain(self, cohort: Cohort) -> Layer:
        nonlinearity = registry.component(registry.NONLINEARITIES, self.config.nonlinearity, self.config.sources)
        fixed = {"shape": self.shape, "classes": self.classes, "norm": self.config.norm.name}

        def make(slot: int) -> nn.Module:
            numbers = {"dropout": float(cohort.dropout[slot]), "init_scale": float(cohort.init_scale[slot])}
            made = self._made({**fixed, "nonlinearity": nonlinearity, **numbers})
            if not isinstance(made, nn.Module):
                raise ValueError(f"it must be a torch.nn.Module, not {type(made).__name__}")
            return made

        return _OfImages(self.shape, Alone(cohort, "network", make, decays=True))

    def _try(self, build: Callable[[Cohort], Layer], cohort: Cohort) -> None:
        inputs = self.shape[0] * self.shape[1] * self.shape[2]
        x_SBI = images(cohort, 2, inputs)
        wanted = (2, x_SBI.shape[1], self.classes)
        tried(build, cohort, x_SBI, wanted)
        with torch.no_grad():  # two trials of one seed see the same examples
            shared = build(cohort_like(cohort, [0], 2))
            refuse_other(passed(shared, x_SBI[:1]), x_SBI[:1], wanted)

    def _refuse_strange(self) -> None:
        """Raise UsageError where the trial has what a plain module does not take."""
        for name, value in self.factors.items():
            if name not in self.names:
                self._refuse(name, value)
        if self.config.norm.model_dump(exclude_defaults=True, exclude={"name"}):
            raise UsageError(f"norm: model {self.name} is a plain module, which is told the name of the norm alone")
        if self.config.precision == "bfloat16":
            raise UsageError(f"precision: model {self.name} is a plain module, whose products bnexp does not know")

    def _refuse_namesakes(self, network: Layer) -> None:
        """Raise UsageError where two parts would draw the same random numbers, which are keyed by their names."""
        layers = (layer for layer in network.modules() if isinstance(layer, Layer) and layer.name)
        named = Counter((type(layer), layer.name) for layer in layers)
        for (kind, name), number in named.items():
            if number > 1:
                alike = (
                    f"{number} parts of kind {kind.__name__} are named {name!r} and would draw the same random numbers"
                )
                raise UsageError(f"model: {self.name}: {alike}; give each a name of its own")

    @torch.no_grad()
    def _refuse_unheard(self, cohort: Cohort) -> None:
        """Raise UsageError where the trial has what makes no difference to a network with a trial axis."""
        read = _Read(self.config)
        self._fused(cohort_like(cohort, [0], 1), read)
        for name in sorted({"norm", "nonlinearity"} - read.fields):
            self._refuse(name, self.factors[name])
        one, scaled, dropped = (
            self._fused(cohort_like(cohort, [0], 1, *numbers)) for numbers in ((1.0, 0.0), (2.0, 0.0), (1.0, 0.5))
        )
        pairs = zip(one.parameters(), scaled.parameters(), strict=True)
        if all(first.equal(second) for first, second in pairs):
            self._refuse("init_scale", self.config.init_scale)
        x_SBI = images(cohort, 1, self.shape[0] * self.shape[1] * self.shape[2])
        logits_TBC = passed(one, x_SBI)
        if logits_TBC.any() and logits_TBC.equal(passed(dropped, x_SBI)):  # an output layer may begin at 0
            self._refuse("dropout", self.config.dropout)

    def _refuse(self, name: str, value: object) -> None:
        if value != NEUTRAL[name]:
            raise UsageError(f"{name}: model {self.name} takes none; leave it at {NEUTRAL[name]}")


class _Read:
    """A configuration that remembers which of its fields were read."""

    def __init__(self, config: TrialConfig) -> None:
        self._config, self.fields = config, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.fields.add(name)
        return getattr(self._config, name)


class _OfImages(Layer):
    """A network of plain modules, each of which sees images as torch has them, [B, channels, height, width]."""

    def __init__(self, shape: Shape, modules: Alone) -> None:
        super().__init__()
        self.shape, self.plain = shape, modules

    def forward(self, x_SBI: Tensor, now: Pass) -> Tensor:
        logits_TBC: Tensor = self.plain(x_SBI.unflatten(2, self.shape).permute(0, 1, 4, 2, 3), now)
        return logits_TBC
