"""Components of a person's own, named by import path, such as `mypackage.mymodule:MyNorm`: found, known by the hash of
their source, and loaded. Naming one is what lets its code run: nothing is imported of a name without a colon, but for
those that installed packages give."""

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from bnexp.errors import UsageError

WRITTEN = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
"""module:name, or..."""
PATH = "package.module:name"
"""...as people are told of it."""


def is_own(name: str) -> bool:
    """Whether it is an import path, and no name that a registry may have."""
    return ":" in name


def source_hash(name: str) -> str:
    """SHA-256 (64 hexadecimal digits) of the file in which the component's module stands. What that imports is not in
    it. Raises UsageError where there is no such file."""
    return hashlib.sha256(file_of(name).read_bytes()).hexdigest()


def sourced(name: str) -> str:
    """The name and the hash of its source, as a configuration keeps them."""
    return f"{name} {source_hash(name)}"


def changed(sources: Sequence[str]) -> str:
    """The first of the components whose source is no longer what it was, or is gone; empty where there is none."""
    for one in sources:
        name = one.partition(" ")[0]
        try:
            if sourced(name) != one:
                return name
        except UsageError:
            return name
    return ""


def load(name: str, sources: Sequence[str]) -> Any:
    """The object of that name. Raises UsageError where it is not there, or its source is none of `sources`, which are
    as `sourced` makes them: trials that are written down would be trained by other code than they say."""
    if sourced(name) not in sources:
        raise UsageError(f"{name}: its source has changed since these trials were written down; run again for new ones")
    return found(name)


def found(name: str) -> Any:
    """The object of that name, whatever its source is by now. Raises UsageError where it is not there."""
    path = file_of(name)
    module, _, attribute = name.partition(":")
    try:
        loaded = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{name}: {path} cannot be imported: {said(error, name)}") from error
    if not hasattr(loaded, attribute):
        raise UsageError(f"{name}: the module {module} ({path}) has no {attribute!r}")
    return getattr(loaded, attribute)


def said(error: BaseException, name: str) -> str:
    """What an error says, in a line, and where in the component's own file it came from, if it was there. That of a
    ValueError is a sentence by itself."""
    path = file_of(name)
    places = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    line = (str(error).strip() or "no more is said").splitlines()[0]
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{kind}{line}" + (f" ({path.name}:{places[-1]})" if places else "")


def file_of(name: str) -> Path:
    """The file in which the component's module stands. Raises UsageError where there is none."""
    if not re.fullmatch(WRITTEN, name):
        raise UsageError(f"{name!r} is no import path; write {PATH}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # a command has the folder of its program there instead; last, to hide nothing
    module = name.partition(":")[0]
    spec = _spec(module)
    if spec is None or spec.origin is None or not spec.has_location:
        raise UsageError(f"{name}: no module {module!r} with a file is in {here} or installed")
    return Path(spec.origin)


def _spec(module: str) -> ModuleSpec | None:
    """Where Python would find it, without executing the packages that it is in."""
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # it runs as a program
        return None
    for end in range(2, len(inner) + 2):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join([top, *inner][:end]), [*spec.submodule_search_locations])
    return spec
