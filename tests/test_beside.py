"""The paper's tables: as they stand in a file, our numbers beside them, and what people see of both."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.results import write
from bnexp.claims.beside import Beside, Line, beside
from bnexp.claims.data import Data, no_probes
from bnexp.claims.findings import Finding, Number
from bnexp.claims.report import report_on
from bnexp.claims.statistics import Interval, sign_flip
from bnexp.config import TrialConfig
from bnexp.db.results import Results
from bnexp.db.rows import WantedTrial
from bnexp.errors import ConfigurationError
from bnexp.experiments import load
from bnexp.identity import trial_key
from bnexp.paper import PaperTable
from bnexp.reports.beside import table as blocks
from bnexp.reports.data import beside as as_json
from bnexp.reports.data import to_json
from bnexp.reports.formats import as_text
from bnexp.reports.markdown import render
from tests import databases, tables
from tests.conftest import Bnexp
from tests.test_experiments import marked

STEPS = [1, 10, 20, 30, 40]
FIGURE = {
    "title": "Figure 3",
    "scale": "ImageNet",
    "control": "Inception",
    "rows": {
        "Inception": {"variant": "none", "learning_rate": 0.0015, "steps": 31.0e6, "accuracy": 72.2},
        "BN": {"learning_rate": 0.0015, "steps": 13.3e6, "accuracy": 72.7},
    },
}
SLOW, FAST = [0.1, 0.3, 0.5, 0.6, 0.7], [0.1, 0.7, 0.8, 0.8, 0.8]


# In a file


FILE = """
experiments:
  e:
    variants: {none: {norm: none}, BN: {norm: batch}}
    seeds: 2
    paper:
      title: Figure 3
      control: Inception
      rows:
        Inception: {variant: none, learning_rate: 0.0015, steps: 31.0e+6, accuracy: 72.2}
        BN-x5-Sigmoid: {steps: not reached, accuracy: 69.8}
        Inception at 5x: {where: {norm: none}, outcome: machine infinity}
claims:
  ensemble: {question: "Is it?", section: "4", quote: it is, needs: ImageNet}
