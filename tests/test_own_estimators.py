"""Estimators of a person's own: functions of an arm's trials of one seed, known by their source."""

import json
import math
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.claims.findings import Finding
from bnexp.claims.model import Claim
from bnexp.claims.parse import parse_claims
from bnexp.claims.report import make_report
from bnexp.claims.verdicts import judge
from bnexp.db.results import Results
from bnexp.db.store import Store
from bnexp.errors import ConfigurationError
from bnexp.experiments import load
from bnexp.reports.words import measured
from tests.attacks import changed, invoke
from tests.databases import change
from tests.documented import ROOT
from tests.tables import GAINS, data, pair, seeds

PAGE = (ROOT / "docs" / "howto" / "own.md").read_text()
SHOWN = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
EXAMPLE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[2]
OTHERS = """

def mean(trials, plus=0): return 100 * trials["scored_accuracy"].mean() + plus
def seeds_alone(trials): return len(trials["seed"]) + (0 if len(set(trials["seed"])) == 1 else 100)
def zero(trials): return 0
def nothing(trials): return np.nan
def words(trials): return "many"
def raises(trials): return trials["no such column"]
known = 3
"""


def line_of(text: str) -> int:
    """Of the module `ours`."""
    return (SHOWN + OTHERS).partition(text)[0].count("\n") + 1


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module `ours`, which we are in, and the page's experiments file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "ours.py").write_text(SHOWN + OTHERS)
    (tmp_path / "e.yaml").write_text(EXAMPLE)
    yield tmp_path / "ours.py"
    sys.modules.pop("ours", None)


def claim(estimator: Any = None, control: bool = True, **fields: Any) -> Claim:
    """The page's claim with another estimator, as it is read of the file."""
    text = EXAMPLE
    if estimator is not None:
        text = text.replace('{name: "ours:worst", effect_in: points}', json.dumps(estimator))
    if not control:
        text = text.replace(", control: {norm: none}", "")
    text = text.replace("at_least: margin", f"at_least: {fields.get('least', 'margin')}")
    text = text.replace("at_most: 0", f"at_most: {fields.get('most', 0)}")
    Path("e.yaml").write_text(text)
    return parse_claims(load(Path("e.yaml")))["never-bad"]


def found(estimator: Any = None, **fields: Any) -> Finding:
    """Of trials that are better by GAINS with BN."""
    table = data(*(pair(GAINS, lr_multiplier=rate) for rate in (1.0, 30.0)))
    about = claim(estimator, **fields).model_copy(update={"experiment": "e"})
    [finding] = judge({"c": about}, table)
    return finding


def test_the_pages_estimator_judges_its_claim(ours: Path) -> None:
    finding = found()
    assert finding.answer == "supported" and finding.shown is not None
    assert finding.shown.effect.point == pytest.approx(np.mean(GAINS)) and finding.shown.unit == "points"
    assert measured(finding.claim, "effect") == "Worst, norm batch minus norm none"


def test_a_mean_of_ones_own_is_the_difference(ours: Path) -> None:
    """With the shipped one's numbers, seed by seed; options that both arms have cancel."""
    points = {"name": "ours:mean", "effect_in": "points"}
    for own in (points, {**points, "options": {"plus": 7}}):
        mine, shipped = found(own).shown, found({"name": "difference"}).shown
        assert mine is not None and shipped is not None
        assert mine.effect.point == pytest.approx(shipped.effect.point)
        assert (mine.effect.low, mine.effect.high) == pytest.approx((shipped.effect.low, shipped.effect.high))


def test_units_are_of_numbers_and_of_ratios(ours: Path) -> None:
    """A ratio's limits are ratios."""
    ratio = found({"name": "ours:mean", "effect_in": "log2"}, least=1.01, most=1)
    expected = np.mean([math.log2(1 + gain / 50) for gain in GAINS])
    assert ratio.shown is not None and ratio.shown.effect.point == pytest.approx(expected)
    assert ratio.answer == "supported"
    plain = found({"name": "ours:mean"}, least=1, most=0.5).shown
    assert plain is not None and plain.unit == "number"
    with pytest.raises(ConfigurationError, match="a margin is in points of accuracy, and this effect is not"):
        claim({"name": "ours:mean"})


