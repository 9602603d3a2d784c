"""Claims as read: what is accepted, what is refused and where, and what a claim's key hangs on."""

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp import registry
from bnexp.claims.data import Data, no_probes
from bnexp.claims.model import DECIDING, Claim
from bnexp.claims.parse import parse_claims
from bnexp.claims.verdicts import judge
from bnexp.errors import ConfigurationError
from bnexp.experiments import load
from tests.tables import CLAIM, GAINS, no_curves, pair, table
from tests.test_experiments import ANYTHING, marked, mostly

TEXT = """\
experiments:
  grid:
    factors: {norm: [none, batch], dropout: [0, 0.4], lr_multiplier: [1, 5]}
    probes: [gradient-norms, scale-invariance]
claims:
  better:
    question: Is it better?
    section: "1"
    quote: it is
    experiment: grid
    arms: {treatment: {norm: batch}, control: {norm: none}}
    where: {dropout: 0}
    estimator: {name: best_difference, at: {steps: 1000}, over: [lr_multiplier, init_scale]}
    table: {by: [dropout, nonlinearity], estimator: {name: spread_difference, factor: init_scale}}
    supported_if: {low: {at_least: 0}}
"""


def parse(folder: Path, text: str) -> dict[str, Claim]:
    path = folder / "claims.yaml"
    path.write_text(text)
    return parse_claims(load(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("claims")


def test_a_claim_is_read_as_written(folder: Path) -> None:
    [(name, claim)] = parse(folder, TEXT).items()
    assert name == "better" and claim.estimator and claim.estimator.over == ("lr_multiplier", "init_scale")
    assert claim.supported_if and claim.supported_if.low and claim.supported_if.low.at_least == 0
    assert parse(folder, "experiments: {e: {}}") == {}


RULE = "supported_if: {low: {at_least: 0}}"


@pytest.mark.parametrize(
    ("old", "new", "fragments"),
    [
        (
            "{name: best_difference",
            "{»name: best_diference",
            ["best_diference", "known: best_difference", "'best_difference'?"],
        ),
        ("experiment: grid", "»experiment: gird", ["'gird'", "known: grid", "did you mean 'grid'?"]),
        ("{norm: batch}", "{»nrm: batch}", ["'nrm'", "did you mean 'norm'?"]),
        ("{norm: none}", "{norm: {name: batch, »momentun: 0.1}}", ["momentun", "did you mean 'norm.momentum'?"]),
        ("{dropout: 0}", "{»dropuot: 0}", ["'dropuot'", "did you mean 'dropout'?"]),
        ("{steps: 1000}", "{»step: 1000}", ["'step'", "did you mean 'steps'?"]),
        ("over: [lr_multiplier, init_scale]", "over: [lr_multiplier, »init_scal]", ["'init_scal'", "'init_scale'?"]),
        ("by: [dropout", "by: [»dropuot", ["'dropuot'", "did you mean 'dropout'?"]),
        ("factor: init_scale", "»factor: init_scal", ["'init_scal'", "did you mean 'init_scale'?"]),
        ("factor: init_scale", "factor: init_scale, at: {»step: 1}", ["'step'", "did you mean 'steps'?"]),
        ("{treatment: {norm: batch}", "{»treatment: {norm: group}", ["no trials with norm: group", "dropout: 0"]),
        ("control: {norm: none}", "»control: {norm: none, dropout: 0.4}", ["no trials with", "dropout: 0.4"]),
        ("control: {norm: none}", "»control: {}", ["its arms overlap"]),
        ("{dropout: 0}", "{dropout: 0.3}", ["no trials with norm: batch", "dropout: 0.3"]),
        ("{steps: 1000}", "{steps: 10}", ["no trials with", "steps: 10"]),
        ("over: [lr_multiplier, init_scale]", "over: [seed]", ["the seed is no factor"]),
        ("over: [lr_multiplier, init_scale]", "over: [dropout], factor: dropout", ["best_difference has no `factor`"]),
        (
            "{name: best_difference, at",
            "{name: difference, at",
            ["difference has no `over`", "best_difference, interaction"],
        ),
        ("factor: init_scale", "factor: seed", ["the seed is no factor"]),
        (RULE, "supported_if: {»within: -1}", ["above 0"]),
        (RULE, "»supported_if: {low: {at_least: 0}, around: 1}", ["`around` belongs to `within`"]),
        (RULE, "supported_if: {of: effects, low: {at_least: 0}}", ["no measure 'effects'"]),
        (RULE, RULE + "\n    refuted_if: {high: {at_most: 0.5}}", ["can both be true"]),
        (RULE, "»supported_if: {all: []}", ["give one of"]),
        (RULE, RULE + "\n    »looks: [10, 5]", ["each above the one before"]),
        (RULE, RULE + "\n    »looks: [1, 2, 3, 4]", ["at most 3"]),
        ("over: [lr_multiplier, init_scale]", "»over: lr_multiplier", ["'lr_multiplier'"]),
        ("question:", "»qestion: why\n    question:", ["qestion", "did you mean 'question'?"]),
        ('section: "1"', "»section: 1", ["section", "string", "1"]),
        ("  better:\n    question: Is it better?", "  »better:", ["question", "equired"]),
        ("arms: {treatment: {norm: batch}, control: {norm: none}}", "arms: {treatment: {}}", ["needs a control"]),
        (RULE, "»supported_if: {low: {at_least: 0}, high: {at_most: 1}}", ["give one of low", "high"]),
        (RULE, "»supported_if: {}", ["give one of low"]),
        (RULE, "supported_if: {low: {»at_least: lots}}", ["'lots'", "number", "margin"]),
        (RULE, "supported_if: {low: {»at_least: .nan}}", ["nan", "finite"]),
        (RULE, "supported_if: {low: {»at_least: true}}", ["True", "number"]),
        (RULE, "supported_if: {»lo: {at_least: 0}}", ["lo"]),
    ],
)
def test_a_wrong_claim_is_refused_with_its_place_and_what_is_allowed(
    folder: Path, old: str, new: str, fragments: list[str]
) -> None:
    assert old in TEXT
    written = TEXT.replace(old, new, 1)
    text, place = marked(written) if "»" in written else (written, r"\d+:\d+")
    with pytest.raises(ConfigurationError, match=rf"claims\.yaml:{place}: ") as caught:
        parse(folder, text)
    message = str(caught.value)
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.mark.parametrize(
    ("body", "fragments"),
    [
        ("»c: {question: q, section: s, quote: q}", ["without `experiment`", "`needs`"]),
        ("»c: {question: q, section: s, quote: q, experiment: e}", ["needs arms, estimator, supported_if"]),
        ("»c: 3", ["claim c", "3"]),
        ("»c:", ["claim c", "None"]),
        ("»c: [a]", ["claim c", "['a']"]),
    ],
)
def test_a_claim_that_is_not_whole_is_refused_with_its_place(folder: Path, body: str, fragments: list[str]) -> None:
    text, place = marked(f"experiments: {{e: {{}}}}\nclaims:\n  {body}")
    with pytest.raises(ConfigurationError) as caught:
        parse(folder, text)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'claims.yaml'}:{place}: ")
    assert [fragment for fragment in fragments if fragment not in message] == [], message


TUNED = "{name: best_difference, at: {steps: 1000}, over: [lr_multiplier, init_scale]}"
SPREAD = "{name: spread_difference, factor: init_scale}"


@pytest.mark.parametrize("place", [TUNED, SPREAD], ids=["claim", "table"])
@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        ("{name: spread_difference}", "needs `factor`"),
        ("{name: tolerated_range, over: [dropout]}", "needs `factor`"),
        ("{name: largest_trained, factor: lr_multiplier, of: trained}", "largest_trained has no `of`"),
        ("{name: best_difference}", "needs `over`"),
        ("{name: interaction}", "needs `gain`"),
        ("{name: interaction, gain: {treatment: {dropout: 0.4}}}", "needs `gain`"),
        ("{name: difference, within: 2}", "difference has no `within`"),
        ("{name: difference, gain: {treatment: {dropout: 0.4}}}", "difference has no `gain`"),
        ("{name: tolerated_range, factor: init_scale, within: 0}", "greater than 0"),
        ("{name: difference, members: variant}", "difference has no `members`"),
        ("{name: difference, measure: top5_error}", "difference has no `measure`"),
    ],
)
def test_an_estimators_wrong_options_are_refused_when_read(
    folder: Path, place: str, estimator: str, message: str
) -> None:
    """Not only when the trials are there and the report is made."""
    with pytest.raises(ConfigurationError, match=rf"claims\.yaml:\d+:\d+: .*{message}"):
        parse(folder, TEXT.replace(place, estimator))


