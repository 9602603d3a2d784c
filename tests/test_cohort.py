"""Who trains together, where curves have points, and what makes a trial the same trial."""

import json
import math
import typing
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from bnexp import config as configuration
from bnexp import identity, registry
from bnexp import options as component_options
from bnexp.config import TrialConfig, columns, leaves
from bnexp.engine.cohort import CAPACITY, evaluation_steps, group, streams
from bnexp.identity import cohort_key, trial_key
from bnexp.marks import MISSING, Fields, Mark, per_trial, recorded, static

PRINT = "fingerprint"
DEFAULT = TrialConfig()
FULL = TrialConfig.model_validate(
    {
        "norm": "batch",
        "schedule": {"name": "exponential", "decay": 0.5, "every": 100.0},
        "nonlinearity": "relu",
    }
)
"""A configuration to which every field applies."""

OTHER: dict[str, Any] = {
    "binarize": True,
    "probes": ("moments",),
    "norm.stop_gradient": True,
    "dataset": "mnist",
    "model.hidden": (100, 100, 99),
    "norm.name": "none",
    "norm.eps": 1e-3,
    "norm.momentum": 0.2,
    "norm.position": "after",
    "nonlinearity": "tanh",
    "batch_size": 61,
    "steps": 1001,
    "eval_every": 51,
    "optimizer.name": "adam",
    "optimizer.lr": 0.03,
    "optimizer.momentum": 0.8,
    "optimizer.weight_decay": 1e-4,
    "schedule.name": "constant",
    "schedule.decay": 0.25,
    "schedule.every": 200.0,
    "lr_multiplier": 5.0,
    "dropout": 0.1,
    "init_scale": 2.0,
    "split": 1,
    "shuffle": "fixed",
    "precision": "float64",
    "seed": 1,
    "member": 1,
    "keep": ("weights",),
    "image_size": 32,
    "crops": 10,
    "augment.name": "crop",
    "norm.per_activation": 1,
    "model.name": "cnn",
    "sources": ("mine:Norm 0",),
}
"""Another value of every field than FULL's."""


def with_value(trial: TrialConfig, name: str, value: Any) -> TrialConfig:
    """`trial` with the field of that dotted name set; a name of options goes without the old options."""
    content: dict[str, Any] = trial.model_dump()
    outer, _, inner = name.partition(".")
    if inner == "name":
        content[outer] = value
    elif inner:
        content[outer][inner] = value
    else:
        content[name] = value
    return TrialConfig.model_validate(content)


levels = st.sampled_from([1.0, 5.0, 30.0])
trials = st.builds(
    TrialConfig,
    batch_size=st.sampled_from([30, 60]),
    nonlinearity=st.sampled_from(["relu", "sigmoid"]),
    eval_every=st.sampled_from([50, 100]),
    lr_multiplier=levels,
    dropout=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 5),
)
listings = st.lists(st.tuples(trials, st.sampled_from(["a", "b"])), max_size=60)
limits = st.integers(1, 30)


@given(listings, limits)
@settings(deadline=None)
def test_group_puts_every_trial_in_one_cohort_of_its_like(listed: list[tuple[TrialConfig, str]], limit: int) -> None:
    """Every index once, none empty, the limit kept, and the static fields and the data equal within."""
    cohorts = list(group(listed, limit))
    assert sorted(index for cohort in cohorts for index in cohort) == list(range(len(listed)))
    for cohort in cohorts:
        assert 1 <= len(cohort) <= limit
        shared = {
            (print_, *((leaf.name, leaf.value) for leaf in leaves(trial) if leaf.mark.kind != "per_trial"))
            for trial, print_ in (listed[index] for index in cohort)
        }
        assert len(shared) == 1


@given(listings, limits)
@settings(deadline=None)
def test_group_keeps_the_trials_of_a_seed_together(listed: list[tuple[TrialConfig, str]], limit: int) -> None:
    """In one cohort, side by side, where they fit; else in as few as hold them, in sizes that differ by one
    at most."""
    places: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for number, cohort in enumerate(group(listed, limit)):
        for slot, index in enumerate(cohort):
            trial, print_ = listed[index]
            places[cohort_key(trial, print_), trial.seed].append((number, slot))
    for found in places.values():
        by_cohort = Counter(number for number, _ in found)
        assert len(by_cohort) == math.ceil(len(found) / limit)
        assert max(by_cohort.values()) - min(by_cohort.values()) <= 1
        for number in by_cohort:
            slots = sorted(slot for n, slot in found if n == number)
            assert slots == list(range(slots[0], slots[0] + len(slots)))


@given(listings, limits, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_group_cuts_alike_in_whatever_order_the_trials_come(
    listed: list[tuple[TrialConfig, str]], limit: int, rng: Any
) -> None:
    shuffled = rng.sample(listed, len(listed))

    def shapes(given_: list[tuple[TrialConfig, str]]) -> list[list[tuple[str, int]]]:
        return [[(cohort_key(*given_[i]), given_[i][0].seed) for i in cohort] for cohort in group(given_, limit)]

    assert shapes(listed) == shapes(shuffled)


def test_group_fills_cohorts_with_whole_seeds() -> None:
    """Eight levels of ten seeds make three seeds a cohort of 24, never a seed in two; on a GPU all are one."""
    listed = [
        (TrialConfig(lr_multiplier=float(level), seed=seed), PRINT) for level in range(1, 9) for seed in range(10)
    ]
    assert [len(cohort) for cohort in group(listed, 24)] == [24, 24, 24, 8]
    assert [len(cohort) for cohort in group(listed, CAPACITY["cuda"])] == [80]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=24))
