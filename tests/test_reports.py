"""What people see of claims: numbers and limits in words, the first screen, sections, one claim in full, the list."""

import json
import math
import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import results as page
from bnexp.claims.evidence import gather, select
from bnexp.claims.findings import Finding, Number
from bnexp.claims.looks import look_at
from bnexp.claims.model import Claim, Estimator, Unit
from bnexp.claims.overrides import run_command
from bnexp.claims.parse import parse_claims
from bnexp.claims.report import Entry, Report, Reports, latest_alike, report_on
from bnexp.claims.rules import Rule
from bnexp.claims.statistics import Interval
from bnexp.claims.stored import judged
from bnexp.claims.tables import Cell, Row
from bnexp.db.origins import Origin
from bnexp.db.results import InstanceInfo, Results
from bnexp.db.summaries import Counts
from bnexp.errors import ConfigurationError, UsageError
from bnexp.experiments import default_file, load
from bnexp.reports import document, limits, markdown, numbers, words
from bnexp.reports.blocks import Code, Grid, Line
from bnexp.reports.blocks import Row as GridRow
from bnexp.reports.claims import definition, listing
from bnexp.reports.formats import as_text
from bnexp.reports.overview import overview
from bnexp.reports.section import section
from bnexp.reports.sparkline import sparkline
from tests.conftest import TINY, Bnexp

INF = math.inf
UNITS: list[Unit] = ["points", "rate", "log2", "share", "decades", "factor", "error", "number"]
NORMS = {"treatment": {"norm": "batch"}, "control": {"norm": "none"}}
NOW = datetime(2026, 1, 2, 3, 4)


def claim(**changes: Any) -> Claim:
    fields = {
        "question": "Is it so?",
        "section": "3.3",
        "quote": "it is",
        "experiment": "e",
        "arms": NORMS,
        "estimator": {"name": "difference"},
        "supported_if": {"low": {"at_least": 0}},
        "looks": (10, 20, 40),
        **changes,
    }
    return Claim.model_validate(fields)


def number(point: float, low: float, high: float, unit: Unit = "points", n: int = 10, name: str = "effect") -> Number:
    return Number(name, unit, Interval(point, low, high), n)


def finding(name: str = "better", *measured: Number, **changes: Any) -> Finding:
    about = claim(**changes)
    known = measured or (number(1.5, 0.5, 2.5),)
    return Finding(name, about, "supported", "It is so.", list(known), 0.002, 0.01, look_at(10, about.looks), 5)


ORIGIN = Origin(20, "x", "1.0", None, "2.13.0", "3.11.7")
INSTANCE = InstanceInfo(3, "e", "", "", 1.0, NOW, NOW)


def reports(*findings: Finding, post_hoc: frozenset[str] = frozenset(), overrides: str = "") -> Reports:
    """One instance with these findings."""
    instance = replace(INSTANCE, overrides=overrides)
    report = Report(instance, Counts({"finished": 20}), ["digits"], ["mlp 3x100"], 10, [ORIGIN], [*findings], post_hoc)
    return Reports("e", [report], Counts({"finished": 20}), [Entry(found, report) for found in findings], [], [])


