"""The arms of an experiment in charts: one order, and one name, colour and dash each, in all figures and pages."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.claims.data import Data
from bnexp.claims.partial import called
from bnexp.reports.charts import lines
from bnexp.reports.charts.arms import Arms, arms_of, named_by, of_claim, rank, with_claims
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.figures import Spec, draw
from bnexp.reports.charts.means import Series
from bnexp.reports.page import drawing
from tests import page, tables
from tests.charts import made

BOTH = {"treatment": {"norm": "batch"}, "control": {"norm": "none"}}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    return made(tmp_path_factory.mktemp("arms"))


def data(*cells: list[dict[str, Any]], names: list[str]) -> Data:
    """Two seeds a cell, each an arm with one of the names."""
    rows = [row | {"arm": name, "variant": ""} for cell, name in zip(cells, names, strict=True) for row in cell]
    return tables.data(rows)


def crossed(*rates: float) -> Data:
    """Norms by rates, in a wrong order."""
    fields = [{"norm": norm, "lr_multiplier": rate} for rate in rates for norm in ("group", "batch", "none")]
    names = [f"lr_multiplier {each['lr_multiplier']:g}, norm {each['norm']}" for each in fields]
    return data(*(tables.seeds([0.5, 0.6], **each) for each in fields), names=names)


def claim(**changes: Any) -> Any:
    return tables.claim(**{"arms": BOTH, "where": {}, **changes})


# Names and order


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        ("batch_size 2, norm batch", "norm batch, batch size 2"),
        ("dropout 0.1, nonlinearity relu, norm none", "norm none, nonlinearity relu, dropout 0.1"),
        ("sigmoid_BN, model.hidden 3x100", "sigmoid_BN, hidden 3x100"),
        ("steps, with all", "steps, with all"),  # a variant's own name
        ("", ""),
    ],
)
def test_an_arm_is_called_as_people_read_it(arm: str, expected: str) -> None:
    assert called(arm) == expected


def test_what_trials_share_is_named_alike_with_a_variants_name_bare() -> None:
    assert named_by({"norm": "group", "batch_size": 2}) == called("batch_size 2, norm group")
    assert named_by({"variant": "BN", "model.hidden": "3x100"}) == called("BN, model.hidden 3x100")
    assert named_by({"variant": ["a", "b"]}) == "a or b" and named_by({}) == "all trials"


def test_levels_are_in_their_own_order() -> None:
    levels: list[Any] = ["group", "batch", 10.0, "[5, 5, 5]", 3, "[5, 5]", "none", None, float("nan")]
    assert sorted(levels, key=rank)[2:] == [3, 10.0, "[5, 5]", "[5, 5, 5]", "none", "batch", "group"]


def test_arms_stand_by_norm_and_then_by_number() -> None:
    assert [*arms_of(crossed(10, 3)).lines] == [
        f"norm {norm}, lr multiplier {rate}" for norm in ("none", "batch", "group") for rate in (3, 10)
    ]


def test_variants_stand_as_the_file_has_them_with_the_papers_names(asked: Asked) -> None:
    known = asked.data(asked.results.latest("raced"))
    assert [*arms_of(known, asked.file.experiments["raced"]).lines] == ["none (Inception)", "BN"]
    assert [*arms_of(known).lines] == ["BN", "none"], "without the file, by their names"


def test_arms_that_are_too_many_are_put_together_and_it_is_said() -> None:
    found = arms_of(crossed(1, 3, 10))
    assert [*found.lines] == ["norm none", "norm batch", "norm group"]
    assert found.about == "Each seed's mean over all levels of lr multiplier."
    assert [len(own["seed"]) for own in found.lines.values()] == [6, 6, 6]


# What claims compare


def test_a_claim_is_drawn_by_the_lines_that_it_is_made_of() -> None:
    known = crossed(3, 10)
    found = with_claims(arms_of(known), [claim(), claim(where={"lr_multiplier": 10})], known)
    assert [*found.lines] == [*arms_of(known).lines], "no other line is needed"
    assert [*of_claim(found, claim(), known)] == [*found.lines][:4]
    narrow = of_claim(found, claim(where={"lr_multiplier": 10}), known)
    assert [*narrow] == ["norm none, lr multiplier 10", "norm batch, lr multiplier 10"]
    assert all(narrow[name] is found.lines[name] for name in narrow)


def test_what_is_made_of_no_lines_has_one_of_its_own_after_them() -> None:
    known = crossed(1, 3, 10)
    one, other = (claim(where={"lr_multiplier": rate}) for rate in (10, 3))
    found = with_claims(arms_of(known), [one, claim(), other, one], known)
    own = [f"norm {norm}, lr multiplier {rate}" for rate in (10, 3) for norm in ("none", "batch")]
    assert [*found.lines] == ["norm none", "norm batch", "norm group", *own]
    assert [*of_claim(found, other, known)] == own[2:]
    assert [*of_claim(found, claim(), known)] == ["norm none", "norm batch"]


def test_trials_without_names_of_arms_are_known_by_their_keys() -> None:
    """Those of an older database."""
    known = crossed(3)
    old = replace(known, trials={**known.trials, "arm": np.full(len(known.trials["seed"]), "", dtype=object)})
    found = with_claims(arms_of(old), [claim()], old)
    assert [*found.lines] == ["norm none", "norm batch", "norm group"]
    assert [*of_claim(found, claim(), old)] == ["norm none", "norm batch"]


def test_two_lines_never_have_one_name() -> None:
    known = crossed(3)
    found = arms_of(known)
    first, second, _ = found.lines.values()
    only = Arms({"x": first}, found.whole).joined("x", second).joined("y", first)
    assert [*only.lines] == ["x", "x (2)"]


# The same in all figures


def places(spec: Any) -> Iterator[tuple[list[str], list[str]]]:
    """Of every colour scale of series in a specification: all its names, and those in its legend."""
    if isinstance(spec, dict):
        colour = spec.get("encoding", {}).get("color", {})
        if colour.get("field") == "series" and colour["scale"].get("domain"):
            legend = colour.get("legend") or {}
            yield colour["scale"]["domain"], legend.get("values", [])
        for inner in spec.values():
            yield from places(inner)
    elif isinstance(spec, list):
        for inner in spec:
            yield from places(inner)


def looks(*specs: Spec) -> dict[str, set[int]]:
    """The places, which are colours and dashes, that each name has in these."""
    found: dict[str, set[int]] = {}
    for domain, _ in itertools.chain.from_iterable(map(places, specs)):
        for place, name in enumerate(domain):
            found.setdefault(name.partition(":")[0], set()).add(place)
    return found


def test_an_arm_looks_the_same_in_all_figures(asked: Asked) -> None:
    specs = [draw(name, replace(asked, name="raced")) for name in ("curves", "figure-2")]
    assert looks(*specs) == {"none (Inception)": {0}, "BN": {1}}
    rows, *_ = draw("figure-3", replace(asked, name="raced"))["datasets"].values()
    assert list(dict.fromkeys(row["variant"] for row in rows)) == ["none (Inception)", "BN"]
    assert looks(draw("figure-1", replace(asked, name="inside"))) == {"norm none": {0}, "norm batch": {1}}


def test_an_arm_keeps_its_looks_where_others_are_not_drawn(asked: Asked) -> None:
    """The paper's table has a row for one of the two variants."""
    raced = asked.file.experiments["raced"]
    assert raced.paper
    table = raced.paper.model_copy(update={"control": "BN", "rows": {"BN": raced.paper.rows["BN"]}})
    file = replace(asked.file, experiments={"raced": replace(raced, paper=table)})
    assert looks(draw("figure-2", replace(asked, file=file, name="raced"))) == {"none": {0}, "BN": {1}}


