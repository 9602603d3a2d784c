"""Experiments files: what they mean, what they expand to, and what is said of a wrong one."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config import TrialConfig
from bnexp.design import Trial
from bnexp.errors import ConfigurationError, UsageError
from bnexp.experiments import EXPERIMENT_KEYS, ROOT_KEYS, ExperimentsFile, load
from bnexp.identity import trial_key
from bnexp.normalizers import BatchNormOptions
from bnexp.settings import MOST_TRIALS, SETTABLE, flatten, resolve
from bnexp.yamlfile import parse_scalar

SHIPPED = Path(__file__).parents[1] / "experiments.yaml"
Load = Callable[[str], ExperimentsFile]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experiments") / "file.yaml"


@pytest.fixture
def read(path: Path) -> Load:
    """Reads a file of this text."""

    def read(text: str) -> ExperimentsFile:
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read


def marked(text: str) -> tuple[str, str]:
    """The text without its mark », and the line:column where it stood."""
    before, mark, after = text.partition("»")
    assert mark
    return before + after, f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def e(body: str) -> str:
    """A file with one experiment."""
    return f"experiments: {{e: {{{body}}}}}"


def configs(trials: list[Trial], *names: str) -> list[tuple[Any, ...]]:
    """The values of these fields, a tuple for each trial."""
    return [tuple(getattr(trial.config, name) for name in names) for trial in trials]


def norms(trials: list[Trial]) -> list[tuple[str, float | None]]:
    """Each trial's norm and its momentum."""
    return [(trial.config.norm.name, getattr(trial.config.norm, "momentum", None)) for trial in trials]


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Of processor time, some ten times what it takes: what is refused by counting must not be listed first."""
    start = time.process_time()
    yield
    assert time.process_time() - start < seconds


# The shipped file


def test_the_grid_is_the_papers_factors_crossed_over_ten_seeds() -> None:
    trials = load(SHIPPED).experiments["grid"].expand()
    names = ["lr_multiplier", "dropout", "init_scale", "nonlinearity", "seed"]
    found = [(trial.config.norm.name, *values) for trial, values in zip(trials, configs(trials, *names), strict=True)]
    levels: list[list[Any]] = [["none", "batch"], [1, 5, 30], [0, 0.4], [0.1, 1, 10], ["sigmoid", "relu"], [*range(10)]]
    assert len(found) == 720 and set(found) == set(itertools.product(*levels))
    assert len({trial_key(trial.config, "") for trial in trials}) == 720
    plain = {name: getattr(TrialConfig(), name) for name in ["norm", *names]}
    assert {trial.config.model_copy(update=plain) for trial in trials} == {TrialConfig()}
    config = trials[0].config
    assert (config.dataset, config.steps, config.batch_size) == ("digits", 1000, 60)
    assert (config.model.name, config.model.hidden) == ("mlp", (100, 100, 100))


def test_the_shipped_defaults_are_those_of_the_package() -> None:
    defaults = load(SHIPPED).document.data["defaults"]
    assert set(defaults) == SETTABLE
    assert resolve(flatten(defaults, str)) == TrialConfig()


# YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-1.5e+3", -1500.0),
        ("2.", 2.0),
        ("-.inf", float("-inf")),
        ("60", 60),
        ("-3", -3),
        ("010", 10),
        ("08", 8),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        *((word, word) for word in ("on", "off", "yes", "no", "On", "NO", "y", "n", "e3", "1e", "1st")),
        ("'1'", "1"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("[1, on]", [1, "on"]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse_scalar(text, "here")
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiments: {}\n»experiments: {}", "'experiments' stands here a second time"),
        ("experiments:\n  e:\n    dropout: 0\n    »dropout: 0.4", "'dropout' stands here a second time"),
        ("experiments: {e: {norm: {name: batch, »name: none}}}", "'name' stands here a second time"),
        ("a: b»: c", "not YAML: mapping values are not allowed here"),
        ("a:\n»\t- b", "not YAML"),
        ("a: »*b", "not YAML: found undefined alias"),
        ("a: 1\n»--- \nb: 1", "not YAML"),
        ("a: »!thing 3", "not YAML"),
        ("a: »!!python/name:os.system ''", "not YAML"),
        ("experiments: {»1: {}}", "must be text; put it in quotes"),
        ("experiments: {»true: {}}", "must be text; put it in quotes"),
        ("»~: {}", "must be text; put it in quotes"),
        ("»[a]: {}", "must be text"),
        ("»{a: 1}: {}", "must be text"),
        ("a: &a [»*a]".replace("»", "").replace("&a", "»&a"), "unfolds into too many values"),
    ],
)
def test_a_file_that_is_not_plain_yaml_is_refused_with_its_place(
    read: Load, path: Path, text: str, message: str
) -> None:
    text, place = marked(text)
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    assert caught.value.place == f"{path}:{place}"
    assert str(caught.value).startswith(f"{path}:{place}: ") and message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "\0",
        "[" * 5000,
        "[" * 200 + "]" * 200,
        "{a: " * 3000,
        *(f"a: !!{tag} {value}" for tag in ("int", "float", "bool", "timestamp") for value in ("x", "''")),
        "a: 9" + "9" * 5000,
        "a: &a ["
        + "x, " * 9
        + "]\n"
        + "".join(f"{b}: &{b} [{f'*{a}, ' * 9}]\n" for a, b in itertools.pairwise("abcdefgh")),
        "a: &a {x: 1}\n"
        + "".join(f"{b}: &{b} {{x: *{a}, y: *{a}}}\n" for a, b in itertools.pairwise("abcdefghijklmnopqrstuvwx")),
    ],
    ids=lambda text: text[:20],
)
def test_hostile_yaml_is_refused_quickly(read: Load, path: Path, text: str) -> None:
    with at_most(20), pytest.raises(ConfigurationError, match=f"^{path}"):
        read(text)


def test_aliases_repeat_what_they_name(read: Load) -> None:
    file = read(
        "defaults: &d {norm: &n {name: batch, momentum: 0.3}}\nexperiments: {e: {norm: *n, include: [*d], seeds: 1}}"
    )
    assert norms(file.experiments["e"].expand()) == [("batch", 0.3)]


def test_files_that_cannot_be_read_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff")
    (tmp_path / "empty").write_text("")
    (tmp_path / "comment").write_text("# nothing\n")
    for name, message in {
        "missing": "no such file",
        ".": "cannot be read",
        "latin": "cannot be read",
        "empty": "must be a mapping",
        "comment": "must be a mapping",
    }.items():
        with pytest.raises(ConfigurationError, match=message) as caught:
            load(tmp_path / name)
        assert caught.value.place == str(tmp_path / name)


# Expansion


def test_factors_cross_in_the_files_order_and_seeds_vary_fastest(read: Load) -> None:
    trials = (
        read(e("factors: {nonlinearity: [tanh, relu], dropout: [0.2, 0]}, seeds: [7, 3]")).experiments["e"].expand()
    )
    wanted = list(itertools.product(["tanh", "relu"], [0.2, 0], [7, 3]))
    assert configs(trials, "nonlinearity", "dropout", "seed") == wanted
    assert {trial.variant for trial in trials} == {""}


def test_variants_cross_with_factors_and_factors_win(read: Load) -> None:
    body = "variants: {plain: {}, wide: {init_scale: 10, dropout: 0.4}}, factors: {dropout: [0, 0.1]}, seeds: 1"
    trials = read(e(body)).experiments["e"].expand()
    assert [(t.variant, t.config.init_scale, t.config.dropout) for t in trials] == [
        ("plain", 1, 0),
        ("plain", 1, 0.1),
        ("wide", 10, 0),
        ("wide", 10, 0.1),
    ]


def test_included_points_follow_the_grid_once_and_are_not_crossed(read: Load) -> None:
    body = "steps: 7, factors: {dropout: [0, 0.4]}, include: [{init_scale: 3}, {dropout: 0.4}], seeds: 2"
    trials = read(e(body)).experiments["e"].expand()
    grid = [(0, 1, 7, 0), (0, 1, 7, 1), (0.4, 1, 7, 0), (0.4, 1, 7, 1)]
    assert configs(trials, "dropout", "init_scale", "steps", "seed") == [*grid, (0, 3, 7, 0), (0, 3, 7, 1)]


def test_excluded_points_are_those_with_all_of_an_entrys_values(read: Load) -> None:
    body = (
        "factors: {norm: [none, batch], dropout: [0, 0.4]}, include: [{norm: batch, dropout: 0.4, steps: 9}], seeds: 1"
    )
    for entry, left in {
        "{norm: batch, dropout: 0.4}": [("none", 0), ("none", 0.4), ("batch", 0)],
        "{norm: {name: batch}}": [("none", 0), ("none", 0.4)],
        "{norm.momentum: 0.1}": [("none", 0), ("none", 0.4)],
        "{dropout: 0}, {steps: 9}": [("none", 0.4), ("batch", 0.4)],
        "{model: {hidden: [100, 100, 100]}, norm: none}": [("batch", 0), ("batch", 0.4), ("batch", 0.4)],
    }.items():
        trials = read(e(f"{body}, exclude: [{entry}]")).experiments["e"].expand()
        assert [(t.config.norm.name, t.config.dropout) for t in trials] == left, entry


@pytest.mark.parametrize(
    ("seeds", "wanted"),
    [
        ("", range(10)),
        ("seeds: 3", range(3)),
        ("seeds: [5, 1, 1001]", [5, 1, 1001]),
        (f"seeds: [{2**63 - 1}]", [2**63 - 1]),
    ],
)
def test_seeds_are_a_count_or_a_list(read: Load, seeds: str, wanted: list[int]) -> None:
    assert configs(read(e(seeds)).experiments["e"].expand(), "seed") == [(seed,) for seed in wanted]


def test_a_nested_field_is_a_factor_under_its_dotted_name(read: Load) -> None:
    trials = read(e("factors: {optimizer.momentum: [0, 0.5], model.hidden: [[10], [20, 5]]}, seeds: 1")).experiments[
        "e"
    ]
    found = [(trial.config.optimizer.momentum, trial.config.model.hidden) for trial in trials.expand()]
    assert found == [(0, (10,)), (0, (20, 5)), (0.5, (10,)), (0.5, (20, 5))]


@pytest.mark.parametrize(
    "text",
    [
        "defaults: {optimizer.lr: 0.3}\nexperiments: {e: {}}",
        e("optimizer.lr: 0.3"),
        e("variants: {a: {optimizer.lr: 0.3}}"),
        e("factors: {optimizer.lr: [0.3]}"),
        e("optimizer: {lr: 0.3}"),
    ],
)
def test_a_dotted_name_means_the_same_wherever_it_stands(read: Load, text: str) -> None:
    assert {trial.config.optimizer.lr for trial in read(text).experiments["e"].expand()} == {0.3}


def test_a_level_may_be_a_component_with_its_fields(read: Load) -> None:
    trials = read(e("factors: {norm: [{name: batch, momentum: 0.2}, none, batch]}, seeds: 1")).experiments["e"].expand()
    assert norms(trials) == [("batch", 0.2), ("none", None), ("batch", 0.1)]


def test_a_components_name_is_short_for_a_mapping_with_it(read: Load) -> None:
    for short, long in [
        ("norm: batch", "norm: {name: batch}"),
        ("factors: {norm: [batch]}", "factors: {norm: [{name: batch}]}"),
    ]:
        first, second = (read(e(body)).experiments["e"].expand() for body in (short, long))
        assert first == second and norms(first) == [("batch", 0.1)] * 10


def test_a_renamed_component_forgets_the_others_fields_and_a_kept_one_does_not(read: Load) -> None:
    defaults = "defaults: {norm: {name: batch, momentum: 0.3}}\nexperiments: {e: {seeds: 1, %s}}"
    for body, wanted in {
        "norm: none": [("none", None)],
        "factors: {norm: [none, batch]}": [("none", None), ("batch", 0.3)],
        "norm: none, factors: {norm: [none, batch]}": [("none", None), ("batch", 0.1)],
        "norm: {eps: 0.1}": [("batch", 0.3)],
        "norm: {momentum: 0.4}": [("batch", 0.4)],
    }.items():
        assert norms(read(defaults % body).experiments["e"].expand()) == wanted, body


def test_a_factor_counts_whichever_order_the_factors_have(read: Load) -> None:
    """No level is lost where a component is named by a later factor than its field is."""
    factors = ["norm: [batch]", "norm.momentum: [0.2, 0.3]"]
    for first, second in itertools.permutations(factors):
        trials = (
            read(f"defaults: {{norm: none}}\n{e(f'factors: {{{first}, {second}}}, seeds: 1')}")
            .experiments["e"]
            .expand()
        )
        assert norms(trials) == [("batch", 0.2), ("batch", 0.3)]


def test_an_experiments_own_fields_override_the_defaults_for_it_alone(read: Load) -> None:
    text = "defaults: {steps: 5, dropout: 0.1}\nexperiments: {a: {steps: 6, seeds: 1}, b: {seeds: 1}}"
    file = read(text)
    assert configs(file.experiments["a"].expand() + file.experiments["b"].expand(), "steps", "dropout") == [
        (6, 0.1),
        (5, 0.1),
    ]


def test_empty_collections_mean_nothing_more(read: Load) -> None:
    """As in the design's own example, `include: []`."""
    body = "factors: {}, variants: {}, include: [], exclude: [], seeds: 1"
    file = read(f"defaults: {{}}\n{e(body)}\nsuites: {{}}\nclaims: {{}}")
    assert file.experiments["e"].expand() == [Trial(TrialConfig(), "")]


