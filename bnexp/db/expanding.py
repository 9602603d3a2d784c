"""From an experiment's design to trials that have identities, and whether that gives what is stored."""

import shlex
from collections.abc import Callable, Iterable
from itertools import groupby

from sqlalchemy import text

from bnexp.db.connection import explained
from bnexp.db.results import InstanceInfo, Results
from bnexp.db.rows import Instance, WantedTrial
from bnexp.design import Experiment, Trial
from bnexp.errors import UsageError
from bnexp.identity import trial_keys
from bnexp.replacement import in_place, replaced_in, split

FINGERPRINTS = text(
    "select distinct dataset, fingerprint, classes from trials t join experiment_trials e on e.trial_id = t.id "
    "where e.experiment_id = :id"
)


def identified(trials: Iterable[Trial], data: Callable[[str], tuple[str, int]]) -> list[WantedTrial]:
    """The trials with their identities on datasets of which `data` tells the fingerprint and the number of classes."""
    wanted = []
    # Trials of one arm and level differ in their seed only.
    for (variant, arm, _), same in groupby(trials, key=lambda trial: (trial.variant, trial.arm, trial.level)):
        configs = [trial.config for trial in same]
        fingerprint, classes = data(configs[0].dataset)
        keys = trial_keys(configs[0], fingerprint, (config.seed for config in configs))
        wanted += [
            WantedTrial(key, config, fingerprint, classes, variant, arm)
            for key, config in zip(keys, configs, strict=True)
        ]
    return wanted


def expands_alike(results: Results, experiment: Experiment, stored: InstanceInfo) -> bool | None:
    """Whether the experiment, with the overrides of the `stored` instance, has that instance's trials, on the data that
    these were trained on. None where the overrides cannot be read."""
    with explained(results.url), results.engine.connect() as connection:
        known = {row[0]: (row[1], row[2]) for row in connection.execute(FINGERPRINTS, {"id": stored.id})}
    try:
        normalizer, (_, others) = replaced_in(stored.overrides), split(stored.overrides)
        experiment = in_place(experiment, normalizer) if normalizer else experiment
        words = shlex.split(others)
        seeds = next((word.removeprefix("seeds=") for word in words if word.startswith("seeds=")), None)
        ours = experiment.override([word for word in words if not word.startswith("seeds=")], seeds)
        trials, tuning = (identified(stage, known.__getitem__) for stage in (ours.expand(), ours.tuning_trials()))
    except KeyError:  # of a dataset on which nothing was trained
        return False
    except (UsageError, ValueError):
        return None
    tune = str(ours.tune) if ours.tune else ""
    return Instance(stored.name, "", "", 0.0, trials, tuning, tune).expansion == stored.expansion
