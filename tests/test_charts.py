"""Charts: what stands in their specifications, against tables made by hand."""

import ast
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp import registry
from bnexp.claims.findings import Finding
from bnexp.claims.report import Entry, Reports
from bnexp.errors import UsageError
from bnexp.reports.charts import effects, grid, means, output, percentiles
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.curves import within
from bnexp.reports.charts.figures import Spec, about, draw
from bnexp.reports.charts.names import label, labels, titled
from bnexp.reports.charts.themes import THEMES
from tests import tables
from tests.charts import HOSTILE, SLOW, made
from tests.test_reports import finding, number, reports

INF = math.inf
Drawn = Callable[[str], Spec]
T_HALF = 12.7062047
"""Student's t at 97.5%, one degree of freedom: two seeds that lie 2 apart have an interval of plus or minus this."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """Of a database that tests only read."""
    return made(tmp_path_factory.mktemp("charts"))


@pytest.fixture(scope="module")
def drawn(asked: Asked) -> Drawn:
    """Figures by name, each drawn once; the claims' with a few that have been judged."""
    judged = replace(asked, known=reports(finding("one"), finding(HOSTILE), post_hoc=frozenset({"one"})))
    return cache(lambda name: draw(name, judged))


def rows(spec: Spec, *columns: str) -> list[dict[str, Any]]:
    """All rows of a specification's data that have these columns, each once."""
    found: list[dict[str, Any]] = []
    for values in spec["datasets"].values():
        found += [row for row in values if set(columns) <= set(row) and row not in found]
    return found


def subtitle(spec: Spec) -> str:
    return " ".join(spec["title"]["subtitle"])


# Means and what diverged


def raced(*curves: list[float], **fields: Any) -> Any:
    """The trials of these curves, a seed each; a shorter one diverged."""
    tests_ = [curve[-1] if len(curve) == 3 else None for curve in curves]
    cell = tables.seeds(tests_, **fields)
    reader = tables.curves_of({row["trial_key"]: curve for row, curve in zip(cell, curves, strict=True)}, (1, 10, 20))
    return tables.table(cell), reader


def test_a_mean_has_students_interval_over_seeds() -> None:
    series = means.series_of(*raced([0.1, 0.3, 0.5], [0.12, 0.34, 0.5]))
    assert [(row["step"], row["seeds"]) for row in series.mean] == [(1, 2), (10, 2), (20, 2)]
    assert [row["mean"] for row in series.mean] == pytest.approx([11, 32, 50])
    assert [row["low"] for row in series.mean] == pytest.approx([0, 32 - 2 * T_HALF, 50])  # none is below 0
    assert [row["high"] for row in series.mean] == pytest.approx([11 + T_HALF, 32 + 2 * T_HALF, 50])
    assert series.ended == [] and (series.waiting, series.every) == (0, 1)


def test_one_seed_has_no_interval() -> None:
    [first, *_] = means.series_of(*raced([0.1, 0.3, 0.5])).mean
    assert (first["mean"], first["low"], first["high"]) == (pytest.approx(10), None, None)
    assert means.notes({"a": means.Series([first])}) == ["One seed each, so that there is no interval."]


def test_what_diverged_ends_and_is_in_no_mean() -> None:
    series = means.series_of(*raced([0.1, 0.3, 0.5], [0.2], [0.4], [0.3, 0.1], []))
    assert [row["mean"] for row in series.mean] == pytest.approx([10, 30, 50])
    told = sorted((row["last"], row["step"], round(row["value"], 6), row["runs"]) for row in series.ended)
    assert told == [(1, 1, 10, 1), (1, 1, 30, 2), (10, 1, 30, 1), (10, 10, 10, 1)]
    assert "4 trials diverged" in " ".join(means.notes({"a": series}))


def test_where_all_diverged_there_are_only_their_ends() -> None:
    series = means.series_of(*raced([0.1], [0.3, 0.2]))
    assert series.mean == [] and [row["last"] for row in series.ended] == [1, 10, 10]
    assert means.notes({"a": series}) == ["2 trials diverged: thin lines, which end with a × at the last evaluation."]


def test_trials_that_wait_are_counted_and_left_out() -> None:
    trials, reader = raced([0.1, 0.3, 0.5], [0.9, 0.9, 0.9])
    trials["status"][1] = "running"
    series = means.series_of(trials, reader)
    assert [row["mean"] for row in series.mean] == pytest.approx([10, 30, 50]) and series.waiting == 1
    assert "1 trial not ended yet, and left out." in means.notes({"a": series})


