"""docs/schema.md: it says what stands in the program, and its questions have the answers that they should."""

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bnexp
from benchmarks.schema import PART, columns_of_views, meaning, render
from bnexp.config import TrialConfig
from bnexp.db import views
from bnexp.db.rows import Judged
from bnexp.db.store import Store
from bnexp.db.tables import Base
from bnexp.records import Choice, Final, Outcome, Point, Probe
from tests.databases import never, of, register, seeds, train

PAGE = PART.path.read_text()
QUESTIONS: Mapping[str, str] = dict(re.findall(r"^### ([^\n]+\?)\n\n```sql\n(.+?)```", PAGE, re.DOTALL | re.MULTILINE))
GAIN = {"none": 0.0, "batch": 0.125}


def trained(slot: int, config: TrialConfig) -> Outcome:
    """At 30 times the rate only networks with BN train. They are an eighth better, and at 60% by step 10."""
    if config.norm.name == "none" and config.lr_multiplier == 30:
        return Outcome(slot, "diverged", (), None, 7, "nan")
    gain = GAIN[config.norm.name]
    accuracy = 0.5 + gain + config.seed / 64 - (config.lr_multiplier == 30) / 32
    curve = tuple(Point(step, 1.0, 0.5, 1.0, reached) for step, reached in ((1, 0.1), (10, 0.5 + gain), (20, accuracy)))
    probes = tuple(
        Probe(step, "hidden 2", "percentiles p50", config.seed + (1 - 4 * gain) * step / 20) for step in (0, 10, 20)
    )
    final = Final(0.1, 1.0, 0.2, accuracy, 0.3, accuracy)
    return Outcome(slot, "finished", curve, final, probes=probes if config.lr_multiplier == 1 else ())


def fill(database: str) -> None:
    """A grid of two norms, two rates and two seeds, and an experiment that fails."""
    cells = [(norm, rate) for norm in GAIN for rate in (1, 30)]
    grid = [trial for norm, rate in cells for trial in seeds(1, 2, norm=norm, lr_multiplier=rate)]
    [doomed] = register(database, of("doomed", seeds(5, batch_size=7)))
    train(database, [doomed], never, leave="fail")
    [number] = register(database, of("grid", [replace(trial, arm="an arm") for trial in grid]))
    train(database, [number], trained)
    judged = Judged("k", "supported", 12.5, 10.0, float("inf"), "points", 2, 0.25, 0.5, "It is better.")
    with closing(Store(database)) as store:
        store.choose(
            number, [Choice(arm, "lr_multiplier", 30.0, 0.5, arm == "norm batch") for arm in ("norm batch", "none")]
        )
        store.lock_claims([("k", "better", {"quote": "q"})])
        store.store_verdicts(number, [judged])


ANSWERS: Mapping[str, list[tuple[Any, ...]]] = {
    "How does every experiment stand?": [
        ("doomed", 1, "failed", 1),
        ("grid", 2, "diverged", 2),
        ("grid", 2, "finished", 6),
    ],
    "How accurate is the grid at each rate, with BN and without?": [
        ("batch", 1.0, 2, 0.6484375, 0.640625),
        ("batch", 30.0, 2, 0.6171875, 0.609375),
        ("none", 1.0, 2, 0.5234375, 0.515625),
        ("none", 30.0, 2, 0.1, 0.1),
    ],
    "What share of the trials diverged, with BN and without?": [
        ("batch", 1.0, 0.0),
        ("batch", 30.0, 0.0),
        ("none", 1.0, 0.0),
        ("none", 30.0, 1.0),
    ],
    "At which rate is each network best on validation?": [
        ("sigmoid", "batch", 1.0, 0.6484375),
        ("sigmoid", "none", 1.0, 0.5234375),
    ],
    "How much does BN gain, seed by seed?": [(1, 2, 31.71875), (2, 2, 32.5)],
    "After how many steps does each trial come to 60% on validation?": [
        ("batch", 1.0, 1, 10.0),
        ("batch", 1.0, 2, 10.0),
        ("batch", 30.0, 1, 10.0),
        ("batch", 30.0, 2, 10.0),
        ("none", 1.0, 1, None),
        ("none", 1.0, 2, None),
    ],
    "What was said of each claim, and how sure is it?": [
        ("better", "supported", 12.5, 10.0, float("inf"), "points", 2, 0.5)
    ],
    "Which tuned rates lie at the edge of what was tried?": [("grid", "norm batch", "lr_multiplier", 30.0)],
    "How far does the median of a sigmoid's input move in training?": [
        ("batch", "hidden 2", 0.5),
        ("none", "hidden 2", 1.0),
    ],
    "What failed, on which machine, and of what?": [(seeds(5, batch_size=7)[0].key, "here", None, "no memory")] * 3,
}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_question_has_its_answer(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    database = str(tmp_path / "bnexp.db") if kind == "sqlite" else request.getfixturevalue("postgresql")
    fill(database)
    assert len(QUESTIONS) == 10 and set(QUESTIONS) == set(ANSWERS)
    with bnexp.open(database) as opened:
        for question, sql in QUESTIONS.items():
            assert list(opened.query(sql).rows()) == ANSWERS[question], question


def test_the_page_is_what_the_program_says() -> None:
    assert PART.replaced(PAGE, render()) == PAGE, "run python benchmarks/schema.py"


def test_every_column_is_said_to_be_something() -> None:
    for mapper in Base.registry.mappers:
        for column in mapper.class_.__table__.columns:
            assert len(meaning(mapper.class_, column.name)) > 8, column
    shown = columns_of_views()
    assert set(shown) == set(views.VIEWS)
    assert sum(len(names) for names in shown.values()) > 150
    for view, names in shown.items():
        assert all(views.field(view, name).kind != "object" for name in names), view


def test_all_views_are_known() -> None:
    assert set(views.VIEWS) == set(re.findall(r"^### ([a-z_]+)$", PAGE.partition("## Tables")[0], re.MULTILINE))


def test_the_page_of_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(str(tmp_path / "bnexp.db"))
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    found: dict[str, Any] = {}
    exec(block, found)
    assert found["best"]["best"].tolist() == [0.65625] and len(found["trials"]) == 8 and len(found["curves"]) == 18
