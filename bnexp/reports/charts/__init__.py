"""Charts: one Vega-Lite specification a figure, of which pages and files in every format are the same picture.

`figures.draw` makes a specification, `themes` has how it looks, `output` writes it to a file, and `pages` puts it into
HTML. Charts render what is stored and judged, and compute no verdict. Altair and vl-convert are imported where a figure
is drawn.
"""
