"""Simulated tables of trials, with a known truth, and claims about them: for the simulation in `benchmarks/judge.py`.

In every world the truth is at the limit of each claim (the worst null), so that each verdict other than *inconclusive*
is false; unless the world says which one is right.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnexp.claims.data import Data, no_probes
from bnexp.claims.looks import preset
from bnexp.claims.model import Claim
from bnexp.claims.statistics import Values
from bnexp.config import TrialConfig, columns
from bnexp.records import Choice, Columns

SEEDS = 10
LOOKS = preset(SEEDS)
MOST = LOOKS[-1]
Random = np.random.Generator
Noise = Callable[[Random, tuple[int, ...]], Values]
Sample = Callable[[int], Data]
"""What the first so many seeds have shown."""


@dataclass(frozen=True)
class World:
    """Claims, and tables to judge them by."""

    name: str
    claims: dict[str, Claim]
    draw: Callable[[Random], Sample]
    right: str = ""
    """The answer that is not false, where the truth is not at the limit itself."""


def _lattice(random: Random, shape: tuple[int, ...]) -> Values:
    """Differences of two accuracies on 360 images, 97% in the mean: multiples of 1/360, few of them distinct."""
    one, other = (random.binomial(360, 0.97, shape) for _ in range(2))
    return np.asarray((one - other) / 360 * 100)


NOISE: dict[str, Noise] = {
    "normal": lambda random, shape: random.normal(0, 1, shape),
    "uniform": lambda random, shape: random.uniform(-math.sqrt(3), math.sqrt(3), shape),
    "Laplace": lambda random, shape: random.laplace(0, math.sqrt(0.5), shape),
    "lattice": _lattice,
    "skewed": lambda random, shape: (random.chisquare(3, shape) - 3) / math.sqrt(6),
}
"""Of the differences of seeds, about 0; all but the lattice's with standard deviation 1. The last is not symmetric."""
SYMMETRIC = ("normal", "uniform", "Laplace", "lattice")


def claim(**parts: Any) -> Claim:
    """A claim that BN is better, or what `parts` say."""
    written = {
        "question": "?",
        "section": "0",
        "quote": "",
        "experiment": "simulated",
        "arms": {"treatment": {"norm": "batch"}, "control": {"norm": "none"}},
        "estimator": {"name": "difference"},
        "supported_if": {"low": {"at_least": 0}},
        "refuted_if": {"high": {"at_most": 0}},
        "looks": LOOKS,
    }
    return Claim.model_validate(written | parts)


class Trials:
    """The trials of some cells, MOST seeds each, that differ in their outcomes only."""

    def __init__(self, cells: Sequence[dict[str, Any]]) -> None:
        rows = [
            columns(TrialConfig.model_validate(cell | {"seed": seed}))
            | {"trial_key": f"{number} {seed}", "classes": 10, "status": "finished", "arm": str(number)}
            for number, cell in enumerate(cells)
            for seed in range(MOST)
        ]
        everything = {
            name: [row.get(name) for row in rows] for name in dict.fromkeys(key for row in rows for key in row)
        }
        words = {name for name, values in everything.items() if any(isinstance(v, str | None) for v in values)}
        table = {name: np.array(values, dtype=object if name in words else None) for name, values in everything.items()}
        self._shape = len(cells), MOST
        self._first = {n: {name: values[table["seed"] < n] for name, values in table.items()} for n in LOOKS}

    def first(self, n: int, accuracy: Values, **outcomes: Values) -> Columns:
        """The first n seeds, with the outcomes [cells, MOST], in points; who does not train is at chance."""
        own = {"scored_accuracy": accuracy / 100, "validation_accuracy": accuracy / 100, "trained": accuracy > 50}
        shown = {name: values[:, :n].ravel() for name, values in (own | outcomes).items()}
        return self._first[n] | shown


def _data(trials: Columns, **parts: Any) -> Data:
    return Data("simulated", trials, parts.pop("curves", _no_curves), 1.0, no_probes, **parts)


def _no_curves(keys: Sequence[str], names: Sequence[str]) -> Columns:
    raise AssertionError("these worlds have no curves")


def differences(noise: str, family: int, beyond: float = 0.0) -> World:
    """`family` independent claims about differences, each at its limit or `beyond` it."""
    cells = [{"norm": norm, "lr_multiplier": 1.0 + c} for norm in ("batch", "none") for c in range(family)]
    trials = Trials(cells)
    claims = {f"claim {c}": claim(where={"lr_multiplier": 1.0 + c}) for c in range(family)}

    def draw(random: Random) -> Sample:
        gain = beyond + NOISE[noise](random, (family, MOST))
        accuracy = np.concatenate([70 + gain, np.full_like(gain, 70.0)])
        return lambda n: _data(trials.first(n, accuracy))

    return World(f"differences, {noise}", claims, draw, "supported" if beyond > 0 else "")


def rates(share: float = 0.6) -> World:
    """A share of seeds that trains, at its limit."""
    trials = Trials([{"norm": "batch"}])
    limits = {"supported_if": {"low": {"at_least": share}}, "refuted_if": {"high": {"at_most": share}}}
    claims = {"rate": claim(arms={"treatment": {"norm": "batch"}}, estimator={"name": "rate"}, **limits)}

    def draw(random: Random) -> Sample:
        accuracy = np.where(random.random((1, MOST)) < share, 90.0, 10.0)
        return lambda n: _data(trials.first(n, accuracy))

    return World(f"rates, {share:g}", claims, draw)