def test_suites_stand_for_their_experiments_each_once(read: Load) -> None:
    file = read("experiments: {a: {}, b: {}, c: {}}\nsuites: {s: [c, a], t: [b]}")
    assert [x.name for x in file.named(["s", "a", "t"])] == ["c", "a", "b"]
    assert [x.name for x in file.named(iter(["b", "s"]))] == ["b", "c", "a"]
    with pytest.raises(UsageError, match=r"no experiment 'aa' in .*known: a, b, c, s, t; did you mean 'a'\?"):
        file.named(["s", "aa"])


# --set and --seeds


def test_set_overrides_everything_and_its_field_is_no_longer_a_factor(read: Load) -> None:
    grid = "factors: {dropout: [0, 0.4], norm: [none, batch]}, include: [{dropout: 0.2}], exclude: [{dropout: 0.4}]"
    experiment = read(e(f"{grid}, seeds: 1")).experiments["e"]
    assert configs(experiment.expand(), "dropout") == [(0,), (0,), (0.2,)]
    changed = experiment.override(["dropout=1e-1", "norm={name: batch, momentum: 0.5}", "norm.eps=0"])
    assert list(changed.factors) == []
    assert configs(changed.expand(), "dropout") == [(0.1,)] and norms(changed.expand()) == [("batch", 0.5)]
    assert norms(experiment.override(["dropout=0.1"]).expand()) == [("none", None), ("batch", 0.1)]
    assert experiment.override([]).expand() == experiment.expand()