# Numbers


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (number(1.24, 0.5, 2), "+1.2 points [+0.5, +2.0], n = 10"),
        (number(-20, -30, 10, "rate"), "-20 points [-30, +10], n = 10"),
        (number(2.573, 1, 3, "log2"), "5.95x [2x, 8x], n = 10"),
        (number(10.5, 10, 11, "log2"), "1,448x [1,024x, 2,048x], n = 10"),
        (number(0.8, 0.49, 0.94, "share"), "8/10 seeds [0.49, 0.94], n = 10"),
        (number(2.3, 1.2, 3.3, "decades"), "+2.3 decades [+1.2, +3.3], n = 10"),
        (number(1.467, 1.46, 1.47, "factor"), "1.47x a layer [1.46x, 1.47x], n = 10"),
        (number(3.2e-12, 3.2e-12, 3.2e-12, "error"), "3.2e-12, exact"),
        (number(-0.0004, -0.04, 0.00004), "-0.0004 points [-0.04, +0.0], n = 10"),
        (number(5, 4, INF, "log2"), "≥ 32x (95%: ≥ 16x), n = 10"),
        (number(INF, 4, INF, "log2"), "≥ 16x (95%: ≥ 16x), n = 10"),
        (number(-INF, -INF, 1, "log2"), "≤ 2x (95%: ≤ 2x), n = 10"),
        (number(1.5, -INF, INF, n=5), "+1.5 points (no interval below 6 seeds), n = 5"),
        (number(-INF, -INF, INF, "log2"), "nothing bounds it, n = 10"),
    ],
)
def test_a_number_is_written_in_its_unit_and_a_bound_as_a_bound(measured: Number, expected: str) -> None:
    assert numbers.sentence(measured) == expected


@given(
    st.sampled_from(UNITS),
    st.lists(st.floats(allow_nan=False) | st.sampled_from([INF, -INF]), min_size=3, max_size=3),
    st.integers(1, 40),
)
def test_no_number_is_ever_written_as_infinite(unit: Unit, values: list[float], n: int) -> None:
    low, point, high = sorted(values)
    if unit in ("share", "factor", "error"):
        low, point, high = (min(1.0, abs(value)) for value in (low, point, high))
    measured = number(point, low, high, unit, n)
    text = " ".join(
        [numbers.sentence(measured), numbers.short(measured), numbers.both(measured.effect, unit, n)]
    ).lower()
    assert not re.search(r"\binf|nan", text), text


def test_numbers_are_short_in_narrow_columns() -> None:
    assert numbers.short(number(1.24, 0, 2)) == "+1.2 pt"
    assert numbers.short(number(1, 0.7, 1, "share")) == "10/10 trained"
    assert numbers.short(number(1.467, 1, 2, "factor")) == "1.47x/layer"
    assert numbers.short(number(-INF, -INF, INF, "log2")) == "-"


def test_cells_are_in_the_estimators_units() -> None:
    how = Estimator(name="difference")
    assert numbers.cell(Cell(92.53, 10), how) == "92.5"
    assert numbers.cell(Cell(40, 10, Interval(40, 16.8, 68.7)), how) == "4/10 [17, 69]"
    assert numbers.cell(Cell(1250.4, 10), Estimator(name="steps_ratio")) == "1,250"
    assert numbers.cell(Cell(INF, 10), Estimator(name="steps_ratio")) == "never"
    assert numbers.cell(None, how) == "-"


# Limits and claims in words

PARTS = {
    "one": {"arms": NORMS, "estimator": {"name": "difference"}},
    "two": {"arms": {"treatment": {"norm": "batch"}}, "estimator": {"name": "rate"}},
}


def test_nested_rules_are_put_into_words() -> None:
    about = claim(
        arms=None,
        estimator=None,
        measures=PARTS,
        supported_if={
            "any": [
                {"of": "one", "within": "margin"},
                {"all": [{"of": "one", "low": {"at_least": 20}}, {"of": "two", "low": {"at_least": 0.6}}]},
            ]
        },
        refuted_if={"of": "one", "high": {"at_most": "-margin"}},
    )
    assert limits.limits(about, 1.0) == (
        "Supported if the whole interval of one is within 1 point (the margin) of 0 points or (that of one is at or "
        "above 20 points and that of two is at or above 0.6 of the seeds); refuted if the whole interval of one is at "
        "or below -1 point (minus the margin)."
    )
    assert "within the margin of" in limits.limits(about)
    units = {name: part.estimator.unit for name, part in about.parts().items()}
    assert limits.short(about.supported_if, units) == "one ± margin or (one ≥ 20 and two ≥ 0.6)"


