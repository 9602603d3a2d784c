"""A trial's configuration: every field validated, marked and documented in this one place and in `options`."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from bnexp import own, registry
from bnexp.errors import did_you_mean
from bnexp.marks import IMPORT_PATH, Fields, Mark, Written, named, per_trial, recorded, static
from bnexp.normalizers import NoNormOptions, Norm
from bnexp.options import (
    COMPONENTS,
    OWN_COMPONENTS,
    Augment,
    ConstantOptions,
    MlpOptions,
    Model,
    NoAugmentOptions,
    Optimizer,
    Schedule,
    SgdOptions,
)
from bnexp.records import KeptKind


def known_dataset(name: str) -> str:
    """Accept the names of datasets only."""
    if not registry.is_dataset(name):
        raise ValueError(f"no such dataset ({did_you_mean(name, registry.datasets())}); of your own, write {own.PATH}")
    return name


def _dataset_names(_: object) -> dict[str, Any]:
    prepared = f"^(?:{registry.PREPARED_NAMES.pattern})$"
    made = {"type": "string", "pattern": prepared, "description": registry.about(registry.PREPARED)}
    return {"anyOf": [registry.enumerated(registry.DATASETS), made, IMPORT_PATH]}


class TrialConfig(Fields):
    """One fully resolved configuration, its seed included."""

    dataset: Annotated[str, AfterValidator(known_dataset), Written(_dataset_names), static("name", "dataset")] = (
        "digits"
    )
    """What is learned; `bnexp data list` says where each is looked for."""
    model: Model = MlpOptions()
    """The network."""
    norm: Norm = NoNormOptions()
    """Of every hidden layer, before its nonlinearity unless `position` says otherwise."""
    nonlinearity: Annotated[
        str,
        named("nonlinearity", registry.NONLINEARITIES, or_own=True),
        static("name", "nonlinearity", origin="sigmoid"),
    ] = "sigmoid"
    """Of every hidden layer."""
    batch_size: Annotated[int, Field(ge=2, le=1_000_000), static("examples", "batch_size", origin=60)] = 60
    """In a batch of training."""
    steps: Annotated[int, Field(ge=1, le=1_000_000_000), static("steps", "steps", origin=1000)] = 1000
    """Of training, a batch each."""
    eval_every: Annotated[int, Field(ge=1, le=1_000_000_000), recorded("steps", "eval_every")] = 50
    """Between two points of a curve; before the first, points stand at geometric steps."""
    probes: Annotated[
        tuple[Annotated[str, named("probe", registry.PROBES)], ...], Field(strict=False), recorded("names", "probes")
    ] = ()
    """What is measured inside the network before the first step and at every point of the curve."""
    binarize: Annotated[bool, static("yes or no", "binarize", origin=False)] = False
    """Pixels above half of the largest value are 1, the others 0 (section 4.1 has binary images)."""
    image_size: Annotated[int, Field(ge=0, le=4096), static("pixels", "image_size", origin=0)] = 0
    """Of the images that the network sees, square; 0: as the dataset has them."""
    augment: Augment = NoAugmentOptions()
    """What is done to training images at each step."""
    crops: Annotated[Literal[1, 10, 144], static("of each test image", "crops", origin=1)] = 1
    """Over which class probabilities are averaged for the final numbers on the test set."""
    optimizer: Optimizer = SgdOptions()
    """How a step moves the weights."""
    schedule: Schedule = ConstantOptions()
    """What becomes of the learning rate over the steps."""
    lr_multiplier: Annotated[float, Field(gt=0), per_trial("times optimizer.lr", "lr_multiplier", 1.0)] = 1.0
    """Of the learning rate."""
    dropout: Annotated[float, Field(ge=0, lt=1), per_trial("probability", "dropout", origin=0.0)] = 0.0
    """After each hidden nonlinearity of dense layers; in Inception, before the output layer only."""
    init_scale: Annotated[float, Field(gt=0), per_trial("times sqrt(1/fan_in)", "init_scale", origin=1.0)] = 1.0
    """Of every weight's standard deviation, the output layer's included."""
    split: Annotated[int, Field(ge=0, lt=2**31), static("number", "split", origin=0)] = 0
    """Which cut of the training set into train and validation; the test set is fixed."""
    shuffle: Annotated[Literal["epoch", "fixed"], static("mode", "shuffle", origin="epoch")] = "epoch"
    """epoch: fresh batches each epoch; fixed: a batch keeps its members, only their order changes."""
    precision: Annotated[
        Literal["float32", "float64", "bfloat16"], static("floating-point type", "precision", origin="float32")
    ] = "float32"
    """bfloat16: of products only; parameters, normalization and losses stay in float32."""
    keep: Annotated[tuple[KeptKind, ...], Field(strict=False), recorded("names", "keep")] = ()
    """What is kept of a finished trial, in files beside the database."""
    seed: Annotated[int, Field(ge=0, lt=2**63), per_trial("number", "seed")] = 0
    """Rules initialization, order and dropout."""
    member: Annotated[int, Field(ge=0, le=1000), per_trial("number", "member", origin=0)] = 0
    """Tells networks of an ensemble apart: with another number, a seed stands for other random numbers."""
    sources: Annotated[tuple[str, ...], Field(strict=False), static("names and SHA-256", "", origin=())] = ()
    """Of the components that are named by import path: whose source is changed makes another trial."""

    def with_sources(self) -> "TrialConfig":
        """With the sources as they are now. Raises UsageError where one cannot be found."""
        names = {leaf.value for leaf in leaves(self) if leaf.name in OWN and own.is_own(leaf.value)}
        return self.model_copy(update={"sources": tuple(map(own.sourced, sorted(names)))}) if names else self

    @property
    def random_seed(self) -> int:
        """Under which the trial's random numbers are drawn: the seed, but for members of an ensemble."""
        if self.member == 0:
            return self.seed
        digest = hashlib.blake2b(f"{self.seed} member {self.member}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1


OWN = ("nonlinearity", *(f"{name}.name" for name in OWN_COMPONENTS))
"""The fields that may name a component by import path."""


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
    groups += [(f"{name}.", options) for name, options in OWN_COMPONENTS.items()]
    return {
        prefix + name: mark.column
        for prefix, fields in groups
        for name, info in fields.model_fields.items()
        for mark in info.metadata
        if isinstance(mark, Mark) and mark.column
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
        if leaf.mark.column
    }