@pytest.mark.parametrize("name", ["rate", "growth_per_layer", "largest_error"])
def test_what_measures_one_arm_has_no_control_and_what_compares_has(folder: Path, name: str) -> None:
    one = TEXT.replace(TUNED, f"{{name: {name}}}")
    with pytest.raises(ConfigurationError, match=f"{name} measures the treatment only"):
        parse(folder, one)
    assert parse(folder, one.replace(", control: {norm: none}}", "}"))
    with pytest.raises(ConfigurationError, match="best_difference needs a control"):
        parse(folder, TEXT.replace(", control: {norm: none}}", "}"))


SEVERAL = """\
experiments:
  e:
    factors: {norm: [none, batch], dropout: [0, 0.4]}
    seeds: 7
claims:
  c:
    question: q
    section: s
    quote: q
    experiment: e
    measures:
      one: {arms: {treatment: {norm: batch}, control: {norm: none}}, where: {dropout: 0}, estimator: {name: difference}}
      two: {arms: {treatment: {norm: batch}}, estimator: {name: rate}}
    supported_if: {all: [{of: one, low: {at_least: margin}}, {of: two, low: {at_least: 0.6}}]}
    refuted_if: {any: [{of: one, high: {at_most: 0}}, {of: two, high: {at_most: 0.4}}]}
"""


