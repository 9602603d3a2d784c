"""Normalizers: the options of each that ships, and of a person's own."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from bnexp import own
from bnexp.marks import SHORT, Fields, Written, static

Position = Annotated[
    Literal["before", "after"],
    Field(description="The nonlinearity; normalization after it leaves a bias before it. The paper has BN before it."),
    static("form", "norm_position", origin="before"),
]


class NoNormOptions(Fields):
    """No normalization: a plain bias instead."""

    name: Annotated[Literal["none"], static("name", "norm")] = "none"


class BatchNormOptions(Fields):
    """Batch normalization (Algorithms 1 and 2)."""

    name: Annotated[Literal["batch"], static("name", "norm")] = "batch"
    eps: Annotated[float, Field(ge=0, le=1), static("variance", "norm_eps", origin=1e-5)] = 1e-5
    """Added to the variance; the paper does not state it."""
    momentum: Annotated[float, Field(gt=0, le=1), static("weight of the new batch", "norm_momentum", origin=0.1)] = 0.1
    """Of the moving averages behind the curves, in PyTorch's sense."""
    stop_gradient: Annotated[bool, static("yes or no", "norm_stop_gradient", origin=False)] = False
    """Treat the batch's mean and variance as constants in the backward pass, against which section 2 warns."""
    per_activation: Annotated[int, Field(ge=0, le=1000), static("layers", "norm_per_activation", origin=0)] = 0
    """In so many of the last convolutional layers (modules, in Inception), statistics and parameters are of each
    activation by itself, over the batch, instead of each feature map (section 4.2.3)."""
    position: Position = "before"


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
    position: Position = "before"


class LayerNormOptions(Fields):
    """Layer normalization (Ba, Kiros and Hinton 2016): each example by itself, over all units of a layer."""

    name: Annotated[Literal["layer"], static("name", "norm")] = "layer"
    eps: Annotated[float, Field(ge=0, le=1), static("variance", "norm_eps", origin=1e-5)] = 1e-5
    position: Position = "before"


class RmsNormOptions(Fields):
    """Root mean square normalization (Zhang and Sennrich 2019): as layer normalization, but that the mean stays."""

    name: Annotated[Literal["rms"], static("name", "norm")] = "rms"
    eps: Annotated[float, Field(ge=0, le=1), static("mean square", "norm_eps", origin=1e-5)] = 1e-5
    position: Position = "before"


class InstanceNormOptions(Fields):
    """Instance normalization (Ulyanov, Vedaldi and Lempitsky 2016): each feature map of each example by itself. It is
    undefined for units, so it needs a convolutional model without dense hidden layers."""

    name: Annotated[Literal["instance"], static("name", "norm")] = "instance"
    eps: Annotated[float, Field(ge=0, le=1), static("variance", "norm_eps", origin=1e-5)] = 1e-5
    position: Position = "before"


class GhostBatchNormOptions(BatchNormOptions):
    """Ghost batch normalization (Hoffer, Hubara and Soudry 2017): batch normalization of each of several virtual
    batches by itself, evaluated as batch normalization."""

    name: Annotated[Literal["ghost-batch"], static("name", "norm")] = "ghost-batch"  # type: ignore[assignment]
    groups: Annotated[int, Field(ge=1, le=500_000), static("virtual batches", "norm_groups", origin=4)] = 4
    """In a batch, of equally many examples, two or more."""


class BatchRenormOptions(BatchNormOptions):
    """Batch renormalization (Ioffe 2017): batch normalization, corrected within limits towards what the moving averages
    would give."""

    name: Annotated[Literal["batch-renorm"], static("name", "norm")] = "batch-renorm"  # type: ignore[assignment]
    rmax: Annotated[float, Field(ge=1, le=1e6), static("factor", "norm_scale", origin=3.0)] = 3.0
    """r, the batch's standard deviation over its moving average, is kept within [1/rmax, rmax]."""
    dmax: Annotated[float, Field(ge=0, le=1e6), static("standard deviations", "norm_shift", origin=5.0)] = 5.0
    """d, the distance of the batch's mean from its moving average, is kept within [-dmax, dmax]."""