def test_a_loss_of_one_has_an_interval_around_it() -> None:
    assert means._interval(np.zeros(3), False) == {"mean": 1.0, "low": 1.0, "high": 1.0}  # its logarithm is 0
    assert means._interval(np.zeros(3), True) == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    series = means.series_of(*raced([0.1, math.nan, 0.5], [0.3, 0.3, 0.5]))
    assert [row["mean"] for row in series.mean] == pytest.approx([20, 30, 50]) and series.not_finite == 1
    assert "Left out: 1 evaluation without a finite number." in means.notes({"a": series})


def test_trials_that_end_where_few_do_have_marks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "MOST_ENDS", 1)
    series = means.series_of(*raced([0.1, 0.3, 0.5], [0.3, 0.1], [0.3, 0.1], [0.2]))
    assert [(row["last"], row["step"]) for row in series.ended] == [(1, 1), (10, 1), (10, 10)]
    assert series.marks_only == 1


def test_a_long_curve_is_thinned_up_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "MOST_STEPS", 2)
    series = means.series_of(*raced([0.1, 0.3, 0.5]))
    assert [row["step"] for row in series.mean] == [1, 20] and series.every == 2
    assert "One evaluation in 2 is drawn." in means.notes({"a": series})


def test_losses_have_geometric_means(asked: Asked) -> None:
    spec = draw("curves", replace(asked, name="raced", metric="train_loss"))
    drawn = {(row["series"], row["step"]): row["mean"] for row in rows(spec, "mean")}
    assert drawn["none (Inception)", 10.0] == pytest.approx(0.1) and drawn["BN", 20.0] == pytest.approx(0.01)
    assert "geometric mean" in subtitle(spec)


def test_a_loss_out_of_all_proportion_stands_at_the_edge() -> None:
    mean = [{"step": 1.0, "mean": 2.0, "low": 1.0, "high": 3.0, "seeds": 2}]
    gone = [{"step": 1.0, "value": 1e30, "last": 1.0, "runs": 1}]
    drawn, said = within({"a": means.Series(mean, gone)}, "train_loss")
    assert drawn["a"].ended[0]["value"] == 300 and said == "Losses above 300 are drawn there."
    assert within({"a": means.Series(mean, gone)}, "train_accuracy")[0]["a"].ended[0]["value"] == 1e30
    assert within({"a": means.Series([], gone)}, "train_loss")[0]["a"].ended[0]["value"] == 1e30


# Figures


@pytest.mark.parametrize("name", registry.FIGURES)
def test_every_figure_is_valid(drawn: Drawn, name: str) -> None:
    import vl_convert

    spec = drawn(name)
    assert "config" not in spec and spec["title"]["text"] and spec["title"]["subtitle"]
    assert "http" not in json.dumps(spec).replace(spec["$schema"], "")
    for config in THEMES.values():
        vega = vl_convert.vegalite_to_vega(spec | {"config": config}, vl_version=output.VERSION)
        assert vega["marks"] and config["background"] == vega["background"]
    assert about(name).endswith(".")


def test_curves_of_an_experiment_are_those_of_its_arms(asked: Asked) -> None:
    spec = draw("curves", replace(asked, name="raced"))
    drawn = {(row["series"], row["step"]): row["mean"] for row in rows(spec, "mean")}
    assert [drawn["none (Inception)", step] for step in (1.0, 10.0, 20.0)] == pytest.approx(
        [100 * each + 1 for each in SLOW]
    )
    assert drawn["BN", 20.0] == pytest.approx(71)
    assert "95% interval" in subtitle(spec) and "config" not in spec


def test_curves_of_trials_by_their_keys(asked: Asked) -> None:
    [key, *others] = [key for key, status in asked.results.keys("", 50) if status == "diverged"]
    spec = draw("curves", replace(asked, trials=(key[:20], others[0])))
    assert {row["series"] for row in rows(spec, "runs")} == {f"{each[:12]} (diverged)" for each in (key, others[0])}
    assert rows(spec, "mean") == [] and spec["title"]["text"][0].endswith(": 2 trials")
    alone = draw("curves", replace(asked, trials=(key[:20],)))
    assert alone["title"]["text"] == [f"Validation accuracy by training steps: trial {key[:12]} (diverged)"]
    with pytest.raises(UsageError, match="--trial: at most 8 trials have a colour each"):
        draw("curves", replace(asked, trials=(key,) * 9))


