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
from bnexp.files import open_file
from bnexp.text import CONTROLS

Path = tuple[str | int, ...]
"""Where a value stands: keys and indices from the root."""

LARGEST_FILE = 2_000_000
"""Bytes. The shipped file has 30,000."""
MOST_VALUES = 200_000
DEEPEST = 40
MAPPING, SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's core scalars, which goes no deeper than files need."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own)
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem="nests too deeply", problem_mark=parent.start_mark if parent else None)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


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
        with open_file(path) as file:
            content = file.read(LARGEST_FILE + 1)
        text = content.decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError("no such file; name one with --file", str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"cannot be read ({said})", str(path)) from error
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(f"has more than {LARGEST_FILE:,} bytes", str(path))
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
    except (ValueError, OverflowError) as error:  # of an escape such as "\U00110000", which is no character
        raise ConfigurationError(f"not YAML: {error}", name) from error
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
        if isinstance(node, yaml.MappingNode) and node.tag == MAPPING:
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == SEQUENCE:
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Any:
        """The value of a node that should be a scalar, of a tag that means one."""
        shown, tag = repr(node.value), node.tag.replace("tag:yaml.org,2002:", "!!")
        if not isinstance(node, yaml.ScalarNode):
            raise ConfigurationError(f"not YAML: a list or mapping cannot be read as {tag}", self._at(node))
        try:
            value = SCALARS[node.tag](node.value)
        except (KeyError, ValueError) as error:
            raise ConfigurationError(f"not YAML: {shown} cannot be read as {tag}", self._at(node)) from error
        if isinstance(value, str) and CONTROLS.search(value):
            raise ConfigurationError(f"{shown} has control characters, which no text here may have", self._at(node))
        return value

    def _at(self, node: yaml.Node) -> str:
        return f"{self.document.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = self._at(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigurationError("a key must be text", place)
            key = self._scalar(key_node)
            if not isinstance(key, str):
                raise ConfigurationError(f"the key {key!r} must be text; put it in quotes", place)
            if not key.isprintable():
                raise ConfigurationError(f"the key {key!r} must be a line of printable text", place)
            if key in result:
                raise ConfigurationError(f"the key {key!r} stands here a second time", place)
            self.document.marks[(*path, key)] = key_node.start_mark
            result[key] = self.value(value_node, (*path, key))
        return result
