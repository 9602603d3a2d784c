"""The JSON Schema of a trial's fields, as an experiments file has them: each under its dotted name, and partial
configurations of them.

Every schema here is a definition of `bnexp.fileschema`'s, and refers to the others by name.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from bnexp.config import TrialConfig
from bnexp.marks import IMPORT_PATH, Fields, Mark
from bnexp.options import COMPONENTS, OWN_COMPONENTS
from bnexp.registry import first_paragraph
from bnexp.settings import SETTABLE

Schema = dict[str, Any]

OWN = "of your own"
OBVIOUS = {"name", "names", "yes or no", "form", "mode", "number", "names of Figure 5", "floating-point type"}
"""Units that say no more than a field's values do."""


def ref(name: str) -> Schema:
    """What refers to the definition `name`."""
    return {"$ref": f"#/$defs/{name}"}


def mapping(properties: Mapping[str, Schema], about: str = "", required: Iterable[str] = ()) -> Schema:
    """A mapping with these keys and no others."""
    needs = {"required": list(required)} if required else {}
    return {
        "type": "object",
        **_described(about),
        "properties": dict(properties),
        **needs,
        "additionalProperties": False,
    }


def several(items: Schema, about: str = "", least: int = 1) -> Schema:
    """A list of different things."""
    return {"type": "array", **_described(about), "items": items, "minItems": least, "uniqueItems": True}


def plain(schema: Schema) -> Schema:
    """pydantic's schema without the titles that it makes of names, descriptions in one line, lists with the bounds that
    it writes as if they were text's, and partial configurations where it has any mapping."""
    if schema.get("type") == "object" and schema.get("additionalProperties") is True:
        return {**_described(schema.get("description", "")), **ref("selection")}
    found: Schema = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            value = {name: plain(inner) for name, inner in value.items()}
        elif isinstance(value, dict):
            value = plain(value) if key != "default" else value
        elif key in ("anyOf", "oneOf", "allOf"):
            value = [plain(inner) for inner in value]
        elif key == "description":
            value = first_paragraph(value)
        elif key in ("minLength", "maxLength") and schema.get("type") == "array":
            key = key.replace("Length", "Items")
        if key not in ("title", "discriminator") and (key, value) not in (("default", None), ("default", "")):
            found[key] = value
    return found


def dotted_names() -> list[str]:
    """Every field that a file may give, components by themselves and their fields under dotted names."""
    names = [name for name in TrialConfig.model_fields if name in SETTABLE]
    inner = [f"{head}.{name}" for head in COMPONENTS for fields in _kinds(head) for name in fields.model_fields]
    return [*names, *dict.fromkeys(inner)]


def definitions() -> dict[str, Schema]:
    """The schemas of all fields by dotted name, of a `partial` configuration, and of a `selection` of trials."""
    found = {name: schema for name, schema in _schemas(TrialConfig).items() if name in SETTABLE}
    for head in COMPONENTS:
        found[head] = {**_described(found[head].get("description", "")), **_component(head)}
    for name in dotted_names():
        if "." in name:
            found[name] = _inner(*name.split("."))
    some = {name: {"anyOf": [ref(name), several(ref(name))]} for name in dotted_names()}
    variant = {"anyOf": [{"type": "string"}, several({"type": "string"})], "description": "A variant's name, or some."}
    return found | {
        "partial": mapping({name: ref(name) for name in dotted_names()}, "A partial configuration: any fields."),
        "selection": mapping(
            {**some, "variant": variant},
            "The trials that have these values. A list stands for any of its members.",
        ),
    }


def words(schema: Schema) -> dict[str, str]:
    """The words that a field may have for a value, each with what it means, as far as that is told."""
    if schema.get("type") == "boolean":
        return {"true": "", "false": ""}
    found: dict[str, str] = {}
    for inner in schema.get("anyOf", []):
        found |= words(inner)
    values = list(map(str, schema.get("enum", [])))
    return found | dict(zip(values, schema.get("enumDescriptions", [""] * len(values)), strict=True))


@cache
def _schemas(fields: type[Fields]) -> dict[str, Schema]:
    """The schema of each field of a class, its unit told in brackets."""
    properties: dict[str, Schema] = fields.model_json_schema()["properties"]
    return {name: _with_unit(plain(schema), fields, name) for name, schema in properties.items()}


def _with_unit(schema: Schema, fields: type[Fields], name: str) -> Schema:
    units = [mark.unit for mark in fields.model_fields[name].metadata if isinstance(mark, Mark)]
    told = [*(f"[{unit}]" for unit in units if unit not in OBVIOUS), schema.pop("description", "")]
    return {**_described(" ".join(part for part in told if part)), **schema}


def _kinds(head: str) -> list[type[Fields]]:
    """The options of a component's kinds; last of those that are named by import path, where that may be."""
    return [*COMPONENTS[head], *([OWN_COMPONENTS[head]] if head in OWN_COMPONENTS else [])]


def _component(head: str) -> Schema:
    """A component: by name alone, with its fields, or fields of whichever it is by then."""
    options = {fields.model_fields["name"].default: fields for fields in COMPONENTS[head]}
    whole = [
        mapping({"name": {"const": name}, **_own(fields)}, first_paragraph(fields.__doc__), ["name"])
        for name, fields in options.items()
    ]
    for fields in _kinds(head)[len(whole) :]:
        whole.append(mapping({"name": IMPORT_PATH, **_own(fields)}, first_paragraph(fields.__doc__), ["name"]))
    inner = dict.fromkeys(name for fields in _kinds(head) for name in _own(fields))
    rest = mapping({name: ref(f"{head}.{name}") for name in inner}, f"Fields of the {head} that is given elsewhere.")
    default = TrialConfig.model_fields[head].default.name
    return {"anyOf": [_names(head), *whole, *([rest] if inner else [])], "default": default}


def _names(head: str) -> Schema:
    """The names of a component's kinds, and what each is."""
    about = {fields.model_fields["name"].default: first_paragraph(fields.__doc__) for fields in COMPONENTS[head]}
    shipped = {"type": "string", "enum": list(about), "enumDescriptions": list(about.values())}
    return {"anyOf": [shipped, IMPORT_PATH]} if head in OWN_COMPONENTS else shipped


def _own(fields: type[Fields]) -> dict[str, Schema]:
    return {name: schema for name, schema in _schemas(fields).items() if name != "name"}


def _inner(head: str, name: str) -> Schema:
    """A field of a component's by itself: what any of the component's kinds that have it allows."""
    if name == "name":
        return _names(head)
    names = [fields.model_fields["name"].default for fields in COMPONENTS[head]] + [OWN]
    owners = {kind: _schemas(fields) for kind, fields in zip(names, _kinds(head), strict=False)}
    schemas = {owner: schemas[name] for owner, schemas in owners.items() if name in schemas}
    bare = [
        {key: value for key, value in each.items() if key not in ("description", "default")}
        for each in schemas.values()
    ]
    different = {json.dumps(each, sort_keys=True): each for each in bare}
    told = next((each["description"] for each in schemas.values() if "description" in each), "")
    where = "" if len(schemas) == len(owners) else f" Of {head} {', '.join(schemas)}."
    values = list(different.values())
    [default, *others] = {json.dumps(each.get("default")): each for each in schemas.values()}.values()
    same = {"default": default["default"]} if "default" in default and not others else {}
    return {**_described(f"{told}{where}".strip()), **(values[0] if len(values) == 1 else {"anyOf": values}), **same}


def _described(about: str) -> Schema:
    return {"description": about} if about else {}