def test_a_claim_of_several_measures_is_read_with_its_experiments_looks(folder: Path) -> None:
    [read] = parse(folder, SEVERAL).values()
    assert list(read.parts()) == ["one", "two"] and read.looks == (7, 14, 28)
    assert read.parts()["one"].where == {"dropout": 0} and not read.exact
    [own] = parse(folder, SEVERAL + "    looks: [5, 8]\n").values()
    assert own.looks == (5, 8)
    [narrowed] = parse(folder, SEVERAL + "    where: {dropout: 0}\n").values()
    assert narrowed.parts()["two"].where == {"dropout": 0}


@pytest.mark.parametrize(
    ("old", "new", "fragments"),
    [
        ("{of: one, low: {at_least: margin}}", "{low: {at_least: 1}}", ["must say in `of`", "one, two"]),
        ("{of: one, low", "{of: once, low", ["no measure 'once'", "did you mean 'one'?"]),
        ("{at_least: 0.6}", "{at_least: margin}", ["a margin is in points of accuracy", "share"]),
        ("supported_if: {all:", "supported_if: {of: one, all:", ["`of` belongs to the rules that"]),
        (
            "refuted_if: {any: [{of: one, high: {at_most: 0}}",
            "refuted_if: {any: [{of: one, high: {at_most: 2}}",
            ["both be true"],
        ),
        ("    measures:", "    estimator: {name: rate}\n    measures:", ["either `measures`, or `arms` and"]),
        (
            "treatment: {norm: batch}}, estimator",
            "»treatment: {norm: group}}, estimator",
            ["no trials with norm: group"],
        ),
        ("where: {dropout: 0}", "where: {»dropuot: 0}", ["'dropuot'", "did you mean 'dropout'?"]),
        ("control: {norm: none}", "»control: {dropout: 0}", ["its arms overlap"]),
        ("{name: rate}", "{»name: rat}", ["'rat'", "did you mean 'rate'?"]),
    ],
)
def test_what_is_wrong_in_a_measure_is_refused_with_its_place(
    folder: Path, old: str, new: str, fragments: list[str]
) -> None:
    assert old in SEVERAL
    written = SEVERAL.replace(old, new, 1)
    text, place = marked(written) if "»" in written else (written, r"\d+:\d+")
    with pytest.raises(ConfigurationError, match=rf"claims\.yaml:{place}: ") as caught:
        parse(folder, text)
    message = str(caught.value)
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.mark.parametrize("limit", ["0", "-1", "-margin", "margin"])
def test_a_ratios_limit_that_is_no_ratio_is_refused_when_read(folder: Path, limit: str) -> None:
    with pytest.raises(ConfigurationError, match=r"claims\.yaml:\d+:\d+: "):
        parse(folder, TEXT.replace(TUNED, "{name: steps_ratio}").replace("at_least: 0", f"at_least: {limit}"))


