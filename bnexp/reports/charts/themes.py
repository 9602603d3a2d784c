"""How charts look, apart from what they show: a Vega-Lite `config` for a light and a dark background.

Colours are those of Okabe and Ito (2008), which people with any kind of colour vision tell apart; heat maps have
cividis, which grows lighter in greyscale too. What a colour says, a dash or a shape says as well.
"""

from typing import Any

WIDTH = 640
"""Pixels of a whole figure, for which the sizes of letters are made."""

BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
GREY = "#8A8A8A"
SERIES = len((BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, GREY, "ink"))
"""Of a chart, that have a colour each."""
DASHES = ([1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [4, 1], [12, 4], [1, 3], [6, 2, 1, 2, 1, 2])
"""A dash for each of them."""

Config = dict[str, Any]


def _config(ink: str, faint: str, ground: str, *, blue: str) -> Config:
    labels = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "labelLimit": 220}
    return {
        "background": ground,
        "font": "sans-serif",
        "padding": 10,
        "range": {
            "category": [blue, VERMILION, GREEN, ORANGE, PURPLE, SKY, ink, GREY],
            "ordinal": [blue, VERMILION, GREY, GREY],
            "heatmap": {"scheme": "cividis"},
            "ramp": {"scheme": "cividis"},
        },
        "axis": {**labels, "gridColor": faint, "domainColor": ink, "tickColor": ink, "titleFontWeight": "normal"},
        "legend": {
            **labels,
            "labelLimit": 420,
            "symbolStrokeWidth": 2.5,
            "symbolSize": 120,
            "titleFontWeight": "normal",
        },
        "header": {**labels, "titleFontWeight": "normal"},
        "title": {"color": ink, "subtitleColor": ink, "fontSize": 15, "subtitleFontSize": 12, "anchor": "start"}
        | {"frame": "bounds", "subtitlePadding": 6, "offset": 12},
        "view": {"stroke": faint},
        "text": {"color": ink, "fontSize": 12},
        "rule": {"color": ink},
        "mark": {"color": ink},
        "line": {"strokeWidth": 2.5},
    }


THEMES: dict[str, Config] = {
    "light": _config("#222222", "#DDDDDD", "#FFFFFF", blue=BLUE),
    "dark": _config("#E8E8E8", "#444444", "#1B1B1B", blue="#3DA5E0"),
}
"""The light theme's letters are nearly black; the dark one's blue is lighter, to be seen on its ground."""
