"""The page as text: templates that escape all that they are given, and what may run on it."""

import base64
import hashlib
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnexp.reports.blocks import Block, Code, Gap, Grid, Heading, Line, Quote
from bnexp.reports.charts.pages import in_script, javascript
from bnexp.reports.charts.themes import THEMES
from bnexp.reports.page.contents import Page
from bnexp.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
SCRIPTS = ("opening.js", "fitting.js", "charts.js", "grids.js", "explorer.js")
SYMBOLS = {"supported": "●", "refuted": "■", "inconclusive": "◆", "not tested": "○"}
"""A shape for each verdict, as in the charts."""
KINDS = {Heading: "heading", Line: "line", Quote: "quote", Code: "code", Grid: "grid", Gap: "gap"}
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
"""What the page may do: run the scripts that stand on it, known by their hashes, and load nothing."""


def render(page: Page) -> str:
    """The whole page."""
    from markupsafe import Markup

    pictures = [
        *page.pictures,
        *([page.card.picture] if page.card else []),
        *(picture for claim in page.claims for picture in claim.pictures),
        *(picture for experiment in page.experiments for picture in experiment.pictures),
    ]
    numbers = {id(picture): number for number, picture in enumerate(pictures)}
    scripts = [javascript(), *(asset(name) for name in SCRIPTS)]
    return (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            policy=POLICY.format(scripts=" ".join(f"'sha256-{_digest(script)}'" for script in scripts)),
            style=Markup(asset("style.css")),
            scripts=[Markup(script) for script in scripts],
            number_of=lambda picture: numbers[id(picture)],
            charts=_data({"themes": THEMES, "charts": [picture.spec for picture in pictures]}),
            grids=_data([asdict(grid) for grid in page.grids]),
            symbols=SYMBOLS,
        )
    )


@cache
def asset(name: str) -> str:
    """A script or style sheet."""
    return (HERE / "assets" / name).read_text(encoding="utf-8")


def inline(text: str) -> "Markup":
    """Text in a line, what stands in backticks as code."""
    from markupsafe import Markup, escape

    parts = re.split(r"`([^`\n]+)`", printable(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def kind(block: Block) -> str:
    """Which of the templates for blocks is a block's."""
    return KINDS[type(block)]


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"inline": inline, "kind": kind}
    return environment


def _shown(value: Any) -> Any:
    """What a template writes: text without control characters; markup is our own."""
    return printable(value) if type(value) is str else value


def _data(value: Any) -> "Markup":
    from markupsafe import Markup

    return Markup(in_script(value))


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
