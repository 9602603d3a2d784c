"""Whether an arm trained what the others trained: a timing counts only where it did. Pure functions.

The reference is the plain eager loop, run apart from the timing.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOLERANCE = 1e-4
"""Of a trial's training loss, relative, where nothing is random. float32 rounds at 6e-8, and some hundred steps of a
smooth network multiply a difference by ten to a thousand. This sees wrong data, rates, momentum or normalization; in so
few steps a loss hardly tells whether a sigmoid network's first layer trains. That the engine trains what the plain loop
does, weight by weight over 200 steps, is for `tests/test_engine.py` to say."""
STANDARD_ERRORS = 5.0
"""Between means over trials, where Dropout draws differ. With the 24 degrees of freedom of eight seeds in four
repetitions, Student's t lies further out once in 24,000 comparisons."""

Losses = Mapping[int, float]
"""Training loss by trial number."""


@dataclass(frozen=True)
class Agreement:
    """How far an arm is from the reference, and how far it may be; both relative to the reference's loss."""

    difference: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """False where the difference is not a number."""
        return self.difference <= self.tolerance


def each_trial(reference: Losses, losses: Losses, tolerance: float = TOLERANCE) -> Agreement:
    """The largest relative difference over the reference's trials. One that is missing or not finite never agrees."""
    differences = [abs(losses.get(trial, math.nan) - loss) / abs(loss) for trial, loss in reference.items()]
    return Agreement(math.inf if not all(map(math.isfinite, differences)) else max(differences), tolerance)


def mean_over_seeds(references: Sequence[Losses], losses: Losses, seed_of: Mapping[int, int]) -> Agreement:
    """The difference of the mean loss from that of `references`, which are repetitions with other Dropout draws.

    Trials of one seed share Dropout draws, so the unit is a seed: the mean over its trials. The standard error of the
    arm's mean comes from the spread of a seed over the repetitions, which no wrong arm can widen."""
    by_seed = [_seed_means(repetition, seed_of) for repetition in references]
    seeds = by_seed[0].keys()
    variance = statistics.mean(statistics.variance([means[seed] for means in by_seed]) for seed in seeds)
    error = math.sqrt(variance / len(seeds) * (1 + 1 / len(references)))
    expected = statistics.mean(mean for means in by_seed for mean in means.values())
    found = statistics.mean(_seed_means({t: losses.get(t, math.nan) for t in references[0]}, seed_of).values())
    difference = abs(found - expected) / expected
    return Agreement(difference if math.isfinite(difference) else math.inf, STANDARD_ERRORS * error / expected)


def _seed_means(losses: Losses, seed_of: Mapping[int, int]) -> dict[int, float]:
    seeds = sorted({seed_of[trial] for trial in losses})
    return {s: statistics.mean(loss for trial, loss in losses.items() if seed_of[trial] == s) for s in seeds}
