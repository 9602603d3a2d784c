"""The battery: the paper's claims as a test of any normalizer. The experiments of the file's suite `battery`, with the
normalizer in the place of batch normalization, each against what it was against before."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bnexp import own
from bnexp.claims.model import Claim
from bnexp.claims.scorecard import SUITE, Column, Scorecard, column
from bnexp.db.results import Results
from bnexp.db.summaries import count_trials
from bnexp.errors import UsageError
from bnexp.experiments import ExperimentsFile
from bnexp.replacement import Normalizer, in_place
from bnexp.stages import Wish, refuse_impossible


@dataclass(frozen=True)
class Battery:
    """What is to be run to test one normalizer."""

    normalizer: Normalizer
    wishes: list[Wish]
    impossible: dict[str, str] = field(default_factory=dict)
    """Experiments that it cannot train in, and why."""


def normalizers(texts: Iterable[str]) -> list[Normalizer]:
    """The normalizers that were named, each once. Raises ConfigurationError where a file could not name one, UsageError
    where one is what they are compared with."""
    found = [_named(text) for text in texts]
    if any(one.name == "none" for one in found):
        raise UsageError("--norm none: networks without normalization are what every normalizer is compared with")
    return list({one.label: one for one in found}.values())


def _named(text: str) -> Normalizer:
    """The normalizer that a person means, which is there."""
    normalizer = Normalizer.parse(text, f"--norm {text}")
    if own.is_own(normalizer.name):
        try:
            own.found(normalizer.name)
        except UsageError as error:
            raise UsageError(f"--norm {text}: {error}") from error
    return normalizer


def batteries(
    file: ExperimentsFile,
    wanted: Iterable[Normalizer],
    assignments: Sequence[str],
    seeds: str | None,
    data_dir: Path | None,
    say: Callable[[str], None],
) -> list[Battery]:
    """The battery of each normalizer, with the overrides that were asked for; `say` is told what they take away.
    Raises UsageError where the file has no battery, DatasetError where a dataset is missing."""
    if SUITE not in file.suites:
        raise UsageError(
            f"no suite {SUITE!r} in {file.document.name}: list its experiments there under `suites:`, or leave --file "
            "out to have those that come with bnexp"
        )
    others = [*assignments, *([f"seeds={seeds}"] if seeds else [])]
    said: set[str] = set()
    found = []
    for normalizer in wanted:
        wishes = []
        for experiment in file.named([SUITE]):
            ours = in_place(experiment, normalizer).override(assignments, seeds)
            for note in (f"{ours.name}: {note}" for note in ours.notes):
                if note not in said:
                    say(note)
                said.add(note)
            overrides = " ".join(filter(None, [normalizer.phrase, *others]))
            wishes.append(Wish.of(ours, overrides, data_dir))
        found.append(Battery(normalizer, wishes))
    return found


def possible(battery: Battery, results: Results | None) -> Battery:
    """The battery without the experiments that its normalizer cannot train in. Raises UsageError where it can in
    none."""
    kept: list[Wish] = []
    impossible: dict[str, str] = {}
    for wish in battery.wishes:
        try:
            refuse_impossible([wish], results)
            kept.append(wish)
        except UsageError as error:
            if len(impossible) == len(battery.wishes) - 1:
                raise
            impossible[wish.instance.name] = str(error)
    return Battery(battery.normalizer, kept, impossible)


def score(results: Results, claims: Mapping[str, Claim], asked: Sequence[Battery]) -> Scorecard:
    """What is stored of these batteries, as a scorecard."""
    members = {name for one in asked for name in (*(wish.instance.name for wish in one.wishes), *one.impossible)}
    ours = {name: claim for name, claim in claims.items() if claim.experiment in members}
    columns: list[Column] = []
    ids: list[int] = []
    for battery in asked:
        instances = [results.latest(None, number) for number in _numbers(battery, results)]
        ids += [instance.id for instance in instances]
        columns.append(column(results, ours, battery.normalizer, instances, battery.impossible))
    return Scorecard(ours, columns, count_trials(results, ids))


def _numbers(battery: Battery, results: Results) -> Iterator[int]:
    """Of the instances that have been run."""
    for wish in battery.wishes:
        number = wish.find(results)
        if number is not None:
            yield number
