"""The JSON Schema of experiments files takes what bnexp reads and sees typical mistakes; and the file to begin with."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from bnexp import registry
from bnexp.claims.parse import parse_claims
from bnexp.config import columns_by_name
from bnexp.errors import ConfigurationError
from bnexp.experiments import load
from bnexp.fileschema import file_schema, schema_text
from bnexp.options import COMPONENTS
from bnexp.starting import SCHEMA, START
from bnexp.yamlfile import read
from tests.attacks import invoke
from tests.conftest import TINY
from tests.documented import EXAMPLE, begun

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(file_schema())


def data(text: str, folder: Path) -> Any:
    """What bnexp reads of a file of this text."""
    (folder / "experiments.yaml").write_text(text)
    return read(folder / "experiments.yaml").data


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(file_schema())


@pytest.mark.parametrize(
    "text",
    [(ROOT / "experiments.yaml").read_text(), EXAMPLE, TINY, START.read_text(), begun()],
    ids=["shipped", "example", "tiny", "start", "tutorial"],
)
def test_it_takes_files_that_are_read(text: str, tmp_path: Path, validator: Draft202012Validator) -> None:
    found = best_match(validator.iter_errors(data(text, tmp_path)))
    assert found is None, (found.json_path, found.message)


SMALL = """
defaults: {norm: {name: batch, momentum: 0.2}, model: {name: mlp, hidden: 3x100}}
experiments:
  a:
    dropout: 0.1
    optimizer.momentum: 0.5
    factors: {nonlinearity: [relu, tanh], model: [{name: cnn, channels: [4]}, mlp]}
    variants: {x: {schedule: {name: exponential, decay: 0.5, every: 10}}, y: {}}
    tune: {factor: optimizer.lr, levels: [0.1, 1], seeds: [1001], as: {y: x}}
    seeds: 5
suites: {s: [a]}
claims:
  c:
    question: q
    section: "1"
    quote: q
    experiment: a
    arms: {treatment: {variant: x, nonlinearity: [relu, tanh]}, control: {variant: y}}
    estimator: {name: difference}
    supported_if: {low: {at_least: margin}}