@pytest.mark.parametrize(
    ("estimator", "rule", "expected"),
    [
        ({"name": "steps_ratio"}, {"low": {"at_least": 5}}, "at or above 5x;"),
        ({"name": "tolerated_range", "factor": "init_scale"}, {"low": {"at_least": 1}}, "at or above 1 decade;"),
        ({"name": "difference", "of": "trained"}, {"high": {"at_most": 0}}, "at or below 0 points;"),
    ],
)
def test_a_limit_has_its_unit(estimator: dict[str, Any], rule: dict[str, Any], expected: str) -> None:
    text = limits.limits(claim(estimator=estimator, supported_if=rule), 0.3)
    assert expected in text and text.endswith("; this experiment cannot refute it.")


def test_who_says_it_is_named() -> None:
    assert words.said(claim(paper="14 times")) == 'The paper (3.3): "it is". 14 times.'
    assert words.said(claim(source="Wu and He 2018")) == 'Wu and He 2018 (3.3): "it is".'
    ours = words.said(claim(section="our own"))
    assert ours == 'Our own: "it is".'


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        ({"name": "difference"}, "Test accuracy, norm batch minus norm none"),
        ({"name": "steps_ratio"}, "Steps to the target, norm none over norm batch"),
        ({"name": "largest_trained", "factor": "lr_multiplier"}, "Largest lr multiplier that trains, norm batch over"),
        ({"name": "matched_loss_gap"}, "equal training loss, norm none minus norm batch"),
        ({"name": "best_difference", "over": ["dropout"]}, "Test accuracy at the best dropout by validation, norm"),
    ],
)
def test_a_measure_says_what_is_compared(estimator: dict[str, Any], expected: str) -> None:
    about = claim(estimator=estimator, where={"model.hidden": "3x16"}, supported_if={"low": {"at_least": 1}})
    text = words.measured(about, "effect")
    assert expected in text and text.endswith("(hidden 3x16)")


# The first screen


def many() -> list[Finding]:
    """Eighteen claims, with names and figures as long as they come."""
    measured = [
        number(2.573, 2.4, 3.1, "log2"),
        number(-68.2, -69.8, -66.6),
        number(1, 0.72, 1, "share"),
        number(INF, 10.9, INF, "log2"),
        number(2.3, 1.2, 3.3, "decades"),
        number(1.467, 1.46, 1.47, "factor"),
    ]
    return [
        replace(
            finding(f"covariate-shift-is-the-cause{index:02}"[-28:], measured[index % 6], paper="trains at 30x; " * 4),
            answer=("supported", "refuted", "inconclusive")[index % 3],
        )
        for index in range(18)
    ]


