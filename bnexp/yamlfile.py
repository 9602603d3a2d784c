"""YAML with its places: plain values, and for each of them the line and column it stands at.

Read by PyYAML's safe loader with the scalars of YAML 1.2, so that `1e-3` is a number and `on` and `no` are words.
Duplicate keys are refused, and so are files that unfold into very many values.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from bnexp.errors import ConfigurationError

Path = tuple[str | int, ...]
"""Where a value stands: keys and indices from the root."""

MOST_VALUES = 200_000
DEEPEST = 40


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's core scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


SCALARS: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:null": lambda text: None,
    "tag:yaml.org,2002:bool": lambda text: {"true": True, "false": False}[text.lower()],
    "tag:yaml.org,2002:int": lambda text: int(text, 10),
    "tag:yaml.org,2002:float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
    "tag:yaml.org,2002:str": str,
}
"""What a scalar means, by its tag; other tags are refused."""


@dataclass
class Document:
    """A YAML file's values, and where they stand."""

    name: str
    data: Any = None
    marks: dict[Path, yaml.Mark] = field(default_factory=dict)

    def place(self, path: Path) -> str:
        """ "file:line:column" of the key at `path`, or of what is nearest above it."""
        while path and path not in self.marks:
            path = path[:-1]
        mark = self.marks.get(path)
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}" if mark else self.name


def parse_scalar(text: str, place: str) -> Any:
    """One value as it would be read in a file. Raises ConfigurationError where it is not YAML."""
    return _read(text, place).data


def read(path: FilePath) -> Document:
    """Read a file. Raises ConfigurationError where it cannot be read or is not plain YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError("no such file; name one with --file", str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot be read ({error})", str(path)) from error
    return _read(text, str(path))


def _read(text: str, name: str) -> Document:
    document = Document(name)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _Reader(document).value(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        context = f" ({error.context})" if error.context else ""
        raise ConfigurationError(f"not YAML: {error.problem}{context}", place) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"not YAML: {str(error).splitlines()[0]}", name) from error
    except RecursionError as error:
        raise ConfigurationError("nests too deeply", name) from error
    return document


class _Reader:
    """Turns nodes into values, writing down where each stands."""

    def __init__(self, document: Document) -> None:
        self.document, self.count = document, 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.document.marks.setdefault(path, node.start_mark)
        self.count += 1
        if self.count > MOST_VALUES or len(path) > DEEPEST:
            raise ConfigurationError("unfolds into too many values", self.document.place(path))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            return SCALARS[node.tag](node.value)
        except (KeyError, ValueError) as error:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise ConfigurationError(f"not YAML: {node.value!r} cannot be read as {tag}", self._at(node)) from error

    def _at(self, node: yaml.Node) -> str:
        return f"{self.document.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = self._at(key_node)
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else key_node.value
            if not isinstance(key, str):
                raise ConfigurationError(f"the key {key!r} must be text; put it in quotes", place)
            if key in result:
                raise ConfigurationError(f"the key {key!r} stands here a second time", place)
            self.document.marks[(*path, key)] = key_node.start_mark
            result[key] = self.value(value_node, (*path, key))
        return result