VALUES = ANYTHING | st.sampled_from(["grid", "difference", "margin", "batch"])
FIELDS = st.sampled_from(["norm", "dropout", "lr_multiplier", "norm.eps", "model"])
PARTIALS = mostly(st.dictionaries(FIELDS, VALUES | st.just(1), max_size=2))
COLUMNS = mostly(st.lists(mostly(st.sampled_from(["norm", "lr_multiplier", "lr", "hidden", "norm_eps"])), max_size=2))
ESTIMATORS = st.fixed_dictionaries(
    {"name": mostly(st.sampled_from(sorted(registry.ESTIMATORS)))},
    optional={
        "over": COLUMNS,
        "factor": mostly(st.sampled_from(["lr_multiplier", "init_scale"])),
        "at": PARTIALS,
        "of": mostly(st.just("trained")),
    },
)
RULES = mostly(st.sampled_from([{"low": {"at_least": 0}}, {"low": {"at_least": 2}}, {"high": {"at_most": "-margin"}}]))
BN, NONE = mostly(st.just({"norm": "batch"})), mostly(st.just({"norm": "none"}))
ENTRIES = st.fixed_dictionaries(
    {
        **dict.fromkeys(("question", "section", "quote"), st.text(max_size=3)),
        "experiment": mostly(st.just("grid")),
        "arms": mostly(st.fixed_dictionaries({"treatment": BN, "control": NONE})),
        "estimator": mostly(ESTIMATORS),
        "supported_if": RULES,
    },
    optional={
        "where": PARTIALS,
        "table": mostly(st.fixed_dictionaries({"by": COLUMNS}, optional={"estimator": mostly(ESTIMATORS)})),
        "refuted_if": RULES,
        "needs": VALUES,
    },
)
GRID = {"factors": {"norm": ["none", "batch"], "lr_multiplier": [1, 5]}, "seeds": 6}
CELLS = itertools.chain(*(pair(GAINS[:6], lr_multiplier=rate) for rate in (1.0, 5.0)))
SOME = Data("grid", table(CELLS), no_curves, 1.0, no_probes)


@given(mostly(st.dictionaries(st.text(max_size=2), mostly(ENTRIES), max_size=2)))
@settings(max_examples=200, deadline=2000, derandomize=True, database=None)
def test_any_claims_are_judged_or_refused_with_a_place(folder: Path, claims: Any) -> None:
    try:
        read = parse(folder, yaml.safe_dump({"experiments": {"grid": GRID}, "claims": claims}, allow_unicode=True))
    except ConfigurationError as error:
        assert error.place and error.place.startswith(str(folder))
    else:
        assert [finding.name for finding in judge(read, SOME)] == list(read)


# A claim's key

DECIDES: dict[str, Any] = {
    "experiment": "e",
    "arms": {"treatment": {"norm": "batch", "dropout": 0}, "control": {"norm": "none"}},
    "where": {"dropout": 0, "steps": 10},
    "estimator": {"name": "best_difference", "of": "trained", "at": {"steps": 10}, "over": ["dropout", "steps"]},
    "supported_if": {"low": {"at_least": 1}},
    "refuted_if": {"high": {"at_most": "margin"}},
    "looks": [5, 10],
}
WORDS: dict[str, Any] = {
    "question": "q",
    "section": "s",
    "quote": "q",
    "paper": "p",
    "source": "s",
    "needs": "n",
    "table": {"by": ["dropout"]},
    "supported": "yes",
    "refuted": "no",
    "caveat": "but",
}
OTHER = {
    "best_difference": "interaction",
    "trained": "scored_accuracy",
    "margin": "-margin",
}


def variations(value: Any) -> Iterable[Any]:
    """The value with one leaf changed, each leaf in its turn; and with lists turned round."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (value | {key: changed} for changed in variations(inner))
    elif isinstance(value, list):
        yield value[::-1]
        for index in range(len(value)):
            yield value[:index] + value[index + 1 :]
    elif isinstance(value, str):
        yield OTHER.get(value, f"{value}x")
    else:
        yield value - 0.5


def turned(value: Any) -> Any:
    """With every mapping's keys in the other order."""
    return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