def test_a_stream_is_of_one_seed_and_streams_divide_the_trials(seeds: list[int]) -> None:
    found = streams(seeds)
    assert len(seeds) % len(found) == 0
    share = len(seeds) // len(found)
    assert [seed for seed in found for _ in range(share)] == seeds


@given(st.integers(1, 6), st.lists(st.integers(0, 100), min_size=1, max_size=6, unique=True))
def test_seeds_with_equally_many_consecutive_slots_share_a_stream(share: int, seeds: list[int]) -> None:
    assert streams([seed for seed in seeds for _ in range(share)]) == seeds


@given(st.integers(1, 20_000), st.integers(1, 30_000))
def test_evaluation_steps_rise_to_the_last_step(steps: int, every: int) -> None:
    """Sorted, unique, within 1 .. steps, the last included; every `every` steps, few and geometric before."""
    found = evaluation_steps(steps, every)
    assert all(a < b for a, b in pairwise(found))
    assert found[0] == (1 if min(steps, every) > 1 else min(steps, every))
    assert found[-1] == steps
    assert set(range(every, steps + 1, every)) <= set(found)
    early = [step for step in found if step < every]
    assert len(early) <= 3 + math.log(min(steps, every)) / math.log(1.5)
    assert all(b <= 2 * a for a, b in pairwise(early))
    assert len(found) <= len(early) + math.ceil(steps / every)


def test_evaluation_steps_of_the_defaults() -> None:
    assert evaluation_steps(100, 50) == [1, 2, 3, 5, 8, 13, 21, 34, 50, 100]
    assert evaluation_steps(1, 50) == [1]
    assert evaluation_steps(5, 1) == [1, 2, 3, 4, 5]


def options(cls: type[BaseModel]) -> Iterator[type[Fields]]:
    """The package's own classes of fields under `cls`."""
    for child in cls.__subclasses__():
        if child.__module__ in (configuration.__name__, component_options.__name__) and issubclass(child, Fields):
            yield child
            yield from options(child)


def nests(annotation: Any) -> bool:
    """Whether a field of that type holds fields of its own."""
    if isinstance(annotation, type):
        return issubclass(annotation, Fields)
    return any(nests(part) for part in typing.get_args(annotation))


def test_every_leaf_has_exactly_one_mark_and_a_column_of_its_own() -> None:
    for cls in options(Fields):
        for name, info in cls.model_fields.items():
            marks = [item for item in info.metadata if isinstance(item, Mark)]
            assert len(marks) == (0 if nests(info.annotation) else 1), f"{cls.__name__}.{name}"
    names = [leaf.name for leaf in leaves(FULL)]
    assert set(names) == set(OTHER)
    assert len({leaf.mark.column for leaf in leaves(FULL)}) == len(names) == len(set(names))
    assert all(leaf.mark.unit for leaf in leaves(FULL))


def test_the_default_trial_has_the_key_it_always_had() -> None:
    """Golden: a change here renames every stored trial."""
    assert trial_key(DEFAULT, PRINT) == "3e392d21c3d89e8330f4f6ecd4a36f3b37a806a83f4fcefe88089f53d23690db"
    assert trial_key(FULL, PRINT) == "37685ad257ef14ab9b51090552ae1fa204ccf95a09166cd9d6984bf992bd8d38"


@pytest.mark.parametrize("name", sorted(OTHER))
def test_a_field_changes_the_keys_that_its_mark_says(name: str) -> None:
    """Per-trial fields change a trial's key, recorded ones the cohort's, static ones both."""
    [kind] = [leaf.mark.kind for leaf in leaves(FULL) if leaf.name == name]
    changed = with_value(FULL, name, OTHER[name])
    assert (trial_key(changed, PRINT) != trial_key(FULL, PRINT)) == (kind != "recorded")
    assert (cohort_key(changed, PRINT) != cohort_key(FULL, PRINT)) == (kind != "per_trial")


def test_the_marks_are_as_the_design_says() -> None:
    kinds = {leaf.name: leaf.mark.kind for leaf in leaves(FULL)}
    numbers = {
        "optimizer.lr",
        "optimizer.momentum",
        "optimizer.weight_decay",
        "lr_multiplier",
        "dropout",
        "init_scale",
    }
    numbers |= {"schedule.decay", "schedule.every", "seed", "member"}
    assert {name for name, kind in kinds.items() if kind == "per_trial"} == numbers
    assert {name for name, kind in kinds.items() if kind == "recorded"} == {"eval_every", "probes", "keep"}


