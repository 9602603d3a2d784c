"""What can be named in a configuration, and the import path of what the name stands for.

A model, dataset, normalizer, nonlinearity, optimizer, schedule, estimator or figure is added with one file (or
function), one line here and one test. Options of its own are a class in `bnexp.config`. Nothing is imported until it is
used, so reading a configuration stays fast.
"""

import ast
import importlib
import importlib.util
import inspect
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bnexp import own

DATASETS = {
    "cifar10": "bnexp.data.cifar:Cifar10",
    "cifar100": "bnexp.data.cifar:Cifar100",
    "digits": "bnexp.data.digits:Digits",
    "fashion-mnist": "bnexp.data.idx:FashionMnist",
    "mnist": "bnexp.data.idx:Mnist",
}

PREPARED = "bnexp.data.imagefolder.prepared:ImageFolder"
PREPARED_NAMES = re.compile(r"imagefolder/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
"""Of datasets that `bnexp data prepare` makes of a folder: a path that leads nowhere else."""
LONGEST_NAME = 100

RETURNED = "bnexp.data.own:Returned"
"""Of datasets that a function of a person's own returns."""


def is_prepared(dataset: str) -> bool:
    """Whether it is the name of a dataset that `bnexp data prepare` makes."""
    return len(dataset) <= LONGEST_NAME and PREPARED_NAMES.fullmatch(dataset) is not None


def is_dataset(name: str) -> bool:
    """Whether a configuration may name this dataset."""
    return name in DATASETS or is_prepared(name) or re.fullmatch(own.WRITTEN, name) is not None


def datasets() -> list[str]:
    """What a configuration may name besides import paths, to be told to people."""
    return [*DATASETS, "imagefolder/NAME"]


MODELS = {
    "mlp": "bnexp.models.mlp:mlp",
    "cnn": "bnexp.models.cnn:cnn",
    "vgg": "bnexp.models.cnn:cnn",
    "bn-inception": "bnexp.models.bn_inception:bn_inception",
}

NORMS = {
    "none": "bnexp.models.normalization:Bias",
    "batch": "bnexp.models.normalization:BatchNorm",
    "noisy-batch": "bnexp.models.normalization:NoisyBatchNorm",
    "group": "bnexp.models.normalization:GroupNorm",
    "layer": "bnexp.models.per_example:LayerNorm",
    "rms": "bnexp.models.per_example:RmsNorm",
    "instance": "bnexp.models.per_example:InstanceNorm",
    "ghost-batch": "bnexp.models.batchwise:GhostBatchNorm",
    "batch-renorm": "bnexp.models.batchwise:BatchRenorm",
    "weight": "bnexp.models.of_weights:WeightNorm",
    "weight-standardization": "bnexp.models.of_weights:WeightStandardization",
    "fixup": "bnexp.models.initializing:Fixup",
    "lsuv": "bnexp.models.initializing:Lsuv",
}

OUTPUTS = {
    "fixup": "bnexp.models.initializing:FixupOutput",
    "lsuv": "bnexp.models.initializing:Lsuv",
}
"""What follows the product of the output layer, by the norm of the hidden ones; a plain bias where it is not listed."""

NONLINEARITIES = {
    "identity": "bnexp.models.nonlinearities:identity",
    "relu": "bnexp.models.nonlinearities:relu",
    "sigmoid": "bnexp.models.nonlinearities:sigmoid",
    "tanh": "bnexp.models.nonlinearities:tanh",
}

OPTIMIZERS = {
    "sgd": "bnexp.engine.optim:Sgd",
    "nesterov": "bnexp.engine.optim:Nesterov",
    "adam": "bnexp.engine.optim:Adam",
}

SCHEDULES = {
    "constant": "bnexp.engine.optim:constant",
    "exponential": "bnexp.engine.optim:exponential",
}

PROBES = {
    "percentiles": "bnexp.engine.probes:percentiles",
    "moments": "bnexp.engine.probes:moments",
    "gradient-norms": "bnexp.engine.probes:gradient_norms",
    "covariate-shift": "bnexp.engine.probes:covariate_shift",
    "smoothness": "bnexp.engine.probes:smoothness",
    "scale-invariance": "bnexp.engine.probes:scale_invariance",
}

ESTIMATORS = {
    "difference": "bnexp.claims.estimators:difference",
    "best_difference": "bnexp.claims.estimators:best_difference",
    "spread_difference": "bnexp.claims.estimators:spread_difference",
    "interaction": "bnexp.claims.estimators:interaction",
    "rate": "bnexp.claims.estimators:rate",
    "largest_trained": "bnexp.claims.estimators:largest_trained",
    "tolerated_range": "bnexp.claims.estimators:tolerated_range",
    "steps_ratio": "bnexp.claims.curves:steps_ratio",
    "maximum_difference": "bnexp.claims.curves:maximum_difference",
    "matched_loss_gap": "bnexp.claims.curves:matched_loss_gap",
    "percentile_drift": "bnexp.claims.inside:percentile_drift",
    "growth_per_layer": "bnexp.claims.inside:growth_per_layer",
    "largest_error": "bnexp.claims.inside:largest_error",
    "ensemble_gain": "bnexp.claims.ensembles:ensemble_gain",
}

EXECUTORS = {
    "local": "bnexp.executors.local:LocalExecutor",
    "ray": "bnexp.executors.ray:RayExecutor",
}

FIGURES = {
    "figure-1": "bnexp.reports.charts.figure_1:figure_1",
    "figure-2": "bnexp.reports.charts.figure_2:figure_2",
    "figure-3": "bnexp.reports.charts.figure_3:figure_3",
    "grid": "bnexp.reports.charts.grid:grid",
    "claims": "bnexp.reports.charts.forest:claims",
    "battery": "bnexp.reports.charts.battery:battery",
    "curves": "bnexp.reports.charts.curves:curves",
}
"""What `bnexp plot` draws."""

REVISIONS: dict[str, int] = {}
"""Component name to revision, raised by hand when a component changes what it computes; 1 where not listed. A raised
revision enters the trial key, so that old results are not taken for new ones."""


def component(known: Mapping[str, str], name: str, sources: Sequence[str]) -> Any:
    """The object that `name` stands for in a registry, or that it is the import path of; then `sources` are as they
    were when the trials were written down. Raises UsageError where it is not there or has changed."""
    return load(known[name]) if name in known else own.load(name, sources)


def load(path: str) -> Any:
    """The object at `path`, written "package.module:name"."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def about(path: str) -> str:
    """What the object at `path` is: the first paragraph of its docstring, empty where it has none. It is read from the
    source, since importing may take torch."""
    module, _, name = path.partition(":")
    return _docstrings(module).get(name, "")


@cache
def _docstrings(module: str) -> Mapping[str, str]:
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None
    nodes = ast.parse(Path(found.origin).read_text(encoding="utf-8")).body
    named = (node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return {node.name: first_paragraph(ast.get_docstring(node)) for node in named}


def first_paragraph(docstring: str | None) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join(inspect.cleandoc(docstring or "").partition("\n\n")[0].split())


def enumerated(known: Mapping[str, str]) -> dict[str, Any]:
    """The JSON Schema of a name of a registry: which there are, and for editors what each is."""
    return {"type": "string", "enum": list(known), "enumDescriptions": [about(path) for path in known.values()]}
