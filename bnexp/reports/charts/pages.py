"""Charts in HTML: the JavaScript that draws them, and a page with one of them. Nothing is loaded from a network."""

import html
import json
from functools import cache
from typing import Any

from bnexp.reports.charts.figures import Spec
from bnexp.reports.charts.themes import THEMES

VERSION = "6.4"
"""Of Vega-Lite, as vl-convert counts them; the one that Altair writes."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>body {{ margin: 1rem; background: {ground}; }}</style>
<script>{javascript}</script>
</head>
<body>
<div id="chart"></div>
<script>vegaEmbed("#chart", {spec}, {options}).catch(console.error);</script>
</body>
</html>
"""
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""What a page may do: run what stands in it, and load nothing."""
OPTIONS = {
    "renderer": "svg",
    "ast": True,
    "actions": {"export": True, "source": False, "compiled": False, "editor": False},
}
"""Of vegaEmbed. `ast`: expressions are interpreted, so that a page needs no leave to evaluate text as a program."""


@cache
def javascript() -> str:
    """Vega, Vega-Lite and vegaEmbed, to stand in a <script> once a page; defines vegaEmbed."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VERSION)
    return bundle.replace("</script", "<\\/script")


def in_script(value: Any) -> str:
    """A value as JavaScript in a <script>, which no text in it can end."""
    text = json.dumps(value)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page(spec: Spec, theme: str = "light") -> str:
    """A whole page with one figure."""
    config = THEMES[theme]
    return PAGE.format(
        policy=POLICY,
        title=html.escape(" ".join(spec["title"]["text"])),
        ground=config["background"],
        javascript=javascript(),
        spec=in_script(spec | {"config": config}),
        options=in_script(OPTIONS),
    )