@given(
    st.lists(st.sampled_from(sorted(OTHER)), unique=True),
    st.lists(st.sampled_from(sorted(OTHER)), unique=True),
)
@settings(deadline=None)
def test_trials_have_one_key_exactly_where_they_are_the_same(first: list[str], second: list[str]) -> None:
    """Whatever is changed, and whatever order the changes come in."""

    def build(names: list[str]) -> TrialConfig:
        trial = FULL
        for name in sorted(names, key=lambda name: not name.endswith(".name")):
            if name in {leaf.name for leaf in leaves(trial)}:
                trial = with_value(trial, name, OTHER[name])
        return trial

    def identity(trial: TrialConfig) -> dict[str, Any]:
        return {leaf.name: leaf.value for leaf in leaves(trial) if leaf.mark.kind != "recorded"}

    a, b = build(first), build(second)
    assert (trial_key(a, PRINT) == trial_key(b, PRINT)) == (identity(a) == identity(b))


def test_the_data_and_raised_revisions_change_both_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision of a component that the trial does not use changes nothing, nor does revision 1."""
    before = trial_key(FULL, PRINT), cohort_key(FULL, PRINT)
    assert trial_key(FULL, "other") != before[0] and cohort_key(FULL, "other") != before[1]
    for revisions, same in (({"tanh": 2}, True), ({"relu": 1}, True), ({"relu": 2}, False)):
        monkeypatch.setattr(registry, "REVISIONS", revisions)
        assert (trial_key(FULL, PRINT) == before[0], cohort_key(FULL, PRINT) == before[1]) == (same, same)


@pytest.mark.parametrize("name", sorted(leaf.name for leaf in leaves(FULL)))
def test_a_field_at_its_origin_is_left_out_of_the_trial_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no origin always stands in it (names, the dataset, the seed); what is recorded never does."""
    [mark] = [leaf.mark for leaf in leaves(FULL) if leaf.name == name]
    monkeypatch.setattr(identity, "_digest", lambda content: content["config"])
    other = trial_key(with_value(FULL, name, OTHER[name]), PRINT)
    if mark.kind == "recorded":
        assert name not in trial_key(FULL, PRINT) and name not in other
    elif mark.origin is MISSING:
        assert name.endswith(".name") or name in {"dataset", "seed", "schedule.decay", "schedule.every"}
        assert name in trial_key(FULL, PRINT)
    else:
        assert name not in trial_key(with_value(FULL, name, mark.origin), PRINT)
        assert name in other


class Later(TrialConfig):
    """TrialConfig some versions on: new fields, whose defaults have moved since they were introduced."""

    warmup: Annotated[float, per_trial("steps", "warmup", origin=0.0)] = 10.0
    depth: Annotated[int, static("blocks", "depth", origin=1)] = 1
    note: Annotated[bool, recorded("whether", "note")] = False


def test_a_new_field_never_renames_old_trials() -> None:
    old = trial_key(DEFAULT, PRINT)
    assert trial_key(Later(warmup=0.0), PRINT) == old
    assert trial_key(Later(warmup=0.0, note=True), PRINT) == old
    assert len({old, trial_key(Later(), PRINT), trial_key(Later(warmup=0.0, depth=2), PRINT)}) == 3


def test_keys_do_not_depend_on_how_a_value_was_written() -> None:
    """Whole numbers for floats, lists for tuples, names for options."""
    written = TrialConfig.model_validate(
        {
            "norm": "none",
            "model": {"hidden": [100, 100, 100]},
            "lr_multiplier": 5,
            "dropout": 0,
            "optimizer": "sgd",
        }
    )
    same = TrialConfig(lr_multiplier=5.0)
    assert trial_key(written, PRINT) == trial_key(same, PRINT)
    assert cohort_key(written, PRINT) == cohort_key(same, PRINT)
    assert TrialConfig.model_validate_json(same.model_dump_json()) == same
    assert TrialConfig.model_validate(json.loads(json.dumps(same.model_dump()))) == same


def test_fields_that_do_not_apply_are_in_no_key_and_no_column() -> None:
    plain = {leaf.name for leaf in leaves(DEFAULT)}
    assert not plain & {"norm.eps", "norm.momentum", "schedule.decay", "schedule.every"}
    assert "norm_eps" not in columns(DEFAULT) and columns(DEFAULT)["hidden"] == "[100, 100, 100]"
    with pytest.raises(ValidationError):
        TrialConfig.model_validate({"norm": {"name": "none", "momentum": 0.2}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dropout", 1.0),
        ("dropout", float("nan")),
        ("dropout", "0.5"),
        ("dropout", True),
        ("steps", 0),
        ("steps", 10.0),
        ("batch_size", 1),
        ("lr_multiplier", 0.0),
        ("lr_multiplier", float("inf")),
        ("init_scale", -1.0),
        ("seed", 2**63),
        ("seed", -1),
        ("model.hidden", ()),
        ("model.hidden", (0,)),
        ("norm", "layered"),
        ("nonlinearity", "gelu"),
        ("dataset", "imagenet"),
        ("optimizer.momentum", 1.0),
        ("momentum", 0.9),
    ],
)
def test_values_out_of_bounds_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        with_value(DEFAULT, name, value)
