"""A specification as a file: the ending of its name chooses PNG, SVG, PDF, HTML or JSON. Nothing is loaded from a
network."""

import json
from pathlib import Path
from typing import Any

from bnexp.errors import UsageError
from bnexp.files import write_file
from bnexp.reports.charts.figures import Spec
from bnexp.reports.charts.pages import VERSION, page
from bnexp.reports.charts.themes import THEMES

ENDINGS = (".png", ".svg", ".pdf", ".html", ".json")
PIXELS = 2
"""Of a PNG, for each pixel of the figure's size, so that print is sharp."""


def ending_of(path: Path) -> str:
    """The ending of a file's name, which must be one of ENDINGS. Raises UsageError."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        found = f"{ending} is none of" if ending else "its name must end in one of"
        raise UsageError(f"--output {path}: {found} {', '.join(ENDINGS)}")
    return ending


def write(spec: Spec, path: Path, theme: str = "light") -> None:
    """Write the figure to `path`, all of it or nothing. Raises UsageError where the ending is unknown or the file
    cannot be written."""
    content = encode(spec, ending_of(path), theme)
    try:
        write_file(path, content)
    except OSError as error:
        raise UsageError(f"--output {path}: cannot be written ({error.strerror})") from error


def encode(spec: Spec, ending: str, theme: str = "light") -> bytes:
    """The figure in the format of one of ENDINGS."""
    whole = spec | {"config": THEMES[theme]}
    if ending == ".json":
        return (json.dumps(whole, indent=2) + "\n").encode()
    if ending == ".html":
        return page(spec, theme).encode()
    import vl_convert

    options: dict[str, Any] = {"vl_version": VERSION, "allowed_base_urls": []}
    if ending == ".png":
        return bytes(vl_convert.vegalite_to_png(whole, scale=PIXELS, **options))
    if ending == ".pdf":
        return bytes(vl_convert.vegalite_to_pdf(whole, **options))
    svg: str = vl_convert.vegalite_to_svg(whole, **options)
    return svg.encode()