"""


def read(folder: Path, text: str) -> PaperTable:
    """The table of the experiment `e` of a file of this text."""
    path = folder / "file.yaml"
    path.write_text(text)
    found = load(path).experiments["e"].paper
    assert found is not None
    return found


def test_a_file_gives_a_table(tmp_path: Path) -> None:
    paper = read(tmp_path, FILE)
    assert (paper.title, paper.control, [*paper.rows]) == (
        "Figure 3",
        "Inception",
        ["Inception", "BN-x5-Sigmoid", "Inception at 5x"],
    )
    assert paper.rows["Inception"].steps == 31e6
    assert paper.rows["BN-x5-Sigmoid"].steps == "not reached"
    assert not paper.of_errors


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("steps: 31.0e+6", "»stepps: 1", "unknown key 'stepps' (known: accuracy"),
        ("steps: 31.0e+6", "»stepps: 1", "did you mean 'steps'"),
        ("title: Figure 3", "»titel: x", "did you mean 'title'"),
        ("title: Figure 3\n", "scale: x\n", "paper needs `title`"),
        ("steps: 31.0e+6", "»steps: soon", "it must be a number above 0, or \"not reached\" (given: 'soon')"),
        ("steps: 31.0e+6", "»steps: -1", "it must be a number above 0"),
        ("steps: 31.0e+6", "»steps: .inf", "it must be a number above 0"),
        ("steps: 31.0e+6", "»steps: true", "it must be a number above 0"),
        ("accuracy: 72.2", "»accuracy: 172", "accuracy: it must be less than or equal to 100 (given: 172)"),
        ("variant: none", "»variant: non", "no variant 'non' (known: BN, none; did you mean 'none'?)"),
        ("control: Inception", "control: Inceptoin", "no row 'Inceptoin' (known: BN-x5-Sigmoid, Inception"),
        ("control: Inception", "scale: x", "needs `control`"),
        ("where: {norm: none}", "where: {»nrom: none}", "unknown field 'nrom'"),
        ("where: {norm: none}", "where: {»norm.epps: 1}", "no field 'norm.epps'"),
        ("where: {norm: none}", "»where: none", "where must be a mapping"),
        (
            "Inception at 5x: {where: {norm: none}, outcome: machine",
            "»Inception at 5x: {outcome: x, steps: 1} #",
            "one of them",
        ),
        ("outcome: machine infinity", f"»outcome: {'x' * 21}", "it must have at most 20 characters"),
        ("Inception at 5x: {where: {norm: none},", "»Inception at 5x: {top1_error: 1,", "a row has one kind"),
        ("outcome: machine infinity", "top1_error: 1", "a table has one kind"),
        ("paper:", "paper: {title: x, »rows: {}}\n    probes:", "paper.rows must have from 1 to 100 rows"),
        ("title: Figure 3", "»title: 3", "paper.title: it must be a valid string (given: 3)"),
        ("paper:\n      title: Figure 3", "»paper: [Figure 3]\n    probes:\n", "paper must be a mapping"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FILE
    text = FILE.replace(old, new, 1)
    text, place = marked(text if "»" in text else text.replace("paper:", "»paper:"))
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, text)
    assert f"file.yaml:{place}: " in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("rows: {»E: {measures: {top1_error: gain}}}", "measures needs `claim`"),
        ("rows: {E: {claim: ensemble, measures: {»top1: gain}}}", "unknown key 'top1' (known: top1_error, top5_error;"),
        ("rows: {»E: {claim: ensemble, variant: BN}}", "a row has `claim`, or `variant`, `where`"),
        ("control: E, rows: {E: {top1_error: 1}}", "control is for a table about curves"),
        (
            "rows: {E: {claim: ensemble, measures: {»top1_error: t9}}}",
            "no measure of ensemble 't9' (known: t1; did you",
        ),
        ("rows: {E: {»claim: ensembel}}", "paper: no claim 'ensembel' (known: ensemble; did you mean 'ensemble'?)"),
    ],
)
def test_a_table_of_errors_is_checked_too(tmp_path: Path, table: str, said: str) -> None:
    paper = f"paper: {{title: F, {table}}}"
    before = FILE.partition("    paper:")[0]
    text = f"{before}    {paper if '»' in paper else f'»{paper}'}\nclaims: {{ensemble: {{measures: {{t1: {{}}}}}}}}\n"
    text, place = marked(text)
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, text)
    assert f"file.yaml:{place}: " in str(refused.value)
    assert said in str(refused.value)


def test_a_table_is_no_part_of_an_instance(tmp_path: Path) -> None:
    read(tmp_path, FILE)
    experiment = load(tmp_path / "file.yaml").experiments["e"]
    plain = load(_without_paper(tmp_path)).experiments["e"]
    assert plain.paper is None
    assert experiment.expand() == plain.expand()


def _without_paper(folder: Path) -> Path:
    text = FILE.partition("    paper:")[0]
    (folder / "plain.yaml").write_text(text)
    return folder / "plain.yaml"


# Our numbers


def trials(variant: str, *curves: Sequence[float] | None, steps: Sequence[int] = STEPS, **fields: Any) -> list[Any]:
    """A trial a seed and its curve; None for one that diverged at once, a short curve for one that did later."""
    found = []
    for seed, curve in enumerate(curves):
        config = TrialConfig.model_validate({"seed": seed, "norm": "none" if variant == "none" else "batch"} | fields)
        whole = curve is not None and len(curve) == len(steps)
        row = tables.row(config, curve[-1] if whole and curve else None, variant=variant, arm=variant)
        row["trial_key"] += variant
        found.append((row, dict(zip(steps, curve or [], strict=False))))
    return found


def data(*cells: list[Any]) -> Data:
    rows = [row for cell in cells for row, _ in cell]
    curves = {row["trial_key"]: curve for cell in cells for row, curve in cell}

    def read_curves(keys: Sequence[str], names: Sequence[str]) -> Any:
        points = [(key, step, value) for key in sorted(keys) for step, value in curves[key].items()]
        columns = zip(*points, strict=True) if points else [()] * 3
        return dict(zip(["trial_key", "step", *names], map(np.array, columns), strict=True))

    return Data("e", tables.table(rows), read_curves, 1.0, no_probes)


def lines(*cells: list[Any], **changes: Any) -> tuple[Beside, dict[str, Line]]:
    found = beside(PaperTable.model_validate(FIGURE | changes), data(*cells), [], no_top5)
    return found, {line.name: line for line in found.lines}


def no_top5(keys: Sequence[str]) -> Any:
    return np.full(len(keys), math.nan)


def course(line: Line) -> tuple[float | None, float | None, int, float | None]:
    assert line.course is not None
    return line.course.steps, line.course.ratio, line.course.reached, line.course.best and line.course.best.point


def test_steps_are_counted_to_the_best_of_the_controls_mean_curve() -> None:
    found, line = lines(trials("none", SLOW, SLOW), trials("BN", FAST, FAST))
    assert found.target == pytest.approx(70)
    assert course(line["Inception"]) == (40, 1, 2, pytest.approx(70))
    assert course(line["BN"]) == (10, 4, 2, pytest.approx(80))
    assert line["Inception"].ours == "none"
    assert line["BN"].ours == ""
    rows = {**FIGURE["rows"], "BN": {"variant": "BN", "steps": 1.0}}  # type: ignore[dict-item]
    assert lines(trials("none", SLOW), trials("BN", FAST), rows=rows)[1]["BN"].ours == ""


def test_steps_are_those_by_which_half_of_the_seeds_have_come_to_it() -> None:
    late, never = [0.1, 0.2, 0.3, 0.8, 0.8], [0.1, 0.2, 0.3, 0.4, 0.5]
    _, line = lines(trials("none", SLOW), trials("BN", FAST, late, never))
    assert course(line["BN"])[:3] == (30, 40 / 30, 2)
    _, line = lines(trials("none", SLOW), trials("BN", FAST, never, never))
    assert course(line["BN"])[:3] == (None, None, 1)
    _, line = lines(trials("none", SLOW), trials("BN", [0.1, 0.2, 0.9, 1.0, 1.0], never, [0.1, 0.2, 0.6, 0.6, 0.6]))
    assert course(line["BN"])[:3] == (40, 1, 1)  # half never do, the mean does at last


def test_a_control_of_which_few_seeds_come_to_its_own_mean_has_its_steps() -> None:
    _, line = lines(trials("none", [0.1, 0.5, 0.9, 0.9, 0.98], *[[*SLOW[:-1], 0.61]] * 2), trials("BN", *[FAST] * 3))
    assert course(line["Inception"])[:3] == (40, 1, 1)
    assert course(line["BN"])[:2] == (20, 2)


def test_the_best_of_a_curve_need_not_be_its_end() -> None:
    found, line = lines(trials("none", [0.1, 0.3, 0.7, 0.6, 0.5]), trials("BN", FAST))
    assert found.target == pytest.approx(70)
    assert course(line["Inception"]) == (20, 1, 1, pytest.approx(70))


def test_what_is_never_reached_has_no_steps() -> None:
    _, line = lines(trials("none", SLOW), trials("BN", [0.1] * 5))
    assert course(line["BN"])[:3] == (None, None, 0)


def test_what_is_there_at_once_has_the_first_evaluations_step() -> None:
    _, line = lines(trials("none", SLOW), trials("BN", [0.9] * 5))
    assert course(line["BN"])[:2] == (1, 40)


def test_seeds_that_diverged_are_counted_and_reach_nothing() -> None:
    _, line = lines(trials("none", SLOW), trials("BN", FAST, None, FAST[:3], FAST))
    assert line["BN"].counts.diverged == 2
    assert course(line["BN"]) == (10, 4, 2, pytest.approx(80))
    found, line = lines(trials("none", SLOW), trials("BN", FAST, None, None))
    assert course(line["BN"]) == (None, None, 1, pytest.approx(80))
    assert "ours 0.02 diverged - 1/3 80.0%" in squeezed(found)
    assert "BN: 2 of 3 seeds diverged; its accuracies and errors are those of the others." in squeezed(found)
    _, line = lines(trials("none", SLOW), trials("BN", None, None))
    assert course(line["BN"]) == (None, None, 0, None)
    found, line = lines(trials("none", None, None), trials("BN", FAST))
    assert found.target is None
    assert course(line["BN"]) == (None, None, 0, pytest.approx(80))


def test_the_best_accuracy_has_the_judges_interval() -> None:
    tops = [0.7, 0.72, 0.74, 0.71, 0.73, 0.75, 0.69]
    _, line = lines(trials("none", SLOW), trials("BN", *([0.1, top, 0.2, 0.2, 0.6] for top in tops)))
    assert line["BN"].course is not None
    assert line["BN"].course.best == sign_flip([100 * top for top in tops]).interval()
    assert line["Inception"].course is not None
    assert line["Inception"].course.best == Interval(pytest.approx(70), -math.inf, math.inf)  # type: ignore[arg-type]


def test_variants_that_are_missing_or_have_not_ended_have_no_numbers() -> None:
    waiting = trials("BN", FAST, FAST)
    waiting[1][0]["status"] = "running"
    found, line = lines(trials("none", SLOW), waiting)
    assert line["BN"].course is None
    assert line["BN"].doubt == "1 of 2 trials have ended"
    assert "ours 0.02 not ended - - -" in squeezed(found)
    waiting[1][0]["status"] = "failed"
    assert "--retry-failed" in lines(trials("none", SLOW), waiting)[1]["BN"].doubt
    found, line = lines(trials("BN", FAST, FAST))
    assert (line["Inception"].course, line["Inception"].counts.trials, found.target) == (None, 0, None)
    assert course(line["BN"])[:2] == (None, None)


def test_evaluations_need_not_be_at_the_same_steps() -> None:
    apart = trials("BN", [0.1, 0.5, 0.9], steps=[2, 5, 40]) + trials("BN", [0.1, 0.9, 0.9], steps=[3, 5, 40], split=1)
    apart[1][0]["seed"] = 1
    _, line = lines(trials("none", SLOW), apart)
    assert course(line["BN"])[:3] == (5, 8, 2)
    unlike = trials("BN", [0.1, 0.9], steps=[2, 5]) + trials("BN", [0.1, 0.9], steps=[3, 6], split=1)
    unlike[1][0]["seed"] = 1
    _, line = lines(trials("none", SLOW), unlike)
    assert "no step" in line["BN"].doubt


def test_a_row_has_one_trial_a_seed_and_may_say_which() -> None:
    both = trials("BN", FAST) + trials("BN", SLOW, lr_multiplier=5)
    found, line = lines(trials("none", SLOW), both)
    assert "narrow `where`" in line["BN"].doubt
    assert "ours 0.02 to 0.1 - -" in squeezed(found)
    assert "BN: several trials have one seed; narrow `where`." in squeezed(found)
    assert line["BN"].rates == (0.02, 0.1)
    rows = {**FIGURE["rows"], "BN": {"where": {"lr_multiplier": 5, "norm": "batch"}, "steps": 1.0}}  # type: ignore[dict-item]
    _, line = lines(trials("none", SLOW), both, rows=rows)
    assert (course(line["BN"])[0], line["BN"].rates) == (40, (0.1,))


def test_a_row_without_trials_of_its_name_has_none() -> None:
    _, line = lines(trials("none", SLOW), trials("BN-x5", FAST))
    assert line["BN"].counts.trials == 0


GAINS = {"top1_error": "gain", "top5_error": "of five"}
ENSEMBLE = {
    "title": "Figure 4",
    "rows": {
        "single crop": {"crops": 1, "models": 1, "top1_error": 25.2, "top5_error": 7.82},
        "multicrop": {"crops": 144, "models": 1, "top1_error": 21.99, "top5_error": 5.82},
        "ensemble": {"crops": 144, "models": 6, "top1_error": 20.1, "claim": "ensemble", "measures": GAINS},
    },
}


def finding() -> Finding:
    numbers = [
        Number("other", "points", Interval(9, 8, 10), 10),
        Number("gain", "points", Interval(-1.5, -2, -1), 10, ["mean error of the ensembles 3.00%"]),
        Number("of five", "points", Interval(-0.5, -1, 0), 10),
    ]
    return Finding("ensemble", tables.claim(), "supported", "", numbers)


def ensembles(*found: Finding, top5: float = 0.9) -> Beside:
    cells = [trials("BN", *[curve] * 2, crops=crops) for curve, crops in ((SLOW, 1), (FAST, 10))]
    for row, _ in cells[1]:
        row["trial_key"] += " of 10 crops"
    return beside(PaperTable.model_validate(ENSEMBLE), data(*cells), found, lambda keys: np.full(len(keys), top5))


def test_errors_are_those_of_trials_with_one_crop_or_several() -> None:
    single, several, ensemble = ensembles().lines
    assert single.errors is not None
    assert several.errors is not None
    assert (single.errors.crops, several.errors.crops) == ((1,), (10,))
    assert (single.errors.top1.point, several.errors.top1.point) == (pytest.approx(30), pytest.approx(20))
    assert single.errors.top5 is not None
    assert single.errors.top5.point == pytest.approx(10)
    assert (ensemble.claimed, ensemble.doubt) == ({}, "not tested")
    [first, *_] = ensembles(top5=math.nan).lines
    assert first.errors is not None
    assert first.errors.top5 is None


def test_an_ensembles_row_is_what_its_claim_measures() -> None:
    first, gain, of_five = finding().numbers
    *_, line = ensembles(finding()).lines
    assert line.claimed == {"top1_error": gain, "top5_error": of_five}
    rows = {"E": {"top1_error": 20.1, "claim": "ensemble"}}
    table = PaperTable.model_validate({"title": "F", "rows": rows})
    assert beside(table, data(trials("BN", SLOW)), [finding()], no_top5).lines[0].claimed == {"top1_error": first}


# What people see


def squeezed(found: Beside) -> str:
    """What is shown, with one space between words."""
    return " ".join(shown(found).split())


def shown(found: Beside) -> str:
    text = as_text(blocks(found), 80)
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_the_table_of_curves_fits_a_terminal() -> None:
    rows = {
        **FIGURE["rows"],  # type: ignore[dict-item]
        "BN-x5-Sigmoid": {"steps": "not reached", "accuracy": 69.8},
        "Inception at 5x": {"variant": "none-x5", "learning_rate": 0.0075, "outcome": "machine infinity"},
    }
    many = 12
    found, _ = lines(
        trials("none", *[SLOW] * many),
        trials("BN", *[FAST] * many),
        trials("none-x5", *[None] * many, lr_multiplier=5),
        rows=rows,
    )
    text = shown(found)
    for expected in (
        "Inception        0.0015             31.0M     1x",
        "  ours: none       0.02                40     1x  12/12  70.0% [70.0, 70.0]",
        "BN               0.0015             13.3M  2.33x",
        "  ours             0.02                10     4x  12/12  80.0% [80.0, 80.0]",
        "BN-x5-Sigmoid         -       not reached      -      -               69.8%",
        "  ours                -           not run      -      -",
        "Inception at 5x  0.0075  machine infinity      -",
        "  ours: none-x5     0.1          diverged      -   0/12",
        "none-x5: all 12 seeds diverged.",
        "The paper's scale: ImageNet.",
        "Our scale: digits, mlp 3x100, 1,000 steps of batches of 60, 12 seeds.",
    ):
        assert expected in text
    assert "| BN | 0.0015 | 13.3M | 2.33x | - | 72.7% |" in render(blocks(found))


def test_the_table_of_errors_fits_a_terminal() -> None:
    text = shown(ensembles())
    assert "not tested" in text
    assert "single crop      1       1        25.2%        7.82%" in text
    assert "the claim ensemble says it, when it is tested" in " ".join(text.split())
    text = squeezed(ensembles(finding()))
    assert "ours - - -1.5 [-2.0, -1.0] -0.5 [-1.0, +0.0]" in text
    assert "gain of the claim ensemble, in points; mean error of the ensembles 3.00%." in text
    assert as_json(ensembles(finding()))["rows"][2]["ours"]["claimed"]["top1_error"]["n"] == 10
    first, gain, of_five = finding().numbers
    own = replace(finding(), numbers=[first, replace(gain, alone=Interval(3.0, 2.5, 3.5)), of_five])
    text = squeezed(ensembles(own))
    assert "ours - - 3.0% [2.5, 3.5] -0.5 [-1.0, +0.0]" in text
    assert "gain of the claim ensemble is -1.5 points [-2.0, -1.0], n = 10; mean error" in text


def test_json_has_numbers() -> None:
    found, _ = lines(trials("none", SLOW, SLOW), trials("BN", FAST, None))
    rows = json.loads(json.dumps(as_json(found)))["rows"]
    assert rows[1]["paper"] == {"learning_rate": 0.0015, "steps": 13.3e6, "accuracy": 72.7}
    ours = rows[1]["ours"]
    assert (ours["diverged"], ours["course"]["steps"], ours["course"]["ratio"]) == (1, 10, 4)


PAPER = """
experiments:
  tiny:
    variants: {none: {norm: none}, BN: {norm: batch}, BN-huge: {norm: batch, lr_multiplier: 1.0e+3}}
    seeds: 2
    paper:
      title: Figure 3
      control: none
      rows:
        none: {learning_rate: 0.0015, steps: 31.0e+6, accuracy: 72.2}
        BN: {steps: 13.3e+6}
        BN-huge: {outcome: machine infinity}
  ensemble:
    seeds: 2
    paper:
      title: Figure 4
      rows:
        single crop: {crops: 1, models: 1, top1_error: 25.2, top5_error: 7.82}
        multicrop: {crops: 144, models: 1, top1_error: 21.99}
