"""Interleaved rounds and what is said of them. Pure functions."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Name = TypeVar("Name")
Result = TypeVar("Result")
Summary = dict[str, float]
"""median, min and max over rounds."""


def interleaved(
    arms: Iterable[Name], rounds: int, measure: Callable[[Name, int], Result | None]
) -> dict[Name, list[Result]]:
    """Measure every arm once in each round (A B C, A B C, ...), so that whatever else the machine does meets all alike.
    `measure` gets the arm and the round's number, from 1; an arm for which it returns None is left out from there on,
    and of the results."""
    results: dict[Name, list[Result]] = {arm: [] for arm in arms}
    for number in range(1, rounds + 1):
        for arm in list(results):
            result = measure(arm, number)
            if result is None:
                del results[arm]
            else:
                results[arm].append(result)
    return results


def summary(values: Sequence[float]) -> Summary:
    """Over rounds."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Summary:
    """Of the ratios taken round by round, which share a machine's mood."""
    return summary([above / below for above, below in zip(numerators, denominators, strict=True)])
