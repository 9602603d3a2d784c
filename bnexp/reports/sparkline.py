"""A curve in one line of text."""

from collections.abc import Sequence

import numpy as np

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(steps: Sequence[float], values: Sequence[float], low: float, high: float, width: int = 50) -> str:
    """A curve between `low` and `high`, drawn at `width` equally spaced steps from its first to its last, whatever the
    spacing of its points; straight lines in between."""
    if len(steps) == 0:
        return ""
    at = np.linspace(steps[0], steps[-1], width if len(steps) > 1 else 1)
    height = (np.interp(at, steps, values) - low) / (high - low) if high > low else np.zeros(len(at))
    return "".join(BLOCKS[int(level)] for level in np.clip(np.round(height * (len(BLOCKS) - 1)), 0, len(BLOCKS) - 1))