suites: {both: [tiny, ensemble]}
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this file and a database in which both experiments have ended; tests read it only."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "experiments.yaml").write_text(PAPER)
    database = str(folder / "bnexp.db")
    experiments = load(folder / "experiments.yaml").experiments
    instances = [
        databases.of(
            name, [WantedTrial(trial_key(one.config, ""), one.config, "", 10, one.variant) for one in design.expand()]
        )
        for name, design in experiments.items()
    ]
    databases.train(database, databases.register(database, *instances))
    databases.change(database, "update trials set test_top5_accuracy = 0.75 where norm = 'none'")
    return folder


def test_a_stored_experiments_table_is_in_its_report(stored: Path, bnexp: Bnexp) -> None:
    ended = bnexp("report", "both", cwd=stored)
    assert ended.code == 0, ended.err
    for expected in (
        "Figure 3 of the paper, and ours (tiny)",
        "none     0.0015             31.0M     1x      -         72.2%\n"
        "  ours     0.02                10     1x    2/2         50.0%\n",
        "BN-huge       -  machine infinity      -      -             -\n"
        "  ours       20          diverged      -    0/2             -\n",
        "BN-huge: all 2 seeds diverged.",
        "Figure 4 of the paper, and ours (ensemble)",
        "single crop      1       1        25.2%        7.82%\n  ours           1       1        49.5%        25.0%",
        "multicrop      144       1       21.99%            -\n  ours           -       -      not run            -",
    ):
        assert expected in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


def test_it_is_in_json_and_on_the_page_of_results(stored: Path) -> None:
    file, database = load(stored / "experiments.yaml"), str(stored / "bnexp.db")
    results = Results(database)
    content = json.loads(to_json(report_on(results, file, {}, "tiny")))
    results.close()
    none, bn, huge = content["instances"][0]["paper"]["rows"]
    assert (none["ours"]["course"]["ratio"], bn["ours"]["course"]["best"]["point"]) == (1, 50)
    assert (huge["ours"]["diverged"], huge["ours"]["course"]["best"]) == (2, None)
    page = write([f"both={database}"], file, {})
    assert "### Figure 3 of the paper, and ours (tiny)" in page
    assert "| single crop | 1 | 1 | 25.2% | 7.82% |" in page
    results = Results(database)
    assert report_on(results, replace(file, experiments={}), {}, "tiny").reports[0].beside is None
    results.close()
