"""The JSON Schema of an experiments file, for editors: made of the models and registries that read one, so that it
knows every field, name and bound that they know.

It says what a file may look like. What it takes a reading to see (an arm that an experiment does not have, rules that
contradict each other, names of experiments) `bnexp plan` and `run` say.
"""

import json
from typing import Any

from bnexp.claims.model import ALONG_A_FACTOR, USED_BY, Claim
from bnexp.config import columns_by_name
from bnexp.experiments import EXPERIMENT_KEYS, ROOT_KEYS, TUNE_KEYS, TUNED_BY
from bnexp.fieldschema import Schema, definitions, dotted_names, mapping, plain, ref, several
from bnexp.marks import Fields
from bnexp.paper import PaperTable
from bnexp.registry import ESTIMATORS
from bnexp.settings import MOST_TRIALS, per_trial_fields

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SEED = {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63}
TEXT = {"type": "string"}


def file_schema() -> Schema:
    """The schema of a whole file; JSON Schema, draft 2020-12."""
    experiments = {
        "type": "object",
        "description": "What `bnexp run NAME` runs, by name.",
        "additionalProperties": ref("experiment"),
        "minProperties": 1,
    }
    root = {
        "defaults": {**ref("partial"), "description": "Under every experiment; each may override any of it."},
        "experiments": experiments,
        "suites": _named(several(TEXT), "Lists of experiments, by name: `bnexp run NAME` runs all of one."),
        "claims": _named(ref("claim"), "What the report judges, by name, fixed before the data."),
    }
    assert set(root) == ROOT_KEYS
    whole = mapping(root, "Experiments of bnexp, and claims about them.", ["experiments"])
    return {"$schema": DIALECT, "title": "bnexp's experiments", **whole, "$defs": _definitions()}


def schema_text() -> str:
    """The schema as the text of a file."""
    return json.dumps(file_schema(), indent=1, ensure_ascii=False) + "\n"


def _definitions() -> dict[str, Schema]:
    found = definitions() | {"experiment": _experiment(), "tune": _tune()}
    models: dict[str, type[Fields]] = {"claim": Claim, "paper": PaperTable}
    for name, model in models.items():
        schema = plain(model.model_json_schema())
        found |= schema.pop("$defs")
        found[name] = schema
    _refine(found)
    return found


def _experiment() -> Schema:
    fields = {name: ref(name) for name in dotted_names()}
    levels = {name: several(ref(name), "Levels, at least one.") for name in dotted_names()}
    own = {
        "about": {**TEXT, "description": "What it is, in a line."},
        "factors": mapping(levels, "The grid: the product of all levels."),
        "variants": _named(ref("partial"), "Named partial configurations, crossed with the factors."),
        "include": {"type": "array", "items": ref("partial"), "description": "Further points beside the grid."},
        "exclude": {"type": "array", "items": ref("partial"), "description": "Partial configurations to leave out."},
        "seeds": {
            "anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_TRIALS}, several(SEED)],
            "default": 10,
            "description": "A count n, for the seeds 0 to n - 1, or a list.",
        },
        "tune": ref("tune"),
        "paper": ref("paper"),
    }
    assert set(own) == EXPERIMENT_KEYS
    return mapping(fields | own, "A named experiment: any field, for all its trials, and its design.")


def _tune() -> Schema:
    own = {
        "factor": {"enum": sorted(per_trial_fields()), "description": "The field that is tuned, a number."},
        "levels": several({"type": "number"}, "What is tried, in the field's unit, by every arm.", least=2),
        "seeds": several(SEED, "Of its own: none is a seed of the experiment."),
        "by": {
            "enum": sorted(TUNED_BY),
            "default": "validation_accuracy",
            "description": "What is highest on average at the level that is chosen.",
        },
        "as": _named(TEXT, "Variants that take the level of another one, instead of tuning their own."),
    }
    assert set(own) == TUNE_KEYS
    return mapping(
        own, "Each arm at its own best level, chosen before the seeds are run.", ["factor", "levels", "seeds"]
    )


def _refine(found: dict[str, Schema]) -> None:
    """Add what the models' own checks say, so far as a schema can."""
    factors = {"type": "string", "enum": sorted({*dotted_names(), *columns_by_name().values(), "variant"} - {"seed"})}
    estimator = found["Estimator"]["properties"]
    del estimator["source"]  # which people do not write
    estimator["over"]["items"] = found["Table"]["properties"]["by"]["items"] = factors
    estimator["factor"] = {"anyOf": [factors, {"type": "null"}], "description": estimator["factor"]["description"]}
    estimator["members"] |= factors
    found["EstimatorName"] = estimator["name"]
    estimator["name"] = ref("EstimatorName") | {"description": estimator["name"].pop("description")}
    for owner in ("claim", "Measure", "Table"):
        made = found[owner]["properties"]["estimator"]
        about = {"description": made.pop("description")} if "description" in made else {}
        found[owner]["properties"]["estimator"] = {"anyOf": [ref("EstimatorName"), made]} | about
    found["Estimator"]["allOf"] = [_estimator(name) for name in ESTIMATORS]
    found["Rule"]["oneOf"] = [{"required": [form]} for form in ("low", "high", "within", "all", "any")]
    found["claim"]["anyOf"] = [
        {"required": ["experiment", "arms", "estimator", "supported_if"]},
        {"required": ["experiment", "measures", "supported_if"]},
        {"required": ["needs"]},
    ]


def _estimator(name: str) -> Schema:
    """What the estimator of this name needs, and which options mean nothing to it."""
    needs = ["over"] if name == "best_difference" else ["factor"] if name in ALONG_A_FACTOR else []
    needs += ["gain"] if name == "interaction" else []
    nothing: dict[str, Any] = {option: False for option, users in USED_BY.items() if name not in users}
    of_it = {"properties": {"name": {"const": name}}, "required": ["name"]}
    return {"if": of_it, "then": {"properties": nothing, **({"required": needs} if needs else {})}}


def _named(schema: Schema, about: str) -> Schema:
    """A mapping of names of the user's to such things."""
    return {"type": "object", "description": about, "additionalProperties": schema}