def test_an_arm_looks_the_same_on_the_whole_page(tmp_path: Path) -> None:
    made_here = page.made(tmp_path)
    found = page.about(made_here)
    own = [picture.spec for picture in found.claims[0].pictures]
    own += [each.spec for part in found.experiments if part.title == "crossed" for each in part.pictures]
    seen = looks(*own)
    assert len(seen) == 8 and all(len(each) == 1 for each in seen.values())
    [legend] = {tuple(shown) for _, shown in places(own[1]) if shown}
    drawn = itertools.product(("none", "batch"), (1, 30))
    assert legend == tuple(f"norm {norm}, init scale 1, lr multiplier {rate}" for norm, rate in drawn)
    made_here.results.close()


def test_a_colour_that_comes_again_has_another_dash() -> None:
    [mean] = [[{"step": 1.0, "mean": 50.0, "low": None, "high": None, "seeds": 1}]]
    names = [f"n{index}" for index in range(20)]
    spec = lines.chart({"n8": Series(mean), "n0": Series(mean)}, "y", width=9, height=9, order=names).to_dict()
    [dashes] = [
        layer["encoding"]["strokeDash"]["scale"] for layer in spec["layer"] if "strokeDash" in layer.get("encoding", {})
    ]
    assert dashes["domain"] == names and dashes["range"][8] != dashes["range"][0]
    pairs = [(index % 8, tuple(dash)) for index, dash in enumerate(dashes["range"])]
    assert len(set(pairs)) == len(pairs)


def test_the_page_draws_as_many_lines_as_have_a_colour_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MOST_TRIALS", 8)
    known = crossed(1, 2, 3)
    found = with_claims(arms_of(known), [claim(where={"lr_multiplier": rate}) for rate in (1, 2, 3)], known)
    drawn, said = drawing.as_many_as_fit(found.lines)
    assert len(found.lines) == 9 and [*drawn] == [*found.lines][:8]
    assert said == ["The first 8 of 9 arms.", "The first 1 of 2 seeds."]