class WeightNormOptions(Fields):
    """Weight normalization (Salimans and Kingma 2016): each unit's weights are divided by their length and multiplied
    by a length that is learned; a bias is added."""

    name: Annotated[Literal["weight"], static("name", "norm")] = "weight"


class WeightStandardizationOptions(Fields):
    """Weight standardization (Qiao et al. 2019): each unit's weights have mean 0 and variance 1; a bias is added. It
    stands alone here, without the group normalization that the paper adds."""

    name: Annotated[Literal["weight-standardization"], static("name", "norm")] = "weight-standardization"
    eps: Annotated[float, Field(ge=0, le=1), static("variance", "norm_eps", origin=1e-5)] = 1e-5


class FixupOptions(Fields):
    """No normalization, but an initialization in the style of Fixup (Zhang, Dauphin and Ma 2019): weights of standard
    deviation init_scale sqrt(2/fan_in), an output layer from 0, and in each layer three numbers that are learned.
    Networks here have no residual branches to scale."""

    name: Annotated[Literal["fixup"], static("name", "norm")] = "fixup"


class LsuvOptions(Fields):
    """No normalization, but the initialization LSUV (Mishkin and Matas 2015): orthonormal weights, divided layer by
    layer, before the first step, by the standard deviation of what comes of them on its batch, which cancels
    init_scale; a bias is added."""

    name: Annotated[Literal["lsuv"], static("name", "norm")] = "lsuv"
    tolerance: Annotated[float, Field(ge=0, le=1), static("variance", "norm_eps", origin=0.1)] = 0.1
    """A layer whose variance is nearer to 1 than this stays as it is."""


def as_pairs(value: Any) -> Any:
    """Names and values in the order of the names, which a configuration that never changes can hold."""
    if isinstance(value, dict):
        return tuple(sorted(value.items()))
    if isinstance(value, list):
        return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in value)
    return value


def _pairs(value: Any) -> Any:
    pairs = as_pairs(value)
    if not isinstance(pairs, tuple) or not all(
        isinstance(pair, tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], bool | int | float | str)
        for pair in pairs
    ):
        raise ValueError("they are names with a number, a word, true or false each")
    return pairs


def own_name(name: str) -> str:
    """Accept import paths only."""
    if not re.fullmatch(own.WRITTEN, name):
        raise ValueError("not an import path; write package.module:name")
    return name


OwnName = Annotated[str, AfterValidator(own_name)]
OwnOptions = Annotated[
    tuple[tuple[str, bool | int | float | str], ...],
    BeforeValidator(_pairs),
    Field(strict=False),
    Written(lambda _: {"type": "object", "additionalProperties": {"type": ["boolean", "number", "string"]}}),
]
"""A mapping of names to numbers, words, true or false."""


class OwnNormOptions(Fields):
    """A normalizer of your own, named by import path: a layer with a trial axis, or a plain torch.nn.Module."""

    name: Annotated[OwnName, static("import path", "norm")]
    options: Annotated[OwnOptions, static("names and values", "norm_options", origin=())] = ()
    """What it is made with."""
    position: Position = "before"


NORMS: tuple[type[Fields], ...] = (
    NoNormOptions,
    BatchNormOptions,
    NoisyBatchNormOptions,
    GroupNormOptions,
    LayerNormOptions,
    RmsNormOptions,
    InstanceNormOptions,
    GhostBatchNormOptions,
    BatchRenormOptions,
    WeightNormOptions,
    WeightStandardizationOptions,
    FixupOptions,
    LsuvOptions,
)
"""Those that ship."""

ShippedNorm = Annotated[
    NoNormOptions
    | BatchNormOptions
    | NoisyBatchNormOptions
    | GroupNormOptions
    | LayerNormOptions
    | RmsNormOptions
    | InstanceNormOptions
    | GhostBatchNormOptions
    | BatchRenormOptions
    | WeightNormOptions
    | WeightStandardizationOptions
    | FixupOptions
    | LsuvOptions,
    Field(discriminator="name"),
]


def whose(value: Any) -> str:
    """Which kind of options a component's are: "own" where it is named by import path, "shipped" else."""
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return "own" if isinstance(name, str) and own.is_own(name) else "shipped"


Norm = Annotated[
    Annotated[ShippedNorm, Tag("shipped")] | Annotated[OwnNormOptions, Tag("own")], Discriminator(whose), SHORT
]