def test_figure_1_has_percentiles_of_all_units(drawn: Drawn) -> None:
    spec = drawn("figure-1")
    seen = {(row["series"], row["percentile"], row["step"]): row for row in rows(spec, "percentile", "mean")}
    assert seen["norm none", "p50", 20]["mean"] == pytest.approx(3.0)  # 2.5 and 3.5
    assert seen["norm none", "p50", 20]["high"] == pytest.approx(3.0 + T_HALF / 2)
    assert seen["norm batch", "p85", 0]["mean"] == seen["norm batch", "p85", 20]["mean"] == pytest.approx(1.5)
    [outer] = [row for row in rows(spec, "low", "high") if row["series"] == "norm none" and row["step"] == 20
               and "percentile" not in row and "mean" not in row]  # fmt: skip
    # p15 of the units is 1, 2, 2, 3; p85 is 3, 4, 4, 5
    assert (outer["low"], outer["high"]) == (pytest.approx(1.3), pytest.approx(4.7))


def test_percentiles_of_more_trials_than_can_be_read_are_of_the_first_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(percentiles, "MOST_TRIALS", 4)
    trials = tables.table([*tables.seeds([0.5] * 3, norm="batch"), *tables.seeds([0.5] * 3, norm="none")])
    fewer, said = percentiles.first_seeds(trials)
    assert sorted(fewer["seed"]) == [0, 0, 1, 1] and said == "Percentiles are those of the first 2 of 3 seeds."
    assert percentiles.first_seeds(fewer) == (fewer, "")


def test_figure_2_marks_the_steps_to_the_controls_best(drawn: Drawn) -> None:
    """51%, at which the control's second seed is at step 20, and BN's at step 10."""
    spec = drawn("figure-2")
    assert "nothing of it has ended here: BN-x5-Sigmoid." in subtitle(spec)
    assert {(row["series"], row["step"]) for row in rows(spec, "target")} == {
        ("none (Inception): 20", 20.0),
        ("BN: 10", 10.0),
    }
    [level] = [row for row in rows(spec, "level", "text") if row["text"]]
    assert level["level"] == pytest.approx(51) and level["text"] == "best of none (Inception): 51.0%"


def test_figure_3_has_ours_and_the_papers(drawn: Drawn) -> None:
    found = {(row["variant"], row["who"]): row for row in rows(drawn("figure-3"), "variant")}
    assert set(found) == {(name, who) for name in ("none (Inception)", "BN") for who in ("measured here", "the paper")}
    assert found["BN", "the paper"]["times"] == pytest.approx(31 / 13.3)
    assert found["BN", "the paper"]["words"] == "13.3 million steps"
    assert found["BN", "measured here"]["times"] == 2 and found["BN", "measured here"]["words"] == "10 steps"
    assert found["BN", "measured here"]["accuracy"] == pytest.approx(71)


def test_the_grid_has_the_mean_and_the_share_that_diverged(drawn: Drawn) -> None:
    found = {(row["norm"], row["rate"], row["scale"]): row for row in rows(drawn("grid"), "rate")}
    assert len(found) == 8
    good = found["none", "1", "10"]
    assert (good["shown"], good["share"], good["seeds"]) == ("51.0", "", 2) and good["half"] == pytest.approx(T_HALF)
    bad = found["none", "30", "1"]
    assert (bad["shown"], bad["share"], bad["diverged"]) == ("10.0", "100%", 100)
    assert found["batch", "30", "1"]["shown"] == "71.0"


def test_the_grid_says_over_what_its_cells_are_means(monkeypatch: pytest.MonkeyPatch, asked: Asked) -> None:
    monkeypatch.setattr(grid, "MOST_PANELS", 1)
    crossed = itertools.product((1, 5), (1, 10), (0, 0.5))
    trials = tables.table(
        tables.seeds([0.6 if dropout else 0.4], norm="batch", lr_multiplier=rate, init_scale=scale, dropout=dropout)[0]
        for rate, scale, dropout in crossed
    )
    panels, left_out = grid._panels(trials)
    assert (panels, left_out) == ([], ["dropout"])
    assert {row["accuracy"] for row in grid.cells(trials, panels)} == {50.0}


# Claims

RATIO: dict[str, Any] = {"estimator": {"name": "steps_ratio"}, "supported_if": {"low": {"at_least": 1}}}


def entries(*findings: Finding) -> list[Entry]:
    return reports(*findings).entries


def test_units_and_contrasts_have_axes_of_their_own() -> None:
    found = effects.panels(
        entries(
            finding("points"),
            finding("more points", number(2, 1, 3)),
            finding("ratio", number(3, 2, 4, "log2"), **RATIO),
            finding("gap", number(1, 0, 2), estimator={"name": "matched_loss_gap"}),
            finding("seeds", number(50, 20, 80, "rate"), estimator={"name": "difference", "of": "trained"}),
        )
    )
    assert [[row["claim"] for row in panel.rows] for panel in found] == [
        ["points", "more points"],
        ["ratio"],
        ["gap"],
        ["seeds"],
    ]
    assert [panel.logarithmic for panel in found] == [False, True, False, False]
    assert [panel.no_effect for panel in found] == [0, 1, 0, 0]
    [ratio] = found[1].rows
    assert (ratio["low"], ratio["point"], ratio["high"]) == (4, 8, 16)


