"""Which trials train together. Pure functions; nothing here needs torch."""

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise

from bnexp.config import TrialConfig
from bnexp.identity import cohort_key

CAPACITY = {"cpu": 48, "cuda": 1024}
"""The most trials in a cohort, by the type of device. On a CPU the time per trial-step stops falling between 24 and 64
trials, for 64 inputs and for 784 (`benchmarks/growth_cohort.py`); more would only leave one core waiting for the other
at the end. A GPU takes what its memory holds."""


def group(trials: Iterable[tuple[TrialConfig, str]], limit: int = CAPACITY["cpu"]) -> Iterator[list[int]]:
    """Cut `trials` (configuration and dataset fingerprint) into cohorts of at most `limit`, as lists of indices.

    Within a cohort all static fields are equal. Trials of one seed stay together where they can, since they share
    examples and random numbers; a seed's trials that do not fit into one cohort are spread evenly over several."""
    listed = list(trials)
    keyed = [
        (cohort_key(config, fingerprint), config.random_seed, index)
        for index, (config, fingerprint) in enumerate(listed)
    ]
    for _, members in groupby(sorted(keyed), key=lambda entry: entry[0]):
        seeds = [[index for *_, index in same] for _, same in groupby(members, key=lambda entry: entry[1])]
        cohort: list[int] = []
        for seed in (part for same in seeds for part in even_parts(same, limit)):
            if len(cohort) + len(seed) > limit:
                yield cohort
                cohort = []
            cohort = cohort + seed
        yield cohort


def even_parts(items: list[int], limit: int) -> list[list[int]]:
    """`items` in as few parts as have at most `limit`, equally long but for one."""
    count = -(-len(items) // limit)
    cuts = [len(items) * part // count for part in range(count + 1)]
    return [items[start:end] for start, end in pairwise(cuts)]


def streams(seeds: list[int]) -> list[int]:
    """The seed of each stream, for slots with these seeds: one stream a seed where every seed has equally many
    consecutive slots, else one a slot. (See `bnexp.models.layers`: S streams divide T trials.)"""
    runs = [(seed, len(list(same))) for seed, same in groupby(seeds)]
    even = len({length for _, length in runs}) == 1
    return [seed for seed, _ in runs] if even else seeds


def evaluation_steps(steps: int, every: int) -> list[int]:
    """Where a curve has points: every `every` steps and at the end, and at geometric steps (1, 2, 3, 5, 8, ...) before
    the first, so that a ratio of steps can be resolved."""
    early = []
    step = 1
    while step < min(every, steps):
        early.append(step)
        step = max(step + 1, round(step * 1.6))
    return [*early, *range(every, steps, every), steps]
