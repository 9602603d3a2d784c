"""Which number of a claim its verdict hangs on, and that every view shows that one."""

import json
import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import claims_table
from bnexp.claims.deciding import with_deciding
from bnexp.claims.findings import Answer, Finding
from bnexp.claims.report import at_first_look
from bnexp.claims.stored import judged, known_effects
from bnexp.db.results import Results
from bnexp.db.store import Store
from bnexp.db.summaries import Decided
from bnexp.reports import data, markdown
from bnexp.reports.blocks import Grid
from bnexp.reports.charts import effects
from bnexp.reports.formats import as_text
from bnexp.reports.overview import SEVERAL, overview
from tests.test_db import instance, wanted
from tests.test_reports import finding, number, reports

HIGH, LOW, BETWEEN = (1.0, 0.8, 1.0), (0.0, 0.0, 0.2), (0.5, 0.3, 0.7)
"""Shares of seeds that trained: above 0.6, below 0.4, and neither."""
MEASURE = {"arms": {"treatment": {"norm": "batch"}}, "estimator": {"name": "rate"}}


def most(name: str) -> dict[str, Any]:
    return {"of": name, "low": {"at_least": 0.6}}


def few(name: str) -> dict[str, Any]:
    return {"of": name, "high": {"at_most": 0.4}}


ALL = {"supported_if": {"all": [most("a"), most("b")]}, "refuted_if": {"any": [few("a"), few("b")]}}


def several(answer: Answer, *shares: tuple[float, float, float], **rules: Any) -> Finding:
    """A claim of as many measures, called a, b and so on."""
    names = "abcdef"[: len(shares)]
    measured = [number(*share, "share", name=name) for name, share in zip(names, shares, strict=True)]
    about = {"arms": None, "estimator": None, "measures": dict.fromkeys(names, MEASURE), **rules}
    return with_deciding(replace(finding("c", *measured, **about), answer=answer), 1.0)


@pytest.mark.parametrize(
    ("answer", "shares", "deciding"),
    [
        ("supported", (HIGH, HIGH), "a"),
        ("refuted", (HIGH, LOW), "b"),
        ("refuted", (LOW, LOW), "a"),
        ("inconclusive", (HIGH, BETWEEN), "b"),  # keeps it from support
        ("inconclusive", (HIGH, LOW), "b"),  # would refute it, but p does not say so
        ("inconclusive", (HIGH, HIGH), "a"),  # would support it likewise
        ("refuted", (HIGH, HIGH), "a"),  # at an earlier look
    ],
)
def test_the_first_number_by_which_a_rule_holds_or_does_not_decides(
    answer: Answer, shares: tuple[tuple[float, float, float], ...], deciding: str
) -> None:
    found = several(answer, *shares, **ALL)
    assert found.deciding == deciding and found.shown is not None and found.shown.name == deciding


def test_what_holds_in_another_alternative_than_the_one_that_holds_does_not_decide() -> None:
    pairs = [{"all": [most("a"), few("b")]}, {"all": [most("c"), few("d")]}]
    rules = {"supported_if": {"any": pairs}, "refuted_if": None}
    assert several("supported", HIGH, HIGH, HIGH, LOW, **rules).deciding == "c"
    assert several("inconclusive", HIGH, BETWEEN, LOW, LOW, **rules).deciding == "b"


def test_an_open_claim_hangs_on_what_neither_supports_nor_refutes_it() -> None:
    """The first refutes, and the second, which refutation takes too, does not."""
    rules = {"supported_if": few("a"), "refuted_if": {"all": [most("a"), most("b")]}}
    assert several("inconclusive", HIGH, BETWEEN, **rules).deciding == "b"
    both = {"supported_if": {"all": [most("a"), most("b")]}, "refuted_if": {"all": [few("a"), few("b")]}}
    assert several("inconclusive", HIGH, LOW, **both).deciding == "b", "which keeps it from support"


def test_margins_are_the_datasets_and_a_claim_without_numbers_has_none() -> None:
    rules = {"supported_if": {"low": {"at_least": "margin"}}, "refuted_if": {"within": "margin"}}
    for margin, answer in ((0.3, "supported"), (3.0, "refuted")):
        assert with_deciding(replace(finding("c", **rules), answer=answer), margin).deciding == "effect"
    bare = replace(finding(), numbers=[], answer="not tested")
    assert with_deciding(bare, 1.0) is bare and bare.shown is None


def test_what_was_decided_earlier_hangs_on_what_decided_it() -> None:
    now = replace(several("inconclusive", (*HIGH[:1], 0.7, 1.0), LOW, **ALL), look=finding().look)
    now = replace(now, numbers=[replace(one, n=20) for one in now.numbers], deciding="a")
    before = Decided(now.claim.key("c"), "refuted", 10, "")
    assert at_first_look(now, [before], 1.0).deciding == "b"


@pytest.fixture
def refuted() -> Finding:
    return several("refuted", HIGH, LOW, **ALL)


def test_tables_show_it_with_its_name(refuted: Finding) -> None:
    blocks = overview(reports(refuted, finding("alone")))
    text = as_text(blocks)
    assert "  0/10 trained  [0.00, 0.20]  10  refuted\n  measured: b\n" in text
    assert " ".join(SEVERAL.split()) in " ".join(text.split())
    assert "| 0/10" not in markdown.render(blocks) and "| b: 0/10 trained | [0.00, 0.20] | 10 |" in markdown.render(
        blocks
    )
    [grid] = [block for block in blocks if isinstance(block, Grid)]
    assert [row.of for row in grid.rows] == ["b", ""]
    assert SEVERAL not in as_text(overview(reports(finding("alone")))).replace("\n", " ")


def test_json_forest_and_database_have_the_same(refuted: Finding) -> None:
    [entry] = reports(refuted).entries
    told = json.loads(data.dump(data.finding(entry)))
    assert (told["deciding"], told["effect"]["point"], told["unit"], told["n"]) == ("b", 0.0, "share", 10)
    assert [one["name"] for one in told["numbers"]] == ["a", "b"]
    row = judged(refuted)
    assert (row.effect, row.low, row.high, row.unit) == (0.0, 0.0, 0.2, "share")
    assert row.measures is not None and [one["deciding"] for one in row.measures] == [False, True]
    [panel] = effects.panels([entry])
    assert panel.rows[0]["point"] == 0 and "(1 of 2 numbers)" in " ".join(panel.rows[0]["contrast"])
    assert [limit["of"] for limit in panel.rows[0]["limits"]] == ["supported", "refuted"]


def test_readmes_cell_says_what_was_counted(refuted: Finding) -> None:
    [line] = [line for line in markdown.render(overview(reports(refuted))).splitlines() if line.startswith("| c |")]
    [(claim, *cell)] = claims_table.ROW.findall(line)
    assert claim == "c" and claims_table._cell(*cell) == "**refuted** b: 0/10 trained [0.00, 0.20], n = 10"


def test_what_is_expected_of_a_claim_rests_on_its_first_measure(tmp_path: Path, refuted: Finding) -> None:
    """Whatever number its verdict hung on."""
    database = str(tmp_path / "d.db")
    ratio = finding("r", number(1.0, 0.0, math.inf, "log2"))
    with closing(Store(database)) as store:
        store.lock_claims([(each.claim.key(each.name), each.name, {}) for each in (refuted, ratio)])
        store.store_verdicts(store.register(instance(wanted(seed=1))), [judged(refuted), judged(ratio)])
    found = known_effects(Results(database).effects("e"))
    assert found["c"].effect == refuted.numbers[0].effect and found["c"].n == 10
    assert found["r"].effect == ratio.numbers[0].effect
