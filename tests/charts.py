"""A database made by hand, and the experiments file it goes with, for the tests of charts."""

from dataclasses import replace
from pathlib import Path

from bnexp.config import TrialConfig
from bnexp.db.results import Results
from bnexp.db.rows import WantedTrial
from bnexp.experiments import load
from bnexp.records import Final, Outcome, Point, Probe
from bnexp.reports.charts.asked import Asked
from tests.databases import never, of, register, train
from tests.test_db import wanted

FILE = """
experiments:
  inside:
    factors: {norm: [none, batch]}
    probes: [percentiles]
  crossed:
    factors: {norm: [none, batch], lr_multiplier: [1, 30], init_scale: [1, 10]}
  raced:
    variants: {none: {norm: none}, BN: {norm: batch}}
    paper:
      title: Figure 3
      control: Inception
      rows:
        Inception: {variant: none, learning_rate: 0.0015, steps: 31.0e+6, accuracy: 72.2}
        BN: {steps: 13.3e+6, accuracy: 72.7}
        BN-x5-Sigmoid: {steps: not reached, accuracy: 69.8}
  plain: {norm: batch}
suites: {all: [inside, crossed, raced], one: [plain], battery: [raced]}
claims:
  ahead:
    question: Is BN ahead?
    section: own
    quote: it is
    experiment: raced
    arms: {treatment: {variant: BN}, control: {variant: none}}
    estimator: {name: difference}
    supported_if: {low: {at_least: 0}}
    supported: It is.
"""
STEPS = (1, 10, 20)
SLOW, FAST = (0.1, 0.3, 0.5), (0.2, 0.5, 0.7)
"""Validation accuracies at these steps, of seed 0, without and with BN; of the next seed each is 0.02 higher."""
HOSTILE = '</script><script>alert("x")</script> & <b>\x1b[31m\ufffe'


def curve(config: TrialConfig, points: int = len(STEPS)) -> tuple[Point, ...]:
    """As SLOW and FAST say; losses are 1, 0.1 and 0.01."""
    accuracies = [each + 0.02 * config.seed for each in (FAST if config.norm.name == "batch" else SLOW)]
    return tuple(
        Point(step, 0.1**index, accuracy, 0.1**index, accuracy)
        for index, (step, accuracy) in enumerate(zip(STEPS[:points], accuracies, strict=False))
    )


def ends(slot: int, config: TrialConfig) -> Outcome:
    """At its last accuracy; without BN it diverges at 30 times the rate after its second evaluation. Those of binary
    pictures have probes."""
    if config.norm.name == "none" and config.lr_multiplier == 30:
        return Outcome(slot, "diverged", curve(config, 2), None, 12, "nan")
    points = curve(config)
    last = points[-1].validation_accuracy
    measured = probes(config) if config.binarize else ()
    return Outcome(slot, "finished", points, Final(0.1, last, 0.2, last, 0.3, last), probes=measured)


def probes(config: TrialConfig) -> tuple[Probe, ...]:
    """Two units, around 0 and around 1; they move by the step over 10 without BN, and not with it."""
    found = []
    for step in (0, 20):
        moved = 0.0 if config.norm.name == "batch" else step / 10 + config.seed
        for name, offset in (("p15", -1.0), ("p50", 0.0), ("p85", 1.0)):
            units = (moved + offset, moved + offset + 1)
            found.append(Probe(step, "hidden 0", f"percentiles {name}", sum(units) / 2, units))
    return tuple(found)


def trials(variant: bool = False, **factors: list[object]) -> list[WantedTrial]:
    """Two seeds of each norm, and of each of the levels."""
    arms: list[dict[str, object]] = [{"norm": norm} for norm in ("none", "batch")]
    for name, levels in factors.items():
        arms = [{**arm, name: level} for arm in arms for level in levels]
    names = {"none": "none", "batch": "BN"}
    found = []
    for arm in arms:
        named = names[str(arm["norm"])] if variant else ""
        words = named or ", ".join(f"{name} {level}" for name, level in arm.items())
        found += [replace(wanted(named, seed=seed, **arm), arm=words) for seed in (0, 1)]
    return found


def made(folder: Path) -> Asked:
    """What can be asked of the database that is made in `folder`."""
    (folder / "experiments.yaml").write_text(FILE)
    database = str(folder / "bnexp.db")
    crossed = trials(lr_multiplier=[1, 30], init_scale=[1, 10])
    numbers = register(
        database, of("inside", trials(binarize=[True])), of("raced", trials(variant=True)), of("crossed", crossed)
    )
    train(database, numbers, ends)
    waiting = register(database, of("waits", [wanted(seed=7)]), of(HOSTILE, trials(dropout=[0.5])))
    train(database, waiting[:1], never, leave="stay")
    train(database, waiting[1:], ends)
    return Asked(Results(database), load(folder / "experiments.yaml"))