def test_set_overrides_variants_and_later_assignments_earlier_ones(read: Load) -> None:
    experiment = read(e("variants: {a: {steps: 1}, b: {steps: 2}}, seeds: 1")).experiments["e"]
    trials = experiment.override(["steps=8", "steps=9", "optimizer.lr=.5"]).expand()
    assert [(t.variant, t.config.steps, t.config.optimizer.lr) for t in trials] == [("a", 9, 0.5), ("b", 9, 0.5)]


def test_set_of_a_nested_field_keeps_the_factor_of_its_component(read: Load) -> None:
    """--set norm.eps must not silently take an arm away."""
    experiment = read(
        e("norm: batch, factors: {norm: [{name: batch, eps: 0.1}, {name: batch, momentum: 0.5}]}, seeds: 1")
    )
    trials = experiment.experiments["e"].override(["norm.eps=0.01"]).expand()
    assert norms(trials) == [("batch", 0.1), ("batch", 0.5)]


@pytest.mark.parametrize(("words", "wanted"), [("3", [0, 1, 2]), ("7,5", [7, 5]), ("7, 5", [7, 5])])
def test_seeds_can_be_given_on_the_command_line(read: Load, words: str, wanted: list[int]) -> None:
    assert read(e("seeds: 9")).experiments["e"].override([], words).seeds == wanted