def test_it_sees_one_seed_of_one_arm_at_a_time_and_may_measure_one_arm(ours: Path) -> None:
    alone = found({"name": "ours:seeds_alone"}, control=False, least=1, most=0).shown
    assert alone is not None and alone.effect.point == 2 and alone.n == len(GAINS)
    single = data(seeds([0.5, 0.6], norm="batch"))
    about = claim({"name": "ours:mean"}, control=False, least=1).model_copy(update={"experiment": "e"})
    [finding] = judge({"c": about}, single)
    assert finding.shown is not None and finding.shown.effect.point == pytest.approx(55)


def test_an_edited_source_is_another_claim(ours: Path, tiny: Path) -> None:
    """And the report says so of one whose data are older; a claim about shipped estimators is what it was."""
    before, shipped = claim(), claim({"name": "difference"})
    ours.write_text(ours.read_text() + "# edited\n")
    after = claim()
    assert before.key("c") != after.key("c") == claim().key("c") and claim({"name": "difference"}) == shipped
    assert "source" not in shipped.definition()["estimator"] and len(after.definition()["estimator"]["source"]) == 64
    database = changed(tiny / "bnexp.db", ours.with_name("bnexp.db"))
    of_tiny = [each.model_copy(update={"experiment": "tiny"}) for each in (before, after)]
    with closing(Store(str(database))) as store:
        store.lock_claims([(of_tiny[0].key("c"), "c", of_tiny[0].definition())])
    change(str(database), "update claims set locked_at = '2000-01-01 00:00:00.000000'")
    with closing(Results(str(database))) as results:
        reports = [make_report(results, results.latest("tiny"), {"c": each}) for each in of_tiny]
    assert [report.post_hoc for report in reports] == [set(), {"c"}]
    [finding] = reports[0].findings
    assert finding.answer == "not tested" and "its source has changed since" in finding.sentence


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "seed 0: ours:nothing: a finite number is wanted, not nan"),
        ("words", "Norm batch, seed 0: ours:words: could not convert string to float"),
        ("raises", f"seed 0: ours:raises: KeyError: 'no such column' (ours.py:{line_of('def raises')})"),
        ("zero", "seed 0: ours:zero: a number above 0, for a ratio, is wanted, not 0"),
    ],
)
def test_what_is_no_number_leaves_the_claim_untested(ours: Path, name: str, said: str) -> None:
    finding = found(
        {"name": f"ours:{name}", "effect_in": "log2"} if name == "zero" else {"name": f"ours:{name}"}, least=1.5, most=1
    )
    assert finding.answer == "not tested" and said in finding.sentence


def test_a_name_alone_is_short_for_one_without_options(ours: Path) -> None:
    assert claim("ours:worst", least=1) == claim({"name": "ours:worst"}, least=1)


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        ({"name": "ours:worst", "of": "trained"}, "ours:worst has no `of`, which is for difference"),
        (
            {"name": "difference", "options": {"a": 1}},
            "difference has no `options`, which is for estimators of your own",
        ),
        ({"name": "ours:worst", "source": "abc"}, "an estimator's `source` is written by bnexp"),
        ({"name": "gone:worst"}, "gone:worst: no module 'gone' with a file is in"),
        ({"name": "unknown"}, "no such estimator"),
        ("ours.worst", "claim never-bad.estimator.name: no such estimator 'ours.worst' (known: best_difference, "),
        (7, "claim never-bad.estimator: Input should be"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_place(ours: Path, estimator: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)) as refused:
        claim(estimator, least=1)
    assert re.match(r"\S*e\.yaml:\d+:\d+: claim never-bad", str(refused.value))


def test_one_that_cannot_be_loaded_is_refused_before_anything_trains(ours: Path) -> None:
    for name, options, said in (
        ("missing", {}, "ours.py) has no 'missing'"),
        ("known", {}, "ours:known is no function"),
        (
            "mean",
            {"pluss": 1},
            "cannot be called with trials and its options: got an unexpected keyword argument 'pluss'",
        ),
    ):
        claim({"name": f"ours:{name}", "options": options}, least=1)
        Path("e.yaml").write_text(Path("e.yaml").read_text() + "suites: {battery: [rates]}\n")
        for command in (["plan", "rates"], ["run", "rates"], ["battery", "--norm", "layer"]):
            refused = invoke(*command, "--file", "e.yaml")
            assert refused.code == 2 and said in refused.err
    assert not ours.with_name("bnexp.db").exists()
