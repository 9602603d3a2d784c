"""Whether a trial that was trained again gave what was stored: to the last bit, nearly, or not."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bnexp.db.stored import Stored
from bnexp.records import Outcome

Answer = Literal["bitwise equal", "within tolerance", "drifted", "failed", "not comparable"]
WRONG: tuple[Answer, ...] = ("drifted", "failed")
"""The answers that are no comfort."""


@dataclass(frozen=True)
class Comparison:
    """How two outcomes of one trial compare."""

    answer: Answer
    difference: float | None = None
    """The largest relative difference of their numbers, from 0 to 2; None where they have no such thing, since they
    are no numbers of the same kind or there is nothing to compare."""
    where: str = ""
    """Where that is, or why there is none: "test_loss 0.1234 then, 0.1239 now (4e-3)"."""


@dataclass(frozen=True)
class Verified:
    """A stored trial and what training it again said of it."""

    trial: Stored
    comparison: Comparison


def compare(then: Outcome, now: Outcome, tolerance: float) -> Comparison:
    """Compare every number of two outcomes of one trial: how it ended, the final losses and accuracies, the curve. A
    number that was not measured then, as bnexp has learned to since, is not compared.

    Two numbers differ by |a - b| / max(|a|, |b|); NaN equals NaN and an infinity itself, and nothing else that is not
    finite is near anything. The largest difference may be `tolerance`, itself included."""
    apart = _apart(then, now)
    if apart:
        return Comparison("drifted", None, apart)
    after = dict(numbers(now))
    pairs = [(name, a, after[name], difference(a, after[name])) for name, a in numbers(then)]
    name, a, b, worst = max(pairs, key=lambda pair: pair[3], default=("", 0.0, 0.0, 0.0))
    if worst == 0:
        return Comparison("bitwise equal", 0.0)
    if math.isinf(worst):
        return Comparison("drifted", None, f"{name} {_told(a, b)}")
    answer: Answer = "within tolerance" if worst <= tolerance else "drifted"
    return Comparison(answer, worst, f"{name} {_told(a, b)} ({short(worst)})")


def difference(a: float, b: float) -> float:
    """|a - b| / max(|a|, |b|): 0 where both are the same, NaN included; infinite where one alone is not finite."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b))


def numbers(outcome: Outcome) -> Iterator[tuple[str, float]]:
    """Every loss and accuracy of an outcome, named."""
    if outcome.final:
        yield from ((name, value) for name, value in vars(outcome.final).items() if value is not None)
    for point in outcome.curve:
        for name, value in vars(point).items():
            if name != "step":
                yield f"{name} at step {point.step}", value


def short(relative: float) -> str:
    """A relative difference with one digit: 4e-3."""
    return f"{relative:.0e}".replace("e-0", "e-").replace("e+00", "")


def _apart(then: Outcome, now: Outcome) -> str:
    """In what two outcomes differ that no tolerance can mend; empty where in nothing."""
    before, after = _end(then), _end(now)
    if before != after:
        return f"{before} then, {after} now"
    if then.final and now.final:
        for name, value in vars(then.final).items():
            if value is not None and vars(now.final)[name] is None:
                return f"{name} is missing now"
    steps_then, steps_now = ({point.step for point in outcome.curve} for outcome in (then, now))
    for step in sorted(steps_then ^ steps_now):
        return f"the curve's point at step {step} is {'missing' if step in steps_then else 'new'} now"
    return ""


def _end(outcome: Outcome) -> str:
    """How a trial ended."""
    if outcome.status == "finished":
        return "finished" if outcome.final else "finished without numbers"
    numbers = " with final numbers" if outcome.final else ""
    return f"diverged at step {outcome.diverged_at_step} ({outcome.reason}){numbers}"


def _told(a: float, b: float) -> str:
    """Two different numbers, with as many digits as it takes to tell them apart."""
    digits = next((digits for digits in range(4, 17) if f"{a:.{digits}g}" != f"{b:.{digits}g}"), 17)
    return f"{a:.{digits}g} then, {b:.{digits}g} now"
