"""The views, which are the public contract: what each shows, and how trials, curves, probes and verdicts are asked of
them, all or those of one experiment instance. `docs/schema.md` is made from what is said here and of the tables."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from bnexp.db.tables import (
    Base,
    ChoiceRow,
    ClaimRow,
    CurveRow,
    ExperimentRow,
    ExperimentTrialRow,
    FileRow,
    ProbeRow,
    TrialRow,
    VerdictRow,
)
from bnexp.table import Field, Kind

What = Literal["trials", "curves", "probes", "verdicts"]

KINDS: Mapping[type, Kind] = {
    int: "integer",
    float: "float",
    bool: "boolean",
    str: "text",
    datetime: "time",
}
"""By what the tables have in Python; all else is JSON, and text."""


@dataclass(frozen=True)
class View:
    """What a view shows."""

    about: str
    tables: tuple[type[Base], ...]
    """Whose columns it shows under their own names."""
    renamed: Mapping[str, tuple[type[Base], str]] = dataclasses.field(default_factory=dict)
    """Columns that it shows under other names: of which table, and what they are called there."""


KEY = {"trial_key": (TrialRow, "key")}
EXPERIMENT = {"experiment": (ExperimentRow, "name"), "experiment_id": (ExperimentRow, "id")}

VIEWS: Mapping[str, View] = {
    "trial_results": View("A row for each trial: its factors and its result.", (TrialRow,), KEY),
    "experiment_results": View(
        "A row for each trial that an experiment instance wants; one that two want has two.",
        (TrialRow, ExperimentTrialRow),
        {**KEY, **EXPERIMENT},
    ),
    "learning_curves": View(
        "The points of the trials' curves: on fixed subsets of at most 2,000 examples, Dropout off, with moving "
        "averages of the statistics of normalization.",
        (CurveRow,),
        KEY,
    ),
    "probe_values": View(
        "What was measured inside networks while they trained, of experiments that list `probes`.", (ProbeRow,), KEY
    ),
    "tuning_choices": View(
        "The levels that tune stages chose, before the confirming trials began.", (ChoiceRow,), EXPERIMENT
    ),
    "kept_files": View("The files that are kept of finished trials.", (FileRow,), KEY),
    "claim_verdicts": View(
        "What the data of each experiment instance say about each claim.",
        (VerdictRow, ClaimRow),
        {**EXPERIMENT, "claim": (ClaimRow, "name"), "claim_key": (ClaimRow, "key")},
    ),
}


@dataclass(frozen=True)
class Computed:
    """A column that stands in no table."""

    kind: Kind
    about: str


COMPUTED = {
    "scored_accuracy": Computed(
        "float",
        "Test accuracy, or chance (1 / classes) where the trial diverged, 0 to 1; NULL where it has not ended.",
    )
}

CURVES = (
    "select * from (select t.key as trial_key, c.step, c.train_loss, c.train_accuracy, c.validation_loss, "
    "c.validation_accuracy, c.nonfinite from curves c join trials t on t.id = c.trial_id) points"
)
"""The view `learning_curves`, and what it lacks: `nonfinite`."""
OF_TRIALS = "trial_key in (select trial_key from experiment_results where experiment_id = :instance)"


class Request(NamedTuple):
    """A statement that asks for rows of a view."""

    view: str
    source: str
    order: str
    """Columns that tell its rows apart: rows always come in one order."""
    chosen: str
    """Which rows are of one experiment instance."""

    def sql(self, instance: int | None) -> str:
        """The statement, for the instance of this number only, if told: it is the parameter `instance`."""
        return f"{self.source} {'' if instance is None else f'where {self.chosen} '}order by {self.order}"


ALL_TRIALS = Request("trial_results", "select * from trial_results", "trial_key", "")
REQUESTS: Mapping[What, Request] = {
    "trials": Request(
        "experiment_results",
        "select * from experiment_results",
        "trial_key, variant, stage",
        "experiment_id = :instance",
    ),
    "curves": Request("learning_curves", CURVES, "trial_key, step", OF_TRIALS),
    "probes": Request("probe_values", "select * from probe_values", "trial_key, step, layer, name", OF_TRIALS),
    "verdicts": Request(
        "claim_verdicts", "select * from claim_verdicts", "experiment_id, claim, claim_key", "experiment_id = :instance"
    ),
}


def request(what: What, instance: int | None) -> Request:
    """How to ask for all trials, curves, probes or verdicts, or for those of one experiment instance."""
    return ALL_TRIALS if what == "trials" and instance is None else REQUESTS[what]


def source(view: View, name: str) -> tuple[type[Base], str] | None:
    """The table of a view's column, and what it is called there; None where it is computed."""
    if name in view.renamed:
        return view.renamed[name]
    return next(((table, name) for table in view.tables if name in table.__table__.columns), None)


def field(view: str, name: str) -> Field:
    """What a view's column is. One that somebody has added to the view may be anything."""
    found = source(VIEWS[view], name)
    if found is None:
        return Field(COMPUTED[name].kind if name in COMPUTED else "object", nullable=True)
    table, own = found
    column = table.__table__.columns[own]
    return Field(KINDS.get(column.type.python_type, "text"), bool(column.nullable))