@pytest.mark.parametrize(
    ("assignments", "seeds", "fragments"),
    [
        (["dropout=1"], None, ["--set dropout=1: ", "less than 1"]),
        (["dropout"], None, ["--set dropout: ", "FIELD=VALUE"]),
        (["dropout="], None, ["--set dropout=: ", "null", "number"]),
        (["dropout=[1"], None, ["--set dropout=[1:1:3: not YAML"]),
        (["dropout=!!bool x"], None, ["--set dropout=!!bool x", "not YAML"]),
        (["drpout=1"], None, ["--set drpout=1: ", "'drpout'", "did you mean 'dropout'?"]),
        (
            ["norm=bath"],
            None,
            ["--set norm=bath: ", "'bath'", "known: batch, batch-renorm, fixup, ghost-batch", "did you mean 'batch'?"],
        ),
        (["seed=3"], None, ["--set seed=3: ", "'seed'"]),
        (["=3"], None, ["--set =3: "]),
        *(
            ([], words, ["--seeds", "seeds must be a count or a list"])
            for words in ("0", "-1", "1,1", "", "a", "1,,2", "1.5")
        ),
        ([], str(MOST_TRIALS + 1), ["--seeds", "5,000,001"]),
        ([], "[1", ["--seeds", "not YAML"]),
    ],
)
def test_wrong_overrides_are_refused_by_their_words(
    read: Load, assignments: list[str], seeds: str | None, fragments: list[str]
) -> None:
    experiment = read(e("")).experiments["e"]
    with pytest.raises(ConfigurationError) as caught:
        experiment.override(assignments, seeds).expand()
    message = str(caught.value)
    assert message.startswith(fragments[0]) and all(fragment in message for fragment in fragments)


