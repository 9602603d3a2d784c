"""A trial's configuration: every field validated, marked and documented in this one place.

The marks decide everything that must agree about a field: which trials may train together (the cohort key), what makes
a trial the same trial (the trial key), and the column that shows it in the database.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from bnexp import registry
from bnexp.errors import did_you_mean

MISSING: Any = object()


@dataclass(frozen=True)
class Mark:
    """What a field is. `static`: it shapes the program. `per_trial`: only a number in it. `recorded`: it changes what
    is written down, not what happens, so it is not part of a trial's identity."""

    kind: Literal["static", "per_trial", "recorded"]
    unit: str
    column: str
    """Its column in the database."""
    origin: Any = MISSING
    """The value that all trials had before the field existed. A field at its origin is left out of the trial key, so
    a new field never renames old trials; its default may move later, its origin may not."""


def static(unit: str, column: str, origin: Any = MISSING) -> Mark:
    return Mark("static", unit, column, origin)


def per_trial(unit: str, column: str, origin: Any = MISSING) -> Mark:
    return Mark("per_trial", unit, column, origin)


def recorded(unit: str, column: str) -> Mark:
    return Mark("recorded", unit, column)


def named(kind: str, known: Mapping[str, str]) -> AfterValidator:
    """Accept the names in a registry only."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"no such {kind} ({did_you_mean(name, known)})")
        return name

    return AfterValidator(check)


def _short(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


SHORT = BeforeValidator(_short)
"""`norm: batch` is short for `norm: {name: batch}`."""


def as_layers(value: Any) -> Any:
    """[100, 100, 100] of "3x100"; what is not written so is left as it is."""
    match = re.fullmatch(r"(\d{1,4})x(\d{1,5})", value) if isinstance(value, str) else None
    return [int(match[2])] * int(match[1]) if match else value


class Fields(BaseModel):
    """Fields that refuse unknown names, guessed types and non-finite numbers, and never change."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="after")
    @classmethod
    def _no_negative_zero(cls, value: Any) -> Any:
        """-0.0 is 0, which is written otherwise, and so would make another trial of the same one."""
        return 0.0 if isinstance(value, float) and value == 0 else value


class MlpOptions(Fields):
    """A multilayer perceptron (the paper's section 4.1 has three hidden layers of 100)."""

    name: Annotated[Literal["mlp"], static("name", "model")] = "mlp"
    hidden: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65536)], ...],
        BeforeValidator(as_layers),
        Field(strict=False, min_length=1, max_length=1000),
        static("units of each hidden layer", "hidden", origin=(100, 100, 100)),
    ] = (100, 100, 100)
    """A list, or "20x100" for twenty of a hundred."""


class NoNormOptions(Fields):
    """No normalization: a plain bias instead."""

    name: Annotated[Literal["none"], static("name", "norm")] = "none"


class BatchNormOptions(Fields):
    """Batch normalization (Algorithms 1 and 2), before the nonlinearity."""

    name: Annotated[Literal["batch"], static("name", "norm")] = "batch"
    eps: Annotated[float, Field(ge=0, le=1), static("variance", "norm_eps", origin=1e-5)] = 1e-5
    """Added to the variance; the paper does not state it."""
    momentum: Annotated[float, Field(gt=0, le=1), static("weight of the new batch", "norm_momentum", origin=0.1)] = 0.1
    """Of the moving averages behind the curves, in PyTorch's sense."""
    stop_gradient: Annotated[bool, static("yes or no", "norm_stop_gradient", origin=False)] = False
    """Treat the batch's mean and variance as constants in the backward pass, against which section 2 warns."""


class NoisyBatchNormOptions(BatchNormOptions):
    """Batch normalization whose output is shifted and scaled at random, anew for each unit and step of training
    (Santurkar et al. 2018): the covariate shift that normalization took away comes back."""

    name: Annotated[Literal["noisy-batch"], static("name", "norm")] = "noisy-batch"  # type: ignore[assignment]
    shift: Annotated[float, Field(ge=0, le=100), static("standard deviations", "norm_shift", origin=0.5)] = 0.5
    """Shifts are uniform in [-shift, shift]."""
    scale: Annotated[float, Field(ge=1, le=100), static("factor", "norm_scale", origin=1.25)] = 1.25
    """Factors are uniform in [1, scale]."""


class GroupNormOptions(Fields):
    """Group normalization (Wu and He 2018): each example by itself, over groups of units."""

    name: Annotated[Literal["group"], static("name", "norm")] = "group"
    groups: Annotated[int, Field(ge=1, le=65536), static("groups of units", "norm_groups", origin=4)] = 4
    """They divide the units of every hidden layer."""
    eps: Annotated[float, Field(ge=0, le=1), static("variance", "norm_eps", origin=1e-5)] = 1e-5


class SgdOptions(Fields):
    """Stochastic gradient descent with momentum, as torch.optim.SGD: v = momentum v + g; w = w - lr v."""

    name: Annotated[Literal["sgd"], static("name", "optimizer")] = "sgd"
    lr: Annotated[float, Field(gt=0), per_trial("rate", "lr", origin=0.02)] = 0.02
    """Multiplied by `lr_multiplier`."""
    momentum: Annotated[float, Field(ge=0, lt=1), per_trial("fraction", "momentum", origin=0.9)] = 0.9
    weight_decay: Annotated[float, Field(ge=0), per_trial("rate", "weight_decay", origin=0.0)] = 0.0
    """L2, of weights only: not of biases, gamma or beta."""


class ConstantOptions(Fields):
    """The same learning rate at every step."""

    name: Annotated[Literal["constant"], static("name", "schedule")] = "constant"


