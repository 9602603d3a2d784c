"""The report as one HTML page, which needs no network. It renders verdicts, and computes none.

`contents` gathers what stands on it: blocks, as the other formats have them, pictures (`drawing`), the cells of the
grids (`cells`) and the scorecard of a battery (`card`). `html` makes text of it, with the templates and assets beside
this file, and `writing` writes that to a file.
"""