def test_eighteen_claims_take_two_lines_each_within_80_columns() -> None:
    lines = as_text(overview(reports(*many(), post_hoc=frozenset({many()[2].name}))), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 2 * 18 + 6
    numbered = [line for line in lines if re.search(r"  10  (supported|refuted|inconclusive)", line)]
    assert len(numbered) == 18
    assert len({line.index("  10  ") for line in numbered}) == 1, "numbers stand below each other"


def test_the_scale_stands_above_the_verdicts() -> None:
    first = as_text(overview(reports(finding(), overrides="seeds=10"))).splitlines()[0]
    assert first == "e (seeds=10): on digits, mlp 3x100, 10 seeds"
    assert words.listed_networks(["mlp 3x100", "mlp 5x100", "cnn"]) == "mlp 3x100 and 5x100 and cnn"


def test_a_claim_that_is_younger_than_its_data_is_never_plainly_supported() -> None:
    late = reports(finding(), finding("other"), post_hoc=frozenset({"better"}))
    text = as_text(document.document(late))
    assert "supported†" in text and "† post hoc" in text
    assert "Supported, but post hoc: the claim, as it stands, is younger than its data. It is so." in text
    assert "Supported. It is so." in text, "the other claim is older"
    assert "| **supported†** |" in markdown.render(document.document(late))
    assert "†" not in as_text(document.document(reports(finding())))


def test_an_experiment_without_claims_is_not_told_of_p_and_holm() -> None:
    text = as_text(document.document(reports()))
    assert "makes no claim about e" in text
    assert not re.search(r"Holm|\bp\b|Trained:", text)


def test_a_long_quote_is_cut_to_a_line_where_it_stands_for_a_figure() -> None:
    quote = "a training example is seen in conjunction with other examples in the mini-batch " * 3
    lines = as_text(overview(reports(finding(quote=quote))), 80).splitlines()
    [line] = [line for line in lines if line.startswith('  "a training')]
    assert line.endswith(' ..."') and len(line) <= 80


# Sections


def test_a_section_has_limits_p_look_and_family() -> None:
    found = replace(finding(caveat="Digits only."), advice="`bnexp run e --seeds 20` decides it.", notes=["a note"])
    text = as_text(section(Entry(found, reports(found).reports[0])))
    for expected in (
        "Test accuracy, norm batch minus norm none: +1.5 points [+0.5, +2.5], n = 10.",
        "p = 0.002, adjusted 0.01 for 5 claims (Holm); look 1 of 3: alpha 0.025.",
        "Supported if the whole interval is at or above 0 points",
        "What would decide it: `bnexp run e --seeds 20` decides it.",
        "A note.",
        "Digits only.",
    ):
        assert expected in text
    exact = finding("identities", number(1e-12, 1e-12, 1e-12, "error"), estimator={"name": "largest_error"},
                    arms={"treatment": {}}, supported_if={"high": {"at_most": 1e-8}})  # fmt: skip
    text = as_text(section(Entry(exact, reports(exact).reports[0])))
    assert "there is no p" in text and "p =" not in text and "all trials: 1.0e-12, exact." in text


def test_several_measures_stand_in_a_table_of_their_own() -> None:
    measured = (number(1, 0, 2, name="one"), number(1, 0.72, 1, "share", name="two"))
    rule = {"of": "one", "low": {"at_least": 0}}
    found = finding("both", *measured, arms=None, estimator=None, measures=PARTS, supported_if=rule)
    text = as_text(section(Entry(found, reports(found).reports[0])))
    assert re.search(r"^one +\+1\.0 pt +\[\+0\.0, \+2\.0\] +10$", text, re.MULTILINE)
    assert re.search(r"^two +10/10 trained +\[0\.72, 1\.00\] +10$", text, re.MULTILINE)
    assert "  Share of seeds that trained, norm batch" in text


def wide() -> Finding:
    """A table with three factors and rates in both arms."""
    about = {
        "by": ["nonlinearity", "lr_multiplier", "init_scale"],
        "estimator": {"name": "difference", "of": "trained"},
    }
    rate = Cell(100, 10, Interval(100, 72.2, 100))
    row = Row({"nonlinearity": "sigmoid", "lr_multiplier": 30.0, "init_scale": 0.1}, "rate", rate, rate,
              Interval(100, 100, 100), 10, "doubtful")  # fmt: skip
    return replace(finding(table=about), rows=[row, replace(row, doubt="")])


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_wide_table_keeps_its_numbers_whole(width: int) -> None:
    text = as_text(section(Entry(wide(), reports(wide()).reports[0])), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("[72, 100]") == 4 and text.count("[+100, +100]") == 2
    assert "(1) doubtful" in text


def test_intervals_in_sentences_are_not_broken() -> None:
    for width in range(40, 100):
        text = as_text([Line(f"{'word ' * 12}+17.6 points [+16.2, +18.9], n = 10; ≥ 16x (95%: ≥ 12x).")], width)
        assert "[+16.2, +18.9]" in text and "n = 10" in text and "≥ 12x" in text
        assert all(line == line.rstrip() and len(line) <= width for line in text.splitlines())


def test_markdown_leaves_texts_alone_but_for_code() -> None:
    assert markdown.plain("a_b *c* `bnexp run a_b` [d]") == "a\\_b \\*c\\* `bnexp run a_b` \\[d\\]"
    grid = Grid(["claim", "n"], [GridRow(["a|b", "10"], under="why")], right=(1,), under="what")
    assert markdown.render([grid]).splitlines() == [
        "| claim | what | n |",
        "| --- | --- | ---: |",
        "| a\\|b | why | 10 |",
    ]


def test_code_is_not_wrapped() -> None:
    assert as_text([Code("select " + "x, " * 50)], 40).count("\n") == 1


def test_a_sparkline_is_drawn_over_steps_not_over_points() -> None:
    assert sparkline([1, 128], [0, 7], 0, 7, 8) == "▁▂▃▄▅▆▇█", "a block a doubling"
    assert sparkline([1, 2, 256], [0, 7, 7], 0, 7, 9) == "▁████████", "points are not equally far apart"
    assert sparkline([1, 2], [5, 5], 5, 5, 3) == "▁▁▁"
    assert sparkline([], [], 0, 1) == ""
    assert sparkline([3], [1], 0, 1) == "█"


# Verdicts as stored


def test_a_verdict_is_stored_with_all_its_numbers() -> None:
    measured = (number(2, 1, 3, "log2", name="one"), number(INF, 1, INF, "log2", name="two"))
    ratio = {"name": "steps_ratio"}
    parts = {name: {"arms": NORMS, "estimator": ratio} for name in ("one", "two")}
    rule = {"of": "one", "low": {"at_least": 1}}
    found = finding("both", *measured, arms=None, estimator=None, measures=parts, supported_if=rule)
    stored = judged(replace(found, trial_keys=["a", "b", "c"]))
    assert (stored.effect, stored.low, stored.high, stored.unit, stored.n) == (4, 2, 8, "times", 10)
    assert (stored.look, stored.alpha, stored.trials) == (1, 0.025, 3)
    assert stored.measures == [
        {"name": "one", "effect": 4, "low": 2, "high": 8, "unit": "times", "n": 10, "deciding": True},
        {"name": "two", "effect": "inf", "low": 2, "high": "inf", "unit": "times", "n": 10, "deciding": False},
    ]
    json.dumps(stored.measures, allow_nan=False)
    assert judged(finding("a", number(20, 10, 30, "rate"))).unit == "points"
    assert judged(finding("a", number(1, 0.7, 1, "share"))).unit == "share"
    untested = judged(Finding("a", claim(), "not tested", "Because."))
    assert (untested.effect, untested.n, untested.measures, untested.trials) == (None, None, None, None)


# Suites


def instances(*about: tuple[str, str]) -> list[InstanceInfo]:
    """Instances of (name, overrides), the latest first."""
    return [
        InstanceInfo(10 - number, name, "", overrides, 1.0, NOW, NOW - timedelta(hours=number))
        for number, (name, overrides) in enumerate(about)
    ]


def test_a_suites_instances_share_the_overrides_of_the_one_run_last() -> None:
    there = instances(("z", ""), ("a", "seeds=3"), ("b", ""), ("b", "seeds=3"), ("a", "seeds=3"), ("c", ""))
    found = latest_alike(there, ["a", "b", "c"])
    assert {name: instance.id for name, instance in found.items()} == {"a": 9, "b": 8, "c": 5}, "whatever the seeds"
    other = latest_alike(instances(("a", "steps=3 seeds=4"), ("b", ""), ("b", "seeds=3 steps=3")), ["a", "b"])
    assert {name: instance.overrides for name, instance in other.items()} == {
        "a": "steps=3 seeds=4",
        "b": "seeds=3 steps=3",
    }
    assert latest_alike(there, ["d"]) == {}


def test_the_command_of_an_instance_has_its_overrides() -> None:
    assert run_command(["a", "b"], "lr=1 'model.hidden=[1, 2]' seeds=4") == (
        "bnexp run a b --set lr=1 --set 'model.hidden=[1, 2]' --seeds 4"
    )


SUITE = TINY.replace(
    "claims:\n",
    """
  unrun: {factors: {norm: [none, batch]}, seeds: 6}
suites: {both: [overlap, tiny, unrun]}
claims:
  at-any-rate:
    question: Is BN better with one of two rates?
    section: our own
    quote: it is
    experiment: tiny
    arms: {treatment: {norm: batch, lr_multiplier: [1, 1e38]}, control: {norm: none, lr_multiplier: [1, 1e38]}}
    where: {model.hidden: [8], dropout: 0, nonlinearity: identity}
    estimator: {name: best_difference, over: [lr_multiplier]}
    supported_if: {low: {at_least: 0}}
  two-measures:
    question: Do both train?
    section: "5"
    quote: they do
    experiment: tiny
    measures:
      bn: {arms: {treatment: {norm: batch}}, where: {lr_multiplier: 1}, estimator: {name: rate}}
      none: {arms: {treatment: {norm: none}}, where: {lr_multiplier: 1e38}, estimator: {name: rate}}
    supported_if: {all: [{of: bn, low: {at_least: 0.5}}, {of: none, high: {at_most: 0.5}}]}
  rates:
    question: Is twice the rate better?
    section: "6"
    quote: it is
    experiment: overlap
    arms: {treatment: {lr_multiplier: 2}, control: {lr_multiplier: 1}}
    estimator: {name: difference}
    supported_if: {low: {at_least: 0}}
  waits:
    question: Will it be run?
    section: "7"
    quote: perhaps
    experiment: unrun
    arms: {treatment: {norm: batch}, control: {norm: none}}
    estimator: {name: difference}
    supported_if: {low: {at_least: 0}}
""",
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, bnexp: Bnexp) -> Path:
    """A folder in which two of a suite's three members have been run; tests read it only."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "experiments.yaml").write_text(SUITE)
    ended = bnexp("run", "tiny", "overlap", "--workers", "1", cwd=folder)
    assert ended.code == 0, ended.err
    return folder


def opened(folder: Path) -> tuple[Results, Any, dict[str, Claim]]:
    file = load(folder / "experiments.yaml")
    return Results(str(folder / "bnexp.db")), file, parse_claims(file)


def test_a_suites_report_joins_the_claims_of_its_members(suite: Path, bnexp: Bnexp) -> None:
    ended = bnexp("report", "both", cwd=suite)
    assert ended.code == 0, ended.err
    screen = ended.out.partition("──")[0]
    assert screen.startswith(
        "both: on digits, mlp [8], 3 to 6 seeds\n2 of 3 experiments run: 15 finished, 12 diverged."
    ), "the three trials that both members want count once"
    order = ["at-any-rate", "two-measures", "rates", "waits", "better", "elsewhere"]
    assert re.findall(r"^([a-z-]+) .*(?:supported|refuted|inconclusive|not tested)$", screen, re.MULTILINE) == order
    assert "Measured by `bnexp run unrun`." in screen and "adjusted within each experiment" in screen
    assert max(map(len, ended.out.splitlines())) <= 80
    report = report_on(*opened(suite), "both")
    families = {entry.finding.name: entry.finding.family for entry in report.entries}
    assert families == {"at-any-rate": 3, "two-measures": 3, "better": 3, "rates": 1, "waits": 0, "elsewhere": 0}


def test_a_report_is_of_what_was_named(suite: Path, bnexp: Bnexp) -> None:
    assert bnexp("report", "overlap", cwd=suite).out == bnexp("report", "--experiment", "overlap", cwd=suite).out
    content = json.loads(bnexp("report", "both", "--format", "json", cwd=suite).out)
    assert [instance["experiment"] for instance in content["instances"]] == ["overlap", "tiny"]
    assert content["not_run"] == ["unrun"] and len(content["findings"]) == 6
    refused = bnexp("report", "tyni", cwd=suite)
    assert refused.code == 2 and "did you mean 'tiny'?" in refused.err
    number = next(instance["instance"] for instance in content["instances"] if instance["experiment"] == "overlap")
    one = json.loads(bnexp("report", "--instance", str(number), "--format", "json", cwd=suite).out)
    assert one["name"] == "overlap"


def test_a_suite_of_which_nothing_was_run_is_refused(tiny: Path) -> None:
    results, file, claims = opened(tiny)
    with pytest.raises(UsageError, match="`bnexp run unrun` does"):
        report_on(results, replace(file, suites={"unrun": ["overlap"]}), claims, "unrun")


# One claim


@pytest.mark.parametrize("name", ["better", "at-any-rate", "two-measures", "rates"])
def test_the_sql_that_is_printed_selects_the_claims_trials(suite: Path, bnexp: Bnexp, name: str) -> None:
    evidence = gather(*opened(suite), name)
    printed = bnexp("report", "--claim", name, cwd=suite).out
    sql = re.search(r"^  (select distinct .*?)\n(?!    |  (?:from|where))", printed, re.MULTILINE | re.DOTALL)
    assert sql, printed
    rows = json.loads(bnexp("query", sql[1], "--format", "json", cwd=suite).out)
    keys = [row["trial_key"] for row in rows]
    assert sorted(keys) == sorted(evidence.entry.finding.trial_keys) and len(keys) == len(set(keys)) > 5


def test_sql_knows_missing_values_words_and_several_measures() -> None:
    about = claim(where={"norm.eps": [None, 1e-5], "dropout": 0.0}, arms={"treatment": {"variant": "it's"}},
                  estimator={"name": "rate"})  # fmt: skip
    text = select(about, 7)
    assert "(norm_eps is null or norm_eps = 1e-05)" in text and "variant = 'it''s'" in text
    assert "experiment_id = 7" in text and "stage = 'confirm'" in text and "dropout = 0.0" in text


def test_everything_about_a_claim(suite: Path, bnexp: Bnexp) -> None:
    out = bnexp("report", "--claim", "better", cwd=suite).out
    assert max(map(len, out.splitlines())) <= 80
    for expected in (
        "better: ",
        "Experiment: `tiny`.",
        "(Welch)",
        "norm batch, lr multiplier 1 (6 trials, 6 seeds)",
        "Trials: 12",
        "was locked at 20",
        "the first trial",
        "torch",
    ):
        assert expected in out, expected
    [curve] = [line for line in out.splitlines() if "█" in line]
    assert re.fullmatch(r" +\d+\.\d% [▁▂▃▄▅▆▇█]{50} \d+\.\d%", curve)
    whole = json.loads(bnexp("report", "--claim", "better", "--format", "json", cwd=suite).out)
    assert len(whole["finding"]["trial_keys"]) == 12 and all(len(key) == 64 for key in whole["finding"]["trial_keys"])
    assert whole["locked_at"] <= whole["first_trial_at"] and whole["finding"]["numbers"][0]["unpaired"]
    assert "## " in bnexp("report", "--claim", "better", "--format", "markdown", cwd=suite).out


def test_mean_curves_are_those_of_the_database(suite: Path) -> None:
    results, file, claims = opened(suite)
    arms = gather(results, file, claims, "better").arms
    for arm in arms:
        sql = (
            "select c.step, 100 * avg(c.validation_accuracy) from learning_curves c join experiment_results e "
            f"on e.trial_key = c.trial_key where e.experiment = 'tiny' and e.norm = '{arm.about['norm']}' "
            "and e.lr_multiplier = 1 group by 1 order by 1"
        )
        with results.query(sql) as answer:
            rows = list(answer.rows)
        assert arm.steps == [row[0] for row in rows] and arm.accuracy == pytest.approx([row[1] for row in rows])


def test_a_claim_without_data_is_shown_with_what_would_test_it(suite: Path, bnexp: Bnexp) -> None:
    assert "Not tested. Measured by `bnexp run unrun`." in bnexp("report", "--claim", "waits", cwd=suite).out
    assert "Not tested. It takes ImageNet." in bnexp("report", "--claim", "elsewhere", cwd=suite).out
    assert "select" not in bnexp("report", "both", "--claim", "waits", cwd=suite).out
    unknown = bnexp("report", "--claim", "beter", cwd=suite)
    assert unknown.code == 2 and "did you mean 'better'?" in unknown.err
    other = bnexp("report", "overlap", "--claim", "better", cwd=suite)
    assert other.code == 2 and "this claim is not about overlap, but about tiny" in other.err


# The list of claims


def test_claims_are_listed_with_what_decides_them(suite: Path, bnexp: Bnexp) -> None:
    out = bnexp("claims", cwd=suite).out
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"^two-measures +5 +tiny\n  Do both train\?\n  Supported: bn ≥ 0.5 and none ≤ 0.5; ", out, re.M)
    assert re.search(r"^elsewhere +4\.2 +-\n  Does it work on ImageNet\?\n  It takes ImageNet\.$", out, re.M)
    full = bnexp("claims", "better", cwd=suite).out
    for expected in (
        "Is BN better at rate 1?",
        "Experiment: `tiny`.",
        "If supported: It is better.",
        "6, 12 and 24 seeds",
    ):
        assert expected in full
    unknown = bnexp("claims", "beter", cwd=suite)
    assert unknown.code == 2 and "did you mean 'better'?" in unknown.err


def test_a_definition_is_shown_without_data() -> None:
    text = " ".join(as_text(definition("c", claim(refuted_if={"high": {"at_most": "-margin"}})), 80).split())
    assert "refuted if the whole interval" in text and "minus the margin" in text
    assert "no claims" in as_text(listing({}))
    assert limits.short(Rule.model_validate({"within": 0.05, "around": 1.0}), {"effect": "factor"}) == "in 1 ± 0.05x"


# The page of results


def test_the_page_of_results_has_every_claim_and_what_was_seen(suite: Path, tmp_path: Path) -> None:
    _, file, claims = opened(suite)
    (tmp_path / "remarks.yaml").write_text(yaml.safe_dump({"better": {"digits": "It jumps.", "mnist": "It creeps."}}))
    remarks = page.read_remarks(tmp_path / "remarks.yaml", claims)
    text = page.write([f"both={suite / 'bnexp.db'}"], file, remarks)
    assert text.startswith("# Results\n") and "\n## digits, mlp \\[8\\], 3 to 6 seeds\n" in text
    assert "bnexp run overlap tiny\n" in text and "Trials on cpu" in text and "torch" in text
    assert re.search(r"Last run on \d{4}-\d\d-\d\d\.", text)
    chapter = text.partition("\n### better\n")[2].partition("\n### ")[0]
    assert "**What was seen:** It jumps." in chapter and text.count("What was seen") == 1
    assert all(f"\n### {name}\n" in text for name in claims)


def test_a_remark_about_nothing_is_refused(suite: Path, tmp_path: Path) -> None:
    _, _, claims = opened(suite)
    (tmp_path / "remarks.yaml").write_text("beter: {digits: no}\n")
    with pytest.raises(ConfigurationError, match="no claim of the file: 'beter'"):
        page.read_remarks(tmp_path / "remarks.yaml", claims)
    assert page.read_remarks(tmp_path / "none.yaml", claims) == {}
    shipped = parse_claims(load(default_file()))
    assert set(page.read_remarks(page.REMARKS, shipped)) <= set(shipped)
