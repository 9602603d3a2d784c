"""A curve in one line of text."""

from collections.abc import Sequence

import numpy as np

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(steps: Sequence[float], values: Sequence[float], low: float, high: float, width: int = 50) -> str:
    """A curve between `low` and `high`, drawn at `width` steps from its first to its last (above 0), each the same
    number of times the one before, since learning is fast at first; straight lines between the logarithms."""
    if len(steps) == 0:
        return ""
    at = np.geomspace(steps[0], steps[-1], width if len(steps) > 1 else 1)
    there = np.interp(np.log(at), np.log(steps), values)
    height = (there - low) / (high - low) if high > low else np.zeros(len(at))
    return "".join(BLOCKS[int(level)] for level in np.clip(np.round(height * (len(BLOCKS) - 1)), 0, len(BLOCKS) - 1))