def accepted(parts: dict[str, Any]) -> list[str]:
    """The claim's key, where it is a claim."""
    try:
        return [Claim.model_validate(WORDS | parts).key("name")]
    except ValueError:
        return []


def test_a_claims_key_changes_with_every_part_that_decides_and_its_name() -> None:
    assert {*DECIDES, "measures"} == set(DECIDING) and {*DECIDES, "measures", *WORDS} == set(Claim.model_fields)
    whole = Claim.model_validate(WORDS | DECIDES)
    without = [
        {key: value for key, value in DECIDES.items() if key != part} for part in ("where", "refuted_if", "looks")
    ]
    keys = [key for parts in (DECIDES, *variations(DECIDES), *without) for key in accepted(parts)]
    assert len({*keys, whole.key("other")}) == len(keys) + 1 > 15
    assert Claim.model_validate(turned(WORDS | DECIDES)).key("name") == keys[0] and len(keys[0]) == 64
    several = {"measures": {"m": {"arms": CLAIM["arms"], "estimator": {"name": "difference"}}}}
    rest = {key: value for key, value in DECIDES.items() if key not in ("arms", "estimator")} | {
        "supported_if": {"of": "m", "low": {"at_least": 1}}
    }
    renamed = {"measures": {"n": several["measures"]["m"]}, "supported_if": {"of": "n", "low": {"at_least": 1}}}
    assert len({*accepted(rest | several), *accepted(rest | renamed), keys[0]}) == 3


def test_the_words_about_a_claim_may_be_mended() -> None:
    key = Claim.model_validate(WORDS | DECIDES).key("name")
    for word in variations(WORDS):
        if word["table"]["by"]:
            assert Claim.model_validate(word | DECIDES).key("name") == key


REST = "question: q, section: s, quote: q, experiment: e}"
RATE = "{arms: {treatment: {norm: none}}, estimator: {name: rate}, %s, " + REST
BOTH = "{arms: {treatment: {norm: batch}, control: {norm: none}}, estimator: {name: %s, " + REST


@pytest.mark.parametrize(
    ("claim", "fragment"),
    [
        (RATE % "supported_if: {high: {at_most: 40}}", "numbers from 0 to 1"),
        (RATE % "supported_if: {within: 0.1, around: 0.5}, refuted_if: {low: {at_least: -1}}", "numbers from 0 to 1"),
        (BOTH % "largest_trained, factor: nonlinearity}", "no numbers"),
        (BOTH % "largest_trained, factor: dropout}", "one level of dropout only"),
        (BOTH % "tolerated_range, factor: lr_multiplier}, where: {lr_multiplier: 1}", "one level"),
        (BOTH % "best_difference, over: [dropout]}", "no arm has more than one level of dropout"),
        (BOTH % "percentile_drift}", "needs `probes: [percentiles]`"),
        (BOTH % "difference}, table: {by: [norm], arms: {treatment: {norm: group}}}", "norm: group"),
        (BOTH % "difference}, where: {lr_multiplier: true}", "no trials with"),
        (BOTH % "ensemble_gain}", "ensemble_gain measures the treatment only"),
        (RATE.replace("rate", "ensemble_gain") % "where: {}", "one level of member only"),
        (RATE.replace("rate", "ensemble_gain, members: lr_multiplier") % "where: {}", "needs `keep: [predictions]`"),
        (RATE.replace("rate", "ensemble_gain, members: lr_multipliers") % "where: {}", "did you mean 'lr_multiplier'"),
        (RATE.replace("rate", "ensemble_gain, members: seed") % "where: {}", "the seed is no factor"),
    ],
)
def test_what_an_experiment_cannot_tell_is_refused_when_its_claim_is_read(
    folder: Path, claim: str, fragment: str
) -> None:
    factors = "{norm: [none, batch], lr_multiplier: [1, 2, 4], nonlinearity: [relu, tanh]}"
    if "supported_if" not in claim:
        claim = claim.replace("question", "supported_if: {low: {at_least: 1}}, question")
    with pytest.raises(ConfigurationError) as refused:
        parse(folder, f"experiments:\n  e: {{factors: {factors}}}\nclaims:\n  c: {claim}\n")
    assert fragment in str(refused.value) and re.search(r"claims.yaml:4:\d+: ", str(refused.value))
