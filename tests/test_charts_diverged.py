"""Charts in which everything or nearly everything diverged, or is one number: axes with ticks, marks that are seen."""

from typing import Any

import pytest

from bnexp.reports.charts import figure_3, grid, inputs, lines
from bnexp.reports.charts.diverged import WIDE, beside
from bnexp.reports.charts.means import Series, series_of
from bnexp.reports.charts.percentiles import Inside
from tests.test_charts import raced


def mean(step: float, value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"step": step, "mean": value, "low": low, "high": high, "seeds": 2}


def end(step: float, value: float, last: float | None = None, series: str = "a") -> dict[str, Any]:
    return {"step": step, "value": value, "last": step if last is None else last, "runs": 1, "series": series}


def scales(chart: Any) -> tuple[Any, Any]:
    """The horizontal and the vertical scale of the first layer that has both."""
    layers = chart.to_dict()["layer"]
    both = next(layer["encoding"] for layer in layers if {"x", "y"} <= set(layer.get("encoding", {})))
    return both["x"], both["y"]


def drawn(*ended: dict[str, Any], until: float = 1000.0, log: bool = False, **series: Series) -> Any:
    every = {"a": Series(ended=list(ended), until=until), **series}
    return lines.chart(every, "y", width=90, height=90, log=log)


def test_where_all_diverged_the_axis_goes_on_to_the_steps_that_were_asked_for() -> None:
    x, y = scales(drawn(end(1, 10)))
    assert x["scale"]["domain"] == [1, 1000] and y["scale"]["domain"] == [5, 15]
    _, y = scales(drawn(end(1, 2.3), log=True))
    assert y["scale"]["domain"] == [1.15, 4.6]
    _, y = scales(drawn(end(1, 99)))
    assert y["scale"]["domain"] == [94, 100], "no accuracy is above 100%"


def test_where_some_did_not_the_axis_is_that_of_what_is_drawn() -> None:
    x, y = scales(drawn(end(1, 10), b=Series([mean(1, 10), mean(20, 40)], until=1000)))
    assert x["scale"]["domain"] == [1, 20] and "domain" not in y["scale"]


def test_the_steps_that_were_asked_for_are_the_trials_own() -> None:
    assert series_of(*raced([0.1], [0.3, 0.2], steps=70)).until == 70


def test_a_single_step_is_a_point_with_its_interval_on_an_axis_with_its_tick() -> None:
    chart = lines.chart({"a": Series([mean(1, 13, 12, 14)])}, "y", width=9, height=9).to_dict()
    marks = [layer["mark"]["type"] for layer in chart["layer"]]
    assert marks.count("rule") == 1 and marks.count("point") == 2
    x = chart["layer"][0]["encoding"]["x"]
    assert x["axis"]["values"] == [1] and x["scale"]["domain"] == [0.5, 2]
    several = lines.chart({"a": Series([mean(1, 13, 12, 14), mean(2, 13, 12, 14)])}, "y", width=9, height=9).to_dict()
    assert "rule" not in [layer["mark"]["type"] for layer in several["layer"]]


def test_a_lone_series_has_no_legend_and_several_have_one() -> None:
    def legends(*names: str) -> list[Any]:
        series = {name: Series([mean(1, 13), mean(2, 14)]) for name in names}
        layers = lines.chart(series, "y", width=9, height=9).to_dict()["layer"]
        return [each for layer in layers if (each := layer["encoding"].get("color", {}).get("legend"))]

    assert legends("a") == []
    assert {each["columns"] for each in legends("a", "b")} == {2}
    assert {each["columns"] for each in legends("a", "b" * 40)} == {1}


def test_marks_at_one_place_stand_beside_each_other() -> None:
    first, second, third = (end(1, 10, series=name) for name in "abc")
    other, late = end(1, 50), end(900, 10)
    found = beside([first, second, other, third, late, {**late}], (0, 100), 1000, log=False)
    assert found == {0: [first, other, late], WIDE: [second], 2 * WIDE: [third], -WIDE: [late]}


def test_marks_are_apart_as_they_are_seen_on_a_logarithmic_axis() -> None:
    low, high = end(1, 0.001), end(1, 0.01)
    assert beside([low, high], (0.001, 1000), 10, log=True) == {0: [low, high]}
    assert beside([low, high], (0, 1000), 10, log=False) == {0: [low], WIDE: [high]}


def test_lines_on_their_way_and_what_is_not_shown_have_no_marks() -> None:
    assert beside([end(1, 10, last=5), end(5, 10)], (20, 100), 5, log=False) == {}


def test_the_papers_chart_shows_no_accuracy_above_100_or_below_0() -> None:
    rows = [{"accuracy": 99.0, "low": 98.5, "high": 99.6}, {"accuracy": 72.0}, {"accuracy": None}]
    low, high = figure_3.shares(rows)
    assert high == 100 and 68 < low < 72
    assert figure_3.shares([{"accuracy": 0.5}, {"accuracy": 10.0}])[0] == 0
    low, high = figure_3.shares([{"accuracy": 50.0}])
    assert low < 50 < high


def test_a_grid_of_one_accuracy_has_colours_around_it() -> None:
    assert grid.colours([{"accuracy": 10.0}, {"accuracy": 10.0}]) == (5, 15)
    assert grid.colours([{"accuracy": 10.0}, {"accuracy": 30.0}]) == (10, 30)


def test_inputs_of_a_norm_that_always_diverged_say_so_on_the_axis_of_the_others() -> None:
    whole = Inside([{"step": s, "percentile": "p50", "mean": 1.0, "low": 0.5, "high": 1.5} for s in (0, 20)], [], [])
    gone, other = (
        panel.to_dict() for panel in inputs.panels({"none": Inside([], [], []), "batch": whole}, ["none", "batch"])
    )
    assert "all diverged" in str(gone["datasets"]) and "all diverged" not in str(other["datasets"])
    for panel in (gone, other):
        [domain] = {
            tuple(x["scale"]["domain"]) for layer in panel["layer"] if (x := layer["encoding"]["x"]).get("field")
        }
        assert domain == (0, 20)


@pytest.mark.parametrize(("value", "baseline"), [(51.0, "bottom"), (97.3, "top")])
def test_the_rules_words_stay_within_the_chart(value: float, baseline: str) -> None:
    [words] = [
        layer["mark"] for layer in lines.level(value, "best").to_dict()["layer"] if layer["mark"]["type"] == "text"
    ]
    assert words["baseline"] == baseline