class ExponentialOptions(Fields):
    """The learning rate times decay^(step / every), continuously (the paper's section 4.2 decays exponentially)."""

    name: Annotated[Literal["exponential"], static("name", "schedule")] = "exponential"
    decay: Annotated[float, Field(gt=0, le=1), per_trial("factor", "schedule_decay")]
    every: Annotated[float, Field(gt=0), per_trial("steps", "schedule_every")]


COMPONENTS: dict[str, tuple[type[Fields], ...]] = {
    "model": (MlpOptions,),
    "norm": (NoNormOptions, BatchNormOptions, NoisyBatchNormOptions, GroupNormOptions),
    "optimizer": (SgdOptions,),
    "schedule": (ConstantOptions, ExponentialOptions),
}
"""Fields with fields of their own, chosen by their `name`."""

Model = Annotated[MlpOptions, SHORT]
Norm = Annotated[
    NoNormOptions | BatchNormOptions | NoisyBatchNormOptions | GroupNormOptions, Field(discriminator="name"), SHORT
]
Optimizer = Annotated[SgdOptions, SHORT]
Schedule = Annotated[ConstantOptions | ExponentialOptions, Field(discriminator="name"), SHORT]


class TrialConfig(Fields):
    """One fully resolved configuration, its seed included."""

    dataset: Annotated[str, named("dataset", registry.DATASETS), static("name", "dataset")] = "digits"
    model: Model = MlpOptions()
    norm: Norm = NoNormOptions()
    nonlinearity: Annotated[
        str, named("nonlinearity", registry.NONLINEARITIES), static("name", "nonlinearity", origin="sigmoid")
    ] = "sigmoid"
    batch_size: Annotated[int, Field(ge=2, le=1_000_000), static("examples", "batch_size", origin=60)] = 60
    steps: Annotated[int, Field(ge=1, le=1_000_000_000), static("steps", "steps", origin=1000)] = 1000
    eval_every: Annotated[int, Field(ge=1, le=1_000_000_000), recorded("steps", "eval_every")] = 50
    """Between two points of a curve; before the first, points stand at geometric steps."""
    probes: Annotated[
        tuple[Annotated[str, named("probe", registry.PROBES)], ...], Field(strict=False), recorded("names", "probes")
    ] = ()
    """What is measured inside the network before the first step and at every point of the curve."""
    binarize: Annotated[bool, static("yes or no", "binarize", origin=False)] = False
    """Pixels above half of the largest value are 1, the others 0 (section 4.1 has binary images)."""
    optimizer: Optimizer = SgdOptions()
    schedule: Schedule = ConstantOptions()
    lr_multiplier: Annotated[float, Field(gt=0), per_trial("times optimizer.lr", "lr_multiplier", 1.0)] = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1), per_trial("probability", "dropout", origin=0.0)] = 0.0
    """After each hidden nonlinearity."""
    init_scale: Annotated[float, Field(gt=0), per_trial("times sqrt(1/fan_in)", "init_scale", origin=1.0)] = 1.0
    """Of every weight's standard deviation, the output layer's included."""
    split: Annotated[int, Field(ge=0, lt=2**31), static("number", "split", origin=0)] = 0
    """Which cut of the training set into train and validation; the test set is fixed."""
    shuffle: Annotated[Literal["epoch", "fixed"], static("mode", "shuffle", origin="epoch")] = "epoch"
    """epoch: fresh batches each epoch; fixed: a batch keeps its members, only their order changes."""
    precision: Annotated[
        Literal["float32", "float64"], static("floating-point type", "precision", origin="float32")
    ] = "float32"
    seed: Annotated[int, Field(ge=0, lt=2**63), per_trial("number", "seed")] = 0
    """Rules initialization, order and dropout."""


class Leaf(NamedTuple):
    """One field of a configuration: its dotted name, mark and value."""

    name: str
    mark: Mark
    value: Any


def leaves(fields: Fields) -> list[Leaf]:
    """Every field that applies, nested ones under their dotted names."""
    found = []
    for name, mark in _marks(type(fields)):
        value = getattr(fields, name)
        if mark is not None:
            found.append(Leaf(name, mark, value))
        else:
            component: type[Fields] = type(value)
            found += [Leaf(f"{name}.{inner}", own, getattr(value, inner)) for inner, own in _marks(component) if own]
    return found


@cache
def _marks(fields: type[Fields]) -> list[tuple[str, Mark | None]]:
    """The mark of each field; None where the value has fields of its own."""
    marks = {
        name: [mark for mark in info.metadata if isinstance(mark, Mark)] for name, info in fields.model_fields.items()
    }
    return [(name, mark[0] if mark else None) for name, mark in marks.items()]


@cache
def columns_by_name() -> Mapping[str, str]:
    """The database column of every field there is, by dotted name; a component's own name is its column."""
    groups: list[tuple[str, type[Fields]]] = [("", TrialConfig)]
    groups += [(f"{name}.", options) for name, group in COMPONENTS.items() for options in group]
    return {
        prefix + name: mark.column
        for prefix, fields in groups
        for name, info in fields.model_fields.items()
        for mark in info.metadata
        if isinstance(mark, Mark)
    }


@cache
def recorded_columns() -> frozenset[str]:
    """The columns of fields that change only what is written down: trials that differ there only are one trial."""
    marks = (mark for _, mark in _marks(TrialConfig))
    return frozenset(mark.column for mark in marks if mark is not None and mark.kind == "recorded")


def columns(config: TrialConfig) -> dict[str, Any]:
    """A trial's fields under their database columns; a list as JSON."""
    return {
        leaf.mark.column: json.dumps(leaf.value) if isinstance(leaf.value, tuple) else leaf.value
        for leaf in leaves(config)
    }