# Size


def test_a_billion_cells_are_counted_not_expanded(read: Load, path: Path) -> None:
    levels = ", ".join(map(str, range(1, 1001)))
    text = e(f"factors: {{steps: [{levels}], init_scale: [{levels}], lr_multiplier: [{levels}]}}, seeds: 1")
    experiment = read(text).experiments["e"]
    with at_most(5), pytest.raises(ConfigurationError, match="1,000,000,000 trials; at most 5,000,000") as caught:
        experiment.expand()
    assert caught.value.place == f"{path}:1:15"


def test_a_million_seeds_count_like_any_others(read: Load) -> None:
    with at_most(10):
        experiment = read(e("factors: {dropout: [0, 0.1, 0.2, 0.3, 0.4, 0.5]}, seeds: 1000000")).experiments["e"]
        assert len(experiment.seeds) == 10**6
        with pytest.raises(ConfigurationError, match="6,000,000 trials"):
            experiment.expand()
        with pytest.raises(ConfigurationError, match="9,000,000 trials"):
            read(e("variants: {a: {}, b: {}}, include: [{steps: 3}], seeds: 3000000")).experiments["e"].expand()


# Errors

LEVELS = "known: augment, batch_size, binarize, crops, dataset, "
NUMBER, WHOLE, FINITE = "it must be a number", "integer", "finite"
SEEDS = "seeds must be a count or a list of different whole numbers, not"
WRONG = [
    # Unknown names
    ("»experments: {}", "'experments'", "known: claims, defaults, experiments, suites", "did you mean 'experiments'?"),
    (e("»factor: {}"), "unknown key 'factor'", "known: about, augment, batch_size,", "did you mean 'factors'?"),
    (e("»drop: 0.1"), "'drop'", "did you mean 'dropout'?"),
    (e("»seed: 3"), "'seed'", "did you mean 'seeds'?"),
    ("defaults: {»dropuot: 0}\nexperiments: {e: {}}", "'dropuot'", LEVELS, "did you mean 'dropout'?"),
    ("experiments:\n  e:\n    factors:\n      norm: [none]\n      »dropuot: [0]", "dropuot", "did you mean 'dropout'?"),
    (e("variants: {a: {norm: batch}, b: {»dropuot: 0}}"), "'dropuot'", LEVELS, "did you mean 'dropout'?"),
    (e("include: [{dropout: 0}, {»dropuot: 0}]"), "'dropuot'", LEVELS, "did you mean 'dropout'?"),
    (e("exclude: [{»dropuot: 0}]"), "'dropuot'", LEVELS, "did you mean 'dropout'?"),
    (e("norm: {name: batch, »momentun: 0.1}"), "'momentun'", "known: eps, momentum", "did you mean 'momentum'?"),
    (e("optimizer: {»momentun: 0.1}"), "'momentun'", "lr, momentum", "did you mean 'momentum'?"),
    (e("factors: {optimizer.momentun: [»0.1]}"), "'momentun'", "lr, momentum", "did you mean 'momentum'?"),
    (e("norm: {name: none, »momentum: 0.1}"), "norm 'none' has no field 'momentum'"),
    (e("»dropout.rate: 1"), "'dropout.rate'", "did you mean 'dropout'?"),
    ("experiments: {e: {}}\nsuites: {s: [e, »f]}", "no experiment 'f'", "known: e"),
    # Unknown levels
    (e("»nonlinearity: sigmiod"), "sigmiod", "known: identity, relu, sigmoid, tanh", "did you mean 'sigmoid'?"),
    (e("factors: {nonlinearity: [relu, »swish]}"), "swish", "known: identity, relu, sigmoid, tanh"),
    (e("»norm: Batch"), "'Batch'", "known: batch, batch-renorm, fixup, ghost-batch", "did you mean 'batch'?"),
    (e("norm: {»name: bach}"), "'bach'", "known: batch, batch-renorm, fixup, ghost-batch", "did you mean 'batch'?"),
    (e("factors: {norm: [none, »bach]}"), "'bach'", "did you mean 'batch'?"),
    (e("factors: {norm: [none, {»name: bach}]}"), "'bach'", "did you mean 'batch'?"),
    (e("»dataset: digit"), "digit", "fashion-mnist", "did you mean 'digits'?"),
    (e("»model: mpl"), "'mpl'", "known: bn-inception, cnn, mlp", "did you mean 'mlp'?"),
    (e("»shuffle: epochs"), "'epochs'", "known: epoch, fixed", "did you mean 'epoch'?"),
    (e("»precision: float16"), "'float16'", "known: bfloat16, float32, float64"),
    (e("»schedule: exponential"), "schedule.decay must be given"),
    (e("schedule: {»name: exponential, decay: 0.5}"), "schedule.every must be given"),
    # Impossible values
    (e("»dropout: 1"), "dropout: 1 ", "less than 1"),
    (e("»dropout: -0.1"), "-0.1", "greater than or equal to 0"),
    (e("factors: {dropout: [0, 0.4, »1]}"), "dropout: 1 ", "less than 1"),
    ("defaults:\n  norm: batch\n  »dropout: 1\nexperiments: {e: {}}", "dropout: 1 ", "less than 1"),
    (e("variants: {a: {»dropout: 2}}"), "dropout: 2 ", "less than 1"),
    (e("include: [{»dropout: 2}]"), "dropout: 2 ", "less than 1"),
    (e("»batch_size: 1"), "batch_size: 1 ", "greater than or equal to 2"),
    (e("»steps: 0"), "steps: 0 ", "greater than or equal to 1"),
    (e("»split: -1"), "split: -1 ", "greater than or equal to 0"),
    (e("optimizer: {»lr: -1}"), "optimizer.lr: -1 ", "greater than 0"),
    (e("factors: {optimizer.lr: [0.1, »-1]}"), "optimizer.lr: -1 ", "greater than 0"),
    (e("optimizer: {name: sgd, »momentum: 1}"), "optimizer.momentum: 1 ", "less than 1"),
    (e("norm: {name: batch, »momentum: 0}"), "norm.momentum: 0 ", "greater than 0"),
    (e("»init_scale: 0"), "init_scale: 0 ", "greater than 0"),
    (e("»init_scale: .nan"), "NaN", FINITE),
    (e("»lr_multiplier: .inf"), "Infinity", FINITE),
    (e("»lr_multiplier: -.inf"), "-Infinity", FINITE),
    (e("»lr_multiplier: 1e999"), "Infinity", FINITE),
    (e("model: {»hidden: []}"), "model.hidden: [] ", "at least 1"),
    (e("model: {»hidden: [100, 0]}"), "0 ", "greater than or equal to 1"),
    # Wrong types
    (e("»dropout: true"), "dropout: true ", NUMBER),
    (e("»dropout: '0.4'"), 'dropout: "0.4" ', NUMBER),
    (e("»dropout:"), "dropout: null ", NUMBER),
    (e("»dropout: [0, 0.4]"), "dropout: [0, 0.4] ", NUMBER),
    (e("factors: {dropout: [0, »false]}"), "false", NUMBER),
    (e("»batch_size: 60.5"), "60.5 ", WHOLE),
    (e("»batch_size: true"), "true ", WHOLE),
    (e("»steps: 1_000"), '"1_000" ', WHOLE),
    (e("»nonlinearity: [relu]"), '["relu"] ', "string"),
    (e("»norm: true"), "rue", "known: batch, batch-renorm, fixup, ghost-batch"),
    (e("»norm: [batch]"), "['batch']", "known: batch, batch-renorm, fixup, ghost-batch"),
    (e("model: {»hidden: 100}"), "model.hidden: 100 ", "list"),
    (e("model: {»hidden: [1.5]}"), "1.5 ", WHOLE),
    ("»[1, 2]", "the file must be a mapping", "[1, 2]"),
    ("»text", "the file must be a mapping", "'text'"),
    ("»experiments: [a]", "experiments must be a mapping", "['a']"),
    ("»experiments: {}", "there are no experiments"),
    ("experiments:\n  a: {}\n  »b: 3", "experiments.b must be a mapping", "3"),
    ("experiments: {e: {}}\n»defaults: [a]", "defaults must be a mapping"),
    ("experiments: {e: {}}\n»suites: 3", "suites must be a mapping", "3"),
    ("experiments: {e: {}}\n»suites: [e]", "suites must be a mapping"),
    ("experiments: {e: {}}\nsuites: {»s: e}", "s must be a list", "'e'"),
    ("experiments: {e: {}}\nsuites: {»s: []}", "empty"),
    ("experiments: {e: {}}\nsuites: {s: [»[e]]}", "['e']", "known: e"),
    ("experiments: {e: {}}\nsuites: {s: [»{e: 1}]}", "no experiment", "known: e"),
    ("experiments: {e: {}}\n»claims: 3", "claims must be a mapping", "3"),
    (e("»factors: [norm]"), "factors must be a mapping", "['norm']"),
    (e("factors: {»norm: batch}"), "norm must be a list", "'batch'"),
    (e("»variants: [a]"), "variants must be a mapping"),
    (e("variants: {»a: 3}"), "a must be a mapping", "3"),
    (e("»include: {norm: batch}"), "include must be a list"),
    (e("include: [»3]"), "must be a mapping", "3"),
    (e("exclude: [{dropout: 0.4}, »batch]"), "must be a mapping", "'batch'"),
    # Empty, twice, in vain
    (e("factors: {»norm: []}"), "norm", "empty"),
    (e("factors: {dropout: [0, 0.4, »0]}"), "the level 0 twice"),
    (e("factors: {dropout: [0.4, ».4]}"), "the level 0.4 twice"),
    (e("factors: {norm: [none, batch, »{name: batch}]}"), "norm", "twice"),
    ("experiments: {»e: {exclude: [{dropout: 0}]}}", "'e' has no trials", "all are excluded"),
    (e("factors: {dropout: [0, 0.4]}, exclude: [{dropout: 0}, {»dropout: 0.5}]"), "matches no trial"),
    # Seeds
    *((e(f"»seeds: {seeds}"), SEEDS, seeds) for seeds in ("0", "-3", "[1, 1]", "[]", "[1, -1]", "1.5", "[[1]]")),
    *((e(f"»seeds: {seeds}"), SEEDS) for seeds in ("true", "", "three", "{a: 1}", "['1']", "[true]", f"[{2**63}]")),
    (e(f"»seeds: {MOST_TRIALS + 1}"), "5,000,001 seeds; at most 5,000,000"),
    (e("»seeds: 1000000000000"), "1,000,000,000,000 seeds"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fragments"), [(text, list(fragments)) for text, *fragments in WRONG])
def test_a_wrong_value_is_named_with_its_place_and_what_is_allowed(
    read: Load, path: Path, text: str, fragments: list[str]
) -> None:
    text, place = marked(text)
    with pytest.raises(ConfigurationError) as caught:
        for experiment in read(text).experiments.values():
            experiment.expand()
    message = str(caught.value)
    assert message.startswith(f"{path}:{place}: ")
    assert [fragment for fragment in fragments if fragment not in message] == [], message


# Any file at all

FIELDS: dict[str, list[Any]] = {
    "dropout": [0, 0.4],
    "steps": [1, 100],
    "nonlinearity": ["relu", "tanh"],
    "norm": ["none", "batch", {"name": "batch", "momentum": 0.2}],
    "norm.momentum": [0.1, 0.2],
    "optimizer": ["sgd", {"lr": 1e-3}],
    "optimizer.lr": [1e-3, 2],
    "schedule": ["constant", {"name": "exponential", "decay": 0.5, "every": 10}],
    "model": [{"hidden": [3]}],
}
WORDS = sorted(ROOT_KEYS | EXPERIMENT_KEYS | SETTABLE | FIELDS.keys() | {"name", "eps", "momentum", "hidden", "every"})
NUMBERS = st.integers(-2, 12) | st.sampled_from([2**31, 2**63, 10**30]) | st.floats()
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=5) | st.sampled_from(["batch", "none", "relu", "e"])
KEYS = st.sampled_from(WORDS) | st.text(max_size=3)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


def mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What belongs here, and now and then anything."""
    return st.integers(0, 11).flatmap(lambda number: right if number else ANYTHING)


def partials(levels: Callable[[str], st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(sorted(FIELDS))
    pairs = names.flatmap(lambda name: st.tuples(st.just(name), mostly(levels(name))))
    return mostly(st.lists(pairs, max_size=2).map(dict))


PARTIALS = partials(lambda name: st.sampled_from(FIELDS[name]))
EXPERIMENTS = st.tuples(
    PARTIALS,
    st.fixed_dictionaries(
        {},
        optional={
            "factors": partials(lambda name: st.lists(st.sampled_from(FIELDS[name]), min_size=1, max_size=2)),
            "variants": mostly(st.dictionaries(st.text(max_size=2), PARTIALS, max_size=3)),
            "include": mostly(st.lists(PARTIALS, min_size=1, max_size=2)),
            "exclude": mostly(st.lists(PARTIALS, min_size=1, max_size=2)),
            "seeds": mostly(st.integers(1, 12) | st.lists(st.integers(0, 5), min_size=1, unique=True)),
        },
    ),
).map(lambda parts: parts[0] | parts[1] if isinstance(parts[0], dict) else parts[0])
FILES = st.fixed_dictionaries(
    {"experiments": mostly(st.dictionaries(st.sampled_from("ef"), mostly(EXPERIMENTS), min_size=1, max_size=2))},
    optional={
        "defaults": PARTIALS,
        "suites": mostly(
            st.dictionaries(st.text(max_size=2), mostly(st.lists(mostly(st.just("e")), min_size=1)), max_size=2)
        ),
        "claims": ANYTHING,
    },
)


def assert_loads_or_is_refused(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    try:
        file = load(path)
    except ConfigurationError as error:
        assert error.place and error.place.startswith(str(path))
        return
    for experiment in file.named([*file.experiments, *file.suites]):
        try:
            trials = experiment.expand()
        except ConfigurationError as error:
            assert error.place and error.place.startswith(str(path))
        else:
            assert 0 < len(trials) == len(set(trials))


@given(mostly(FILES))
@settings(max_examples=250, deadline=2000, derandomize=True, database=None)
def test_any_data_loads_and_expands_or_is_refused_with_a_place(path: Path, data: Any) -> None:
    assert_loads_or_is_refused(path, yaml.safe_dump(data, allow_unicode=True))


@given(st.text("[]{}:,-&*!?|>'\"#%@~<=. \n\tab01", max_size=40) | st.text(max_size=20))
@settings(max_examples=300, deadline=2000, derandomize=True, database=None)
def test_any_text_loads_or_is_refused_with_a_place(path: Path, text: str) -> None:
    assert_loads_or_is_refused(path, text)
    assert_loads_or_is_refused(path, f"experiments:\n  e:\n    about: {text}")


def test_a_variant_keeps_its_fields_under_a_factor_that_names_the_same_component(read: Load) -> None:
    text = "experiments: {e: {variants: {v: {norm.momentum: 0.2}}, factors: {norm: [batch]}, seeds: 1}}"
    [trial] = read(text).experiments["e"].expand()
    assert trial.config.norm == BatchNormOptions(momentum=0.2)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("experiments: {e: {}, f: {}}\nsuites: {e: [f]}", "the suite 'e' has an experiment's name"),
        (
            "defaults: {optimizer: {lr: 0.1}, optimizer.lr: 0.2}\nexperiments: {e: {}}",
            "optimizer.lr stands here a second time",
        ),
    ],
)
def test_what_is_said_twice_is_refused(read: Load, text: str, fragment: str) -> None:
    with pytest.raises(ConfigurationError, match=fragment):
        read(text)