"""

MISTAKES = {
    "suites:": "suits:",
    "dropout: 0.1": "droput: 0.1",
    "dropout: 0.1 ": "dropout: 1",
    "dropout: 0.1  ": "dropout: much",
    "optimizer.momentum": "optimizer.momentun",
    "[relu, tanh], model": "[relu, tan], model",
    "[relu, tanh], model ": "[relu, relu], model",
    "[relu, tanh], model  ": "relu, model",
    "name: cnn": "name: cnm",
    "channels": "chanels",
    "channels: [4]": "channels: []",
    "3x100": "3 x 100",
    "momentum: 0.2": "momentum: 2",
    "factor: optimizer.lr": "factor: batch_size",
    "levels: [0.1, 1]": "levels: [0.1]",
    "seeds: [1001]": "seeds: 3",
    "tune: {factor": "tune: {factr",
    "seeds: 5": "seeds: 0",
    "seeds: 5 ": "seeds: [1, 1]",
    "{s: [a]}": "{s: a}",
    'section: "1"': "section: 1",
    "quote: q": "qote: q",
    "name: difference": "name: diference",
    "{name: difference}": "diference",
    "{name: difference} ": "7",
    "name: difference ": "name: steps_ratio, of: trained",
    "name: difference  ": "name: largest_trained",
    "name: difference   ": "name: interaction, over: [norm]",
    "{variant: x, nonlinearity": "{variant: x, nonlinarity",
    "{variant: x, nonlinearity: [relu, tanh]}": "{nonlinearity: [relu, tan]}",
    "low: {at_least: margin}": "low: {at_least: margins}",
    "low: {at_least: margin} ": "low: {at_most: 1}",
    "low: {at_least: margin}  ": "low: {at_least: 1}, high: {at_most: 2}",
    "    supported_if: {low: {at_least: margin}}": "",
}
"""What is written rightly, with spaces where it has several mistakes, and how it is written wrongly."""


@pytest.mark.parametrize("right", MISTAKES)
def test_it_sees_what_bnexp_refuses(right: str, tmp_path: Path, validator: Draft202012Validator) -> None:
    mistaken = SMALL.replace(right.rstrip(), MISTAKES[right], 1)
    assert mistaken != SMALL and not validator.is_valid(data(mistaken, tmp_path))
    with pytest.raises(ConfigurationError):
        understood(tmp_path)
    assert validator.is_valid(data(SMALL, tmp_path)) and understood(tmp_path)


def test_an_estimator_may_be_a_name_alone(tmp_path: Path, validator: Draft202012Validator) -> None:
    short = SMALL.replace("{name: difference}", "difference")
    assert validator.is_valid(data(short, tmp_path)) and understood(tmp_path)


def understood(folder: Path) -> bool:
    """Whether bnexp makes trials and claims of the file. Raises ConfigurationError where it refuses it."""
    file = load(folder / "experiments.yaml")
    return bool(file.experiments["a"].tuning_trials()) and bool(parse_claims(file))


def test_every_field_is_there_with_its_unit_and_bounds() -> None:
    known = file_schema()["$defs"]
    assert set(columns_by_name()) - {"seed"} <= set(known) and "seed" not in known
    assert set(known["partial"]["properties"]) == (set(columns_by_name()) | set(COMPONENTS)) - {"seed"}
    assert known["dropout"] == {
        "description": "[probability] After each hidden nonlinearity of dense layers; in Inception, before the output "
        "layer only.",
        "default": 0.0,
        "exclusiveMaximum": 1,
        "minimum": 0,
        "type": "number",
    }
    layers = known["model.channels"]["anyOf"][0]
    assert (layers["minItems"], layers["maxItems"], layers["items"]["maximum"]) == (1, 1000, 65536)
    assert known["model.channels"]["description"] == "[feature maps of each stage] Of model cnn, vgg."


def test_names_are_told_with_what_they_are() -> None:
    lists = {tuple(each["enum"]): each.get("enumDescriptions", []) for each in nodes(file_schema()) if "enum" in each}
    groups = [registry.DATASETS, registry.MODELS, registry.NORMS, registry.NONLINEARITIES, registry.OPTIMIZERS]
    for group in [*groups, registry.SCHEDULES, registry.PROBES, registry.ESTIMATORS]:
        about = lists[tuple(group)]
        assert len(about) == len(group) and all(len(text) > 8 for text in about)


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a schema."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def test_every_reference_leads_somewhere() -> None:
    schema = file_schema()
    wanted = {each["$ref"] for each in nodes(schema) if isinstance(each.get("$ref"), str)}
    assert wanted == {f"#/$defs/{name}" for name in schema["$defs"]}, "and nothing is defined in vain"


def test_the_command_prints_it_and_writes_it(tmp_path: Path) -> None:
    assert invoke("schema").out == schema_text() and json.loads(schema_text()) == file_schema()
    assert invoke("schema", "--output", tmp_path / "s.json").out == ""
    assert (tmp_path / "s.json").read_text() == schema_text()
    assert "cannot be written" in invoke("schema", "--output", tmp_path / "no" / "s.json").err


def test_files_name_it_in_their_first_line() -> None:
    line = f"# yaml-language-server: $schema={SCHEMA}\n"
    assert (ROOT / "experiments.yaml").read_text().startswith(line) and START.read_text().startswith(line)
    assert (ROOT / SCHEMA).read_text() == schema_text(), "stale: python benchmarks/reference.py"


def test_a_file_to_begin_with_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("init").out == "wrote experiments.yaml\nwrote experiments.schema.json\n"
    assert Path("experiments.schema.json").read_text() == schema_text()
    Path("experiments.schema.json").write_text("mine")
    again = invoke("init")
    assert again.code == 2 and "experiments.yaml: is there already" in again.err
    assert invoke("init", "other.yaml").out == "wrote other.yaml\n"
    assert Path("experiments.schema.json").read_text() == "mine"
    assert Path("experiments.yaml").read_bytes() == Path("other.yaml").read_bytes() == START.read_bytes()
    assert "cannot be written" in invoke("init", "no/such/folder.yaml").err
    planned = invoke("plan", "first")
    assert planned.code == 0 and "40 trials: 40 pending" in planned.out and "higher-rate" in planned.out


def test_what_the_file_leaves_out_can_be_put_in(tmp_path: Path, validator: Draft202012Validator) -> None:
    """Every line that is a choice, its # deleted."""
    text = re.sub(r"^( +)# ", r"\1", START.read_text(), flags=re.MULTILINE)
    assert validator.is_valid(data(text, tmp_path))
    file = load(tmp_path / "experiments.yaml")
    assert len(parse_claims(file)) == 1 and len(file.experiments["first"].variants) == 2
    assert file.experiments["first"].tune and len(file.experiments["first"].arms()) == 7


@pytest.mark.slow
def test_it_trains_and_is_judged_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    invoke("init")
    assert invoke("run", "first").code == 0
    report = json.loads(invoke("report", "--format", "json").out)
    assert [finding["answer"] for finding in report["findings"]] == ["supported"]