EVALUATED = np.array([1, 2, 3, 5, 8, 13, 21, 34, *range(50, 1001, 50)])

Times = Callable[[Random, int], tuple[Values, Values]]
"""The steps that treatment and control truly need, for so many seeds."""


def steps(name: str, ratio: float, times: Times) -> World:
    """Steps to a target, evaluated on a grid, and cut off at its end. The target comes from tuning trials."""
    trials = Trials([{"norm": "batch"}, {"norm": "none"}])
    limits = {"supported_if": {"low": {"at_least": ratio}}, "refuted_if": {"high": {"at_most": ratio}}}
    claims = {"steps": claim(estimator={"name": "steps_ratio"}, **limits)}
    choices = [Choice(arm, "lr_multiplier", 1.0, 0.9, False) for arm in ("0", "1")]
    tuning = {
        name: np.concatenate([own[:2], own[SEEDS : SEEDS + 2]])
        for name, own in trials.first(SEEDS, np.full((2, MOST), 90.0)).items()
    }
    tuning["trial_key"] = np.array([f"tuning {key}" for key in tuning["trial_key"]], dtype=object)

    def draw(random: Random) -> Sample:
        needed = dict(zip("01", times(random, MOST), strict=True))

        def curves(keys: Sequence[str], names: Sequence[str]) -> Columns:
            first = np.array([100.0 if k.startswith("tuning") else needed[k[0]][int(k.split()[-1])] for k in keys])
            accuracy = np.where(first[:, None] <= EVALUATED, 0.9, 0.3).ravel()
            repeated = np.repeat(np.array(keys, dtype=object), len(EVALUATED))
            return {"trial_key": repeated, "step": np.tile(EVALUATED, len(keys)), "validation_accuracy": accuracy}

        accuracy = np.full((2, MOST), 90.0)
        return lambda n: _data(trials.first(n, accuracy), curves=curves, tuning=tuning, choices=choices)

    return World(f"steps, {name}", claims, draw)


def _alike(random: Random, count: int) -> tuple[Values, Values]:
    first, second = 700 * 2 ** random.normal(0, 1, (2, count))
    return first, second


def _half_cut_off(random: Random, count: int) -> tuple[Values, Values]:
    """The control always takes 400 steps; the treatment 150, or as many times more, which is beyond the budget."""
    return np.where(random.random(count) < 0.5, 150.0, 400 * 400 / 150), np.full(count, 400.0)


def _ratio_of_two(random: Random, count: int) -> tuple[Values, Values]:
    treatment = 200 * 2 ** random.normal(0, 0.3, count)
    return treatment, 2 * 200 * 2 ** random.normal(0, 0.3, count)


SCALES = [10.0 ** (half / 2) for half in range(-6, 5)]


def tolerated(name: str, noise: tuple[float, float]) -> World:
    """Ranges of init scales, alike in both arms; seeds of the arms have so much noise at each scale, in points."""
    trials = Trials([{"norm": norm, "init_scale": scale} for norm in ("batch", "none") for scale in SCALES])
    claims = {"range": claim(estimator={"name": "tolerated_range", "factor": "init_scale"})}
    middle = 90 - 0.8 * (np.log10(SCALES) + 0.6) ** 2
    mean = np.tile(middle, 2)[:, None]

    def draw(random: Random) -> Sample:
        own = np.repeat(noise, len(SCALES))[:, None] * random.normal(0, 1, (2 * len(SCALES), MOST))
        accuracy = mean + own + random.normal(0, 0.5, MOST)
        return lambda n: _data(trials.first(n, accuracy))

    return World(f"tolerated ranges, {name}", claims, draw)


def best(correlation: float) -> World:
    """The best of three equal levels, by validation, against one; validation and test share a part of their noise."""
    doses = {"batch": (0.1, 0.2, 0.5), "none": (0.1,)}
    trials = Trials([{"norm": norm, "dropout": dose} for norm, three in doses.items() for dose in three])
    arms = {"treatment": {"norm": "batch", "dropout": [0.1, 0.2, 0.5]}, "control": {"norm": "none", "dropout": 0.1}}
    claims = {"best": claim(arms=arms, estimator={"name": "best_difference", "over": ["dropout"]})}

    def draw(random: Random) -> Sample:
        shared, test, validation = random.normal(0, 1, (3, 4, MOST))
        mixed = [math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own for own in (test, validation)]
        return lambda n: _data(trials.first(n, 80 + mixed[0], validation_accuracy=(80 + mixed[1]) / 100))

    return World(f"best of three, validation correlated {correlation:g}", claims, draw)


PROMISED = [
    rates(0.6),
    rates(0.4),
    steps("both arms cut off", 1, _alike),
    steps("treatment cut off", 1, _half_cut_off),
]
"""Single claims of other kinds; false verdicts are promised to be rare."""
REPORTED = [
    tolerated("equal noise", (0.5, 0.5)),
    steps("ratio of 2 on the evaluation grid", 2, _ratio_of_two),
    tolerated("unequal noise", (0.2, 1.0)),
    best(0.0),
    best(0.5),
]
"""Those whose estimators are not covered by the promise: docs/judging.md says why."""