def test_every_estimator_has_an_axis() -> None:
    assert set(effects.AXES) == set(registry.ESTIMATORS)


def test_small_effects_have_the_same_axis_enlarged() -> None:
    large, small = effects.panels(entries(finding("large", number(80, 70, 90)), finding("small", number(1, 0, 2))))
    assert [row["claim"] for row in small.rows] == ["small"] and small.title == f"{large.title} (enlarged)"
    assert large.domain[1] > 90 and 2 < small.domain[1] < 3


def test_limits_are_where_the_interval_must_be() -> None:
    within_one = {"supported_if": {"low": {"at_least": "margin"}}, "refuted_if": {"within": 0.25}}
    [panel] = effects.panels(entries(finding("c", number(1.5, 0.5, 2.5), **within_one)))
    [row] = panel.rows
    assert row["limits"] == [
        {"of": "supported", "from": 1.0, "to": panel.domain[1]},
        {"of": "refuted", "from": -0.25, "to": 0.25},
    ]


@pytest.mark.parametrize(
    ("effect", "point", "below", "above"),
    [((1.0, 0.5, INF), 2.0, False, True), ((INF, 1.0, INF), 2.0, False, True), ((1.0, -INF, 2.0), 2.0, True, False)],
)
def test_an_interval_without_an_end_goes_on(
    effect: tuple[float, float, float], point: float, below: bool, above: bool
) -> None:
    about = finding("c", number(*effect, "log2"), **RATIO)
    [panel] = effects.panels(entries(about))
    [row] = panel.rows
    assert row["point"] == point and all(math.isfinite(end) for end in panel.domain)
    assert (row["below"] == panel.domain[0], row["above"] == panel.domain[1]) == (below, above)


def test_what_nothing_bounds_has_no_place() -> None:
    about = finding("c", number(-INF, -INF, INF, "log2"), **RATIO)
    [panel] = effects.panels(entries(about))
    assert [panel.rows[0][name] for name in ("point", "low", "high", "below", "above")] == [None] * 5


def test_the_forest_has_a_row_a_claim_and_names_those_without(asked: Asked) -> None:
    bare = replace(finding("bare"), numbers=[], answer="not tested")
    known: Reports = reports(finding("one"), finding("two"), bare, post_hoc=frozenset({"two"}))
    spec = draw("claims", replace(asked, known=known))
    assert [row["claim"] for row in rows(spec, "verdict")] == ["one", "two†"]
    assert '"symbolOpacity"' in json.dumps(spec), "the legend"
    assert '"symbolOpacity"' not in json.dumps(draw("claims", replace(asked, known=reports(finding("one")))))
    assert "2 supported, 1 not tested" in subtitle(spec) and "not drawn: bare" in subtitle(spec)
    with pytest.raises(UsageError, match="no claim about e has a number"):
        draw("claims", replace(asked, known=reports(bare)))


# Names


def test_names_stay_text() -> None:
    assert label("a\nb\x1b[0m\ud800\uffff") == "a b\\x1b[0m\\ud800?"
    assert label("x" * 100) == "x" * 20 + "…" + "x" * 39
    long = label(f"{'a long variant, ' * 3}norm none, lr multiplier 300000, nonlinearity relu")
    assert long == "a long variant, a…multiplier 300000, nonlinearity relu"
    assert len(set(labels(["x" * 100 + str(number) for number in range(3)]).values())) == 3
    assert all(len(line) <= 100 for line in titled("t", "word " * 90)["subtitle"])  # type: ignore[attr-defined]
    assert titled(f"{'x' * 70} fashion-mnist")["text"] == ["x" * 70, "fashion-mnist"]


def test_a_hostile_name_reaches_a_title_as_text(asked: Asked) -> None:
    spec = draw("curves", replace(asked, name=HOSTILE))
    assert "alert" in " ".join(spec["title"]["text"]) and "\x1b" not in str(spec) and "\ufffe" not in str(spec)


def test_charts_are_cheap_to_import() -> None:
    """Altair and vl-convert are imported where a figure is drawn."""
    found = 0
    for path in (Path(registry.__file__).parent / "reports" / "charts").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            found += isinstance(node, ast.Import | ast.ImportFrom)
            assert not (isinstance(node, ast.Import) and node.names[0].name in ("altair", "vl_convert")), path
    assert found > 50
