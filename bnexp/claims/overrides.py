"""The overrides of an experiment instance as they are stored, "steps=20 seeds=10", and the command that has them."""

import shlex
from collections.abc import Iterable


def but_seeds(overrides: str) -> list[str]:
    """The overrides one by one, in order of their names, without the seeds: what makes instances alike."""
    return sorted(part for part in shlex.split(overrides) if not part.startswith("seeds="))


def with_seeds(overrides: str, seeds: int) -> str:
    """The same overrides with so many seeds."""
    kept = (part for part in shlex.split(overrides) if not part.startswith("seeds="))
    return shlex.join([*kept, f"seeds={seeds}"])


def run_command(experiments: Iterable[str], overrides: str) -> str:
    """The command that runs these experiments with `overrides` as an instance has them."""
    words = ["bnexp", "run", *experiments]
    for part in shlex.split(overrides):
        words += ["--seeds", part.removeprefix("seeds=")] if part.startswith("seeds=") else ["--set", part]
    return shlex.join(words)
