"""The figures by name."""

import inspect
from collections.abc import Callable
from typing import Any

from bnexp import registry
from bnexp.reports.charts.asked import Asked, one_of

Spec = dict[str, Any]
"""A Vega-Lite specification, its data in it and without a `config`, which is the theme's."""

Drawn = Callable[[Asked], Any]
"""A figure's function: what is asked, to an Altair chart. The first sentence of its docstring tells what it shows."""


def draw(name: str, asked: Asked) -> Spec:
    """The specification of the figure `name`. Raises UsageError where there is no such figure, or no data for it."""
    figure: Drawn = registry.load(registry.FIGURES[one_of("figure", name, registry.FIGURES)])
    spec: Spec = figure(asked).to_dict()
    spec.pop("config", None)
    return spec


def about(name: str) -> str:
    """What a figure shows, in a sentence."""
    figure: Drawn = registry.load(registry.FIGURES[name])
    return " ".join((inspect.getdoc(figure) or "").partition("\n\n")[0].split())
