"""The overrides of an experiment instance as they are stored, "steps=20 seeds=10", and the command that has them."""

import shlex
from collections.abc import Iterable

from bnexp.replacement import split


def but_seeds(overrides: str) -> list[str]:
    """The overrides one by one, in order of their names, without the seeds: what makes instances alike."""
    normalizer, others = split(overrides)
    return [normalizer, *sorted(part for part in shlex.split(others) if not part.startswith("seeds="))]


def with_seeds(overrides: str, seeds: int) -> str:
    """The same overrides with so many seeds."""
    _, others = split(overrides)
    first = overrides.removesuffix(others).rstrip()
    kept = (part for part in shlex.split(others) if not part.startswith("seeds="))
    return f"{first} {shlex.join([*kept, f'seeds={seeds}'])}".lstrip()


def run_command(experiments: Iterable[str], overrides: str) -> str:
    """The command that runs these experiments with `overrides` as an instance has them: the battery, where a
    normalizer has taken a place in it."""
    normalizer, others = split(overrides)
    words = ["bnexp", "battery", "--norm", normalizer] if normalizer else ["bnexp", "run", *experiments]
    return shlex.join([*words, *_options(others)])


def battery_command(normalizers: Iterable[str], overrides: str) -> str:
    """The command that tests these normalizers with what `overrides` have beside one."""
    named = [word for normalizer in normalizers for word in ("--norm", normalizer)]
    return shlex.join(["bnexp", "battery", *named, *_options(split(overrides)[1])])


def _options(others: str) -> list[str]:
    words = []
    for part in shlex.split(others):
        words += ["--seeds", part.removeprefix("seeds=")] if part.startswith("seeds=") else ["--set", part]
    return words
