"""The fields of an experiments file as Markdown, read from its JSON Schema."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from benchmarks.pages import table
from bnexp.fileschema import file_schema
from bnexp.options import COMPONENTS, LAYERS
from bnexp.own import WRITTEN
from bnexp.registry import PREPARED_NAMES

Schema = dict[str, Any]

SECTIONS = {
    "claim": "A claim",
    "selection": "Trials of a claim",
    "Arms": "Arms",
    "Estimator": "An estimator",
    "Measure": "A measure",
    "Rule": "A rule",
    "Table": "A table under a claim",
    "paper": "The paper's table",
    "PaperRow": "A row of the paper's table",
}
"""Definitions that have a table of their own, and its heading."""

ABOUT_FIELDS = """\
Any of them may stand under `defaults`, in an experiment, a variant, an entry of `include` or `exclude`, after `--set`,
and as a factor with a list of levels. A component is its name (`norm: batch`), or a mapping with its fields
(`norm: {name: batch, eps: 0}`), or gives one of them under a dotted name (`norm.eps: 0`). Units stand in brackets;
defaults are those of a file without `defaults`."""

LINKS = {"experiment": "An experiment", "tune": "The tune stage", "partial": "Fields", **SECTIONS}


def render() -> str:
    """The whole part."""
    known = _known()
    own = {name: each for name, each in known["experiment"]["properties"].items() if name not in known}
    own |= {name: known["experiment"]["properties"][name] for name in ("tune", "paper")}
    parts = ["### The file", _keys(file_schema()), "### An experiment", known["experiment"]["description"]]
    parts += [_table(own, []), "### The tune stage", _keys(known["tune"]), "### Fields"]
    parts.append(ABOUT_FIELDS)
    plain = {name: known[name] for name in known["partial"]["properties"] if "." not in name}
    parts += [_table(plain, []), *(_component(name, known[name]) for name in COMPONENTS)]
    parts += [_names("Datasets", known["dataset"]["anyOf"][0]), _names("Nonlinearities", known["nonlinearity"])]
    parts += [_names("Probes", known["probes"]["items"])]
    for name, heading in SECTIONS.items():
        parts += [f"### {heading}", known[name].get("description", "")]
        parts += [_keys(known[name])] if name != "selection" else ["Any field, and `variant`, a variant's name."]
        if name == "Estimator":
            parts.append(_names("", known["EstimatorName"]))
    return "\n\n".join(part for part in parts if part)


def _keys(schema: Schema) -> str:
    return _table(schema["properties"], schema.get("required", []))


def _table(properties: dict[str, Schema], required: list[str]) -> str:
    rows = [["key", "value", "default", "meaning"]]
    for name, schema in properties.items():
        default = "must be given" if name in required else _default(schema)
        rows.append([f"`{name}`", _values(name, schema), default, _cell(schema.get("description", ""))])
    return table(rows)


def _default(schema: Schema) -> str:
    value = schema.get("default")
    return "" if value in (None, "", []) else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _values(name: str, schema: Schema) -> str:
    if name in COMPONENTS:
        return f"a name, or a [mapping](#{name})"
    if name == "estimator":
        return f"a name, or {_reference('Estimator')}"
    return " or ".join(dict.fromkeys(_words(schema)))


def _words(schema: Schema) -> Iterator[str]:
    """What a value may be, in words, each alternative."""
    for inner in schema.get("anyOf", []) if "properties" not in schema else []:
        yield from _words(inner)
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        known = _known()[name]
        yield from [_reference(name)] if name in LINKS or "properties" in known else _words(known)
    elif "const" in schema or "enum" in schema:
        yield from _enumerated(schema)
    elif schema.get("pattern"):
        yield _pattern(schema["pattern"])
    else:
        yield from _typed(schema)


def _enumerated(schema: Schema) -> Iterator[str]:
    values = [schema["const"]] if "const" in schema else schema["enum"]
    if len(values) > 12:
        yield "a field, or its column in the database" if "dropout" in values else "one of those below"
    else:
        yield from (f"`{value}`" for value in values)


def _typed(schema: Schema) -> Iterator[str]:
    match schema.get("type"):
        case "integer":
            yield f"a whole number{_bounds(schema)}"
        case "number":
            yield f"a number{_bounds(schema)}"
        case list(kinds):
            for kind in kinds:
                yield from _typed({"type": kind})
        case "boolean":
            yield from ("`true`", "`false`")
        case "string":
            yield "text"
        case "array":
            yield f"a list of: {', '.join(_words(schema['items']))}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            yield f"names, and for each: {' or '.join(_words(schema['additionalProperties']))}"
        case "object":
            yield "a mapping"


def _bounds(schema: Schema) -> str:
    """Such as " (at least 0 and below 1)"."""
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    found = [f"{word} {_number(schema[key])}" for key, word in words.items() if key in schema]
    return f" ({' and '.join(found)})" if found else ""


def _number(value: float) -> str:
    exponent = int(value).bit_length() - 1
    return f"2^{exponent}" if value > 2**30 and value == 2**exponent else f"{value:,}"


def _pattern(pattern: str) -> str:
    if LAYERS in pattern:
        return "such as `3x100`"
    if WRITTEN in pattern:
        return "`package.module:name`"
    assert PREPARED_NAMES.pattern in pattern
    return "`imagefolder/NAME`"


def _reference(name: str) -> str:
    """A link to the table of a definition, or its keys where it has none."""
    heading = LINKS.get(name)
    if heading:
        return f"[{heading.lower()}](#{_anchor(heading)})"
    keys = _known()[name]["properties"]
    return ", ".join(f"`{key}:` {' or '.join(dict.fromkeys(_words(each)))}" for key, each in keys.items())


@cache
def _known() -> dict[str, Schema]:
    known: dict[str, Schema] = file_schema()["$defs"]
    return known


def _anchor(heading: str) -> str:
    return "".join(letter for letter in heading.lower().replace(" ", "-") if letter.isalnum() or letter == "-")


def _component(name: str, schema: Schema) -> str:
    """Its kinds, each with its fields."""
    by_name, *kinds = schema["anyOf"]
    by_name = _shipped(by_name)
    about = dict(zip(by_name["enum"], by_name["enumDescriptions"], strict=True))
    parts = [f"#### {name}"]
    for kind in kinds:
        if "name" not in kind["properties"]:
            continue
        called = kind["properties"]["name"].get("const")
        parts.append(f"`{called}`: {_cell(about[called])}" if called else _cell(kind["description"]))
        own = {inner: schema for inner, schema in kind["properties"].items() if inner != "name"}
        parts += [_table(own, [])] if own else []
    return "\n\n".join(parts)


def _names(heading: str, schema: Schema) -> str:
    """The names of a registry and what each is."""
    rows, schema = [["name", "meaning"]], _shipped(schema)
    rows += [
        [f"`{name}`", _cell(about)] for name, about in zip(schema["enum"], schema["enumDescriptions"], strict=True)
    ]
    return (f"#### {heading}\n\n" if heading else "") + table(rows)


def _shipped(names: Schema) -> Schema:
    """Without the alternative of an import path."""
    shipped: Schema = names.get("anyOf", [names])[0]
    return shipped


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
