"""Before and after the training: from experiments to instances whose trials have identities, written down in the
database with the claims about them; and the verdicts on what has come out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from bnexp.claims.about import about, sources
from bnexp.claims.model import Claim
from bnexp.claims.report import make_report
from bnexp.claims.stored import judged
from bnexp.config import TrialConfig
from bnexp.data.dataset import Dataset, Source, source
from bnexp.db.expanding import identified
from bnexp.db.results import Results
from bnexp.db.rows import Instance, WantedTrial
from bnexp.db.store import Store
from bnexp.design import Experiment, Trial
from bnexp.errors import UsageError
from bnexp.options import OwnModelOptions


def instantiate(experiment: Experiment, overrides: str, data_dir: Path | None) -> Instance:
    """Expand `experiment` and find the identity of every trial. Raises DatasetError where a dataset is missing."""
    identify = Identifier(data_dir)
    trials, tuning = identify(experiment.expand()), identify(experiment.tuning_trials())
    tune = str(experiment.tune) if experiment.tune else ""
    return Instance(experiment.name, experiment.about, overrides, identify.margin, trials, tuning, tune)


def rehearse(instance: Instance, data_dir: Path | None) -> None:
    """Build a network of every kind that the instance trains. Raises UsageError where one could not train: it would
    fail each time that it is tried."""
    from bnexp.engine import rehearsal  # with torch, which a run of what is known can do without

    datasets: dict[str, Dataset] = {}
    seen: set[tuple[object, ...]] = set()
    for arm, config in _kinds([*instance.tuning, *instance.trials]):
        norm = tuple(value for _, value in config.norm if not isinstance(value, float))  # what shapes a network
        kind = config.dataset, config.image_size, config.batch_size, config.model, norm, config.sources, _taken(config)
        if kind in seen:
            continue
        seen.add(kind)
        if config.dataset not in datasets:
            datasets[config.dataset] = source(config.dataset, data_dir).read()
        try:
            rehearsal.rehearse(config, datasets[config.dataset])
        except UsageError as error:
            which = f"{instance.name}, {arm}" if arm else instance.name
            raise UsageError(f"{which}: {error}; change it, or leave it out with `exclude`") from error


def _kinds(trials: Sequence[WantedTrial]) -> Iterator[tuple[str, TrialConfig]]:
    """An arm and a trial of it; of networks of a person's own, which may not take a level that is tuned, each trial."""
    for arm, same in groupby(trials, key=attrgetter("arm")):
        first = next(same).config
        yield arm, first
        if isinstance(first.model, OwnModelOptions):
            yield from ((arm, trial.config) for trial in same)


def _taken(config: TrialConfig) -> tuple[object, ...]:
    """What else a network of a person's own may not take."""
    if not isinstance(config.model, OwnModelOptions):
        return ()
    return config.nonlinearity, config.precision, bool(config.probes), config.dropout > 0, config.init_scale != 1


class Identifier:
    """Finds the identity of trials on this machine's data."""

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self._sources: dict[str, tuple[Source, str]] = {}

    def __call__(self, trials: Iterable[Trial]) -> list[WantedTrial]:
        """The trials with their identities. Raises DatasetError where a dataset is missing."""
        return identified(trials, self._data)

    def _data(self, name: str) -> tuple[str, int]:
        if name not in self._sources:
            found = source(name, self.data_dir)
            self._sources[name] = found, found.fingerprint()
        dataset, fingerprint = self._sources[name]
        return fingerprint, dataset.classes

    @property
    def margin(self) -> float:
        """The largest margin of the datasets met."""
        return max(dataset.margin for dataset, _ in self._sources.values())


def enroll(
    store: Store, instances: Sequence[Instance], claims: Mapping[str, Claim], retry_failed: bool = False
) -> list[int]:
    """Lock the claims about these instances and write down what is wanted, with `retry_failed` what failed before
    too."""
    ids = []
    for instance in instances:
        _lock(store, instance, claims)
        ids.append(store.register(instance))
        if retry_failed:
            store.retry(ids[-1])
    return ids


def _lock(store: Store, instance: Instance, claims: Mapping[str, Claim]) -> None:
    """Lock the claims about an instance. One that speaks of a normalizer in the place of batch normalization follows
    from the file's, which is locked first, and is as old as it."""
    ours, named = about(claims, instance), sources(claims, instance)
    made_from = {claim.key(name): claims[named[name]].key(named[name]) for name, claim in ours.items()}
    for together in ({name: claims[name] for name in named.values()}, ours):
        store.lock_claims([(claim.key(name), name, claim.definition()) for name, claim in together.items()], made_from)


def close_books(
    store: Store, experiment_ids: Sequence[int], claims: Mapping[str, Claim], files: Path | None = None
) -> None:
    """Judge the claims about each instance and store the verdicts. `files` is the folder of what is kept of trials,
    where it is not the database's own."""
    store.patience(partial(_judge, store, experiment_ids, claims, files))


def _judge(store: Store, experiment_ids: Sequence[int], claims: Mapping[str, Claim], files: Path | None) -> None:
    results = Results(store.database)
    results.files = files or results.files
    try:
        for instance in results.instances():
            if instance.id in experiment_ids:
                findings = make_report(results, instance, about(claims, instance)).findings
                store.store_verdicts(instance.id, [judged(finding) for finding in findings])
    finally:
        results.close()
