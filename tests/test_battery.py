"""The battery: normalizers in the place of batch normalization, from the file to the scorecard."""

import io
import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bnexp.battery import Battery, batteries, normalizers, possible
from bnexp.claims.about import about, replaced, sources
from bnexp.claims.model import Arms, Claim, Table
from bnexp.claims.overrides import but_seeds, run_command, with_seeds
from bnexp.claims.parse import parse_claims
from bnexp.claims.partial import columns_of
from bnexp.claims.scorecard import column, latest
from bnexp.config import TrialConfig
from bnexp.db.results import Results
from bnexp.db.rows import Instance
from bnexp.db.store import Store
from bnexp.errors import ConfigurationError, UsageError
from bnexp.experiments import ExperimentsFile, default_file, load
from bnexp.replacement import Normalizer, in_place, replaced_in, split
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.figures import draw
from bnexp.reports.formats import as_text
from bnexp.reports.scorecard import document
from bnexp.reports.screen import Screen
from bnexp.reports.table import render
from tests.attacks import invoke
from tests.conftest import Bnexp
from tests.test_completion import completed
from tests.test_run import rows

BATTERY = """
defaults:
  model: {name: mlp, hidden: [8]}
  steps: 20
  eval_every: 10
experiments:
  rates:
    about: Two arms
    nonlinearity: identity
    factors: {norm: [none, batch], lr_multiplier: [1, 30]}
    seeds: 2
  rivals:
    nonlinearity: identity
    variants: {small: {norm: batch, batch_size: 30}, large: {norm: {name: batch, eps: 0.1}}, group: {norm: group}}
    seeds: 2
suites: {battery: [rates, rivals]}
claims:
  better:
    question: Is BN better, and BN-x5 too?
    section: abstract
    quote: BN is
    experiment: rates
    arms: {treatment: {norm: batch}, control: {norm: none}}
    where: {norm: [none, batch]}
    estimator: {name: difference, at: {lr_multiplier: 1}}
    supported_if: {low: {at_least: 0}}
    refuted_if: {high: {at_most: 0}}
    supported: It is better with BN.
    refuted: It is not better with BN.
  rivals:
    question: Is BN worse than group?
    section: abstract
    quote: it is
    experiment: rivals
    measures:
      large:
        arms: {treatment: {norm: group}, control: {norm: batch}}
        where: {batch_size: 60}
        estimator: {name: difference}
    supported_if: {low: {at_least: margin}}
    supported: BN is worse.
"""
GROUPED = "{name: group, groups: 2}"


def of(text: str) -> Normalizer:
    return Normalizer.parse(text, f"--norm {text}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bnexp: Bnexp) -> Path:
    """A folder in which two normalizers and batch have been tested; tests read it only."""
    folder = tmp_path_factory.mktemp("battery")
    (folder / "experiments.yaml").write_text(BATTERY)
    asked = ["--norm", GROUPED, "--norm", "noisy-batch", "--norm", "batch", "--norm", "noisy-batch"]
    ended = bnexp("battery", *asked, "--workers", "1", cwd=folder)
    assert ended.code == 0, ended.err
    (folder / "out").write_text(ended.out)
    return folder


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> ExperimentsFile:
    path = tmp_path_factory.mktemp("read") / "experiments.yaml"
    path.write_text(BATTERY)
    return load(path)


@pytest.fixture(scope="module")
def claims(file: ExperimentsFile) -> dict[str, Claim]:
    return parse_claims(file)


# The normalizer


@pytest.mark.parametrize(
    ("text", "label", "written"),
    [
        ("group", "group", "group"),
        ("{name: group}", "group", "group"),
        ("{name: group, groups: 4}", "group", "group"),
        ("{groups: 2, name: group}", "group(groups=2)", "{name: group, groups: 2}"),
        ("{name: batch, eps: 1e-3}", "batch(eps=0.001)", "{name: batch, eps: 0.001}"),
    ],
)
def test_a_normalizer_is_named_as_in_a_file_and_written_in_one_way(text: str, label: str, written: str) -> None:
    normalizer = of(text)
    assert (normalizer.label, str(normalizer)) == (label, written)
    again = replaced_in(f"{normalizer.phrase} steps=3 seeds=4")
    assert again is not None and str(again) == written and not normalizer.itself


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("grup", "did you mean 'group'"),
        ("{name: group, eps: -1}", "norm.eps: -1 is not allowed"),
        ("{groups: 2}", "norm has no field 'groups'"),
        ("[group]", "--norm [group]"),
        ("{", "not YAML"),
        ("", "--norm"),
    ],
)
def test_what_a_file_could_not_name_is_refused_where_it_was_given(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        of(text)
    assert why in str(refused.value) and f"--norm {text}" in str(refused.value)


@pytest.mark.parametrize("text", ["noisy-batch", GROUPED])
def test_the_overrides_of_an_instance_tell_its_command(text: str) -> None:
    overrides = f"{of(text).phrase} steps=3 seeds=4"
    assert split(overrides) == (text, "steps=3 seeds=4") and split("steps=3") == ("", "steps=3")
    wanted = f"bnexp battery --norm {shlex.quote(text)} --set steps=3 --seeds"
    assert run_command(["rates"], overrides) == f"{wanted} 4"
    assert run_command(["rates"], with_seeds(overrides, 20)) == f"{wanted} 20"
    assert with_seeds(of(text).phrase, 8) == f"{of(text).phrase} seeds=8"
    assert but_seeds(overrides) == but_seeds(f"{of(text).phrase} seeds=9 steps=3") != but_seeds("steps=3")


# Experiments and claims


def test_it_stands_wherever_the_experiment_has_batch(file: ExperimentsFile) -> None:
    found = in_place(file.experiments["rates"], of(GROUPED)).arms()
    norms = [(arm.config.norm.name, getattr(arm.config.norm, "groups", 0)) for arm in found]
    assert norms == [("none", 0), ("none", 0), ("group", 2), ("group", 2)]
    small, large, rival = in_place(file.experiments["rivals"], of(GROUPED)).arms()
    written = [
        tuple(dict(arm.config.norm)[field] for field in ("name", "groups", "eps")) for arm in (small, large, rival)
    ]
    assert written == [("group", 2, 1e-5), ("group", 2, 0.1), ("group", 4, 1e-5)], "what the file says of it stays"
    assert small.config.batch_size == 30
    assert in_place(file.experiments["rates"], of("batch")) is file.experiments["rates"]


def test_fields_that_it_lacks_go_with_batch_normalization(tmp_path: Path, claims: dict[str, Claim]) -> None:
    (tmp_path / "e.yaml").write_text("experiments:\n  a: {norm: {name: batch,\n    momentum: 0.2}}\n  b: {norm: group}")
    experiments = load(tmp_path / "e.yaml").experiments
    [arm] = in_place(experiments["a"], of("group")).arms()
    assert arm.config.norm == TrialConfig.model_validate({"norm": "group"}).norm
    arms = Arms(treatment={"norm": {"name": "batch", "momentum": 0.2, "eps": 0.1}}, control={"norm": "none"})
    changed = replaced(claims["better"].model_copy(update={"arms": arms}), of("group"))
    assert changed.arms is not None and changed.arms.treatment == {"norm": "group", "norm.eps": 0.1}
    with pytest.raises(ConfigurationError, match=r"e.yaml:4:3: b has no `norm: batch`, whose place group could take"):
        in_place(experiments["b"], of("group"))


def test_none_is_no_normalizer_to_test() -> None:
    with pytest.raises(UsageError, match="--norm none: networks without normalization are what every normalizer is"):
        normalizers(["batch", "none"])


def test_an_arm_may_name_options() -> None:
    """As the database has them."""
    for options in ({"eps": 0.1, "a": 1}, [{"eps": 0.1, "a": 1}]):
        found = columns_of({"norm": {"name": "mine:MeanAbs", "options": options}})
        assert found == {"norm": ("mine:MeanAbs",), "norm_options": ('[["a", 1], ["eps", 0.1]]',)}
    several = columns_of({"model.options": [{"maps": 4}, {"maps": 5}]})
    assert several == {"model_options": ('[["maps", 4]]', '[["maps", 5]]')}


def instance(name: str, overrides: str) -> Instance:
    return Instance(name, "", overrides, 1.0, [])


def test_claims_are_about_it_with_their_limits_as_they_were(claims: dict[str, Claim]) -> None:
    ours = about(claims, instance("rates", of(GROUPED).phrase))
    assert list(ours) == ["better@group(groups=2)"]
    assert sources(claims, instance("rates", of(GROUPED).phrase)) == {"better@group(groups=2)": "better"}
    [(name, claim)] = ours.items()
    before = claims["better"]
    assert claim.arms is not None and claim.arms.treatment == {"norm": "group", "norm.groups": 2}
    assert claim.arms.control == {"norm": "none"} and claim.where == {"norm": ["none", "group"]}
    kept = ("supported_if", "refuted_if", "looks", "quote", "section", "estimator", "experiment")
    assert all(getattr(claim, field) == getattr(before, field) for field in kept)
    assert claim.question == "Is group(groups=2) better, and BN-x5 too?"
    assert claim.supported == "It is better with group(groups=2)."
    assert claim.key(name) != before.key("better")
    assert about(claims, instance("rates", "steps=3")) == {"better": before}


@pytest.mark.parametrize("written", ["norm: batch", "norm: {name: batch, eps: 0.1}", "norm.name: batch, norm.eps: 0.1"])
def test_a_claim_may_write_batch_in_any_way(claims: dict[str, Claim], written: str) -> None:
    arms = Arms(treatment=yaml.safe_load(f"{{{written}, dropout: 0}}"), control={"norm": "none"})
    changed = replaced(claims["better"].model_copy(update={"arms": arms, "table": Table(by=("dropout",))}), of(GROUPED))
    assert changed.arms is not None and changed.table == Table(by=("dropout",))
    eps = {"norm.eps": 0.1} if "eps" in written else {}
    assert changed.arms.treatment == {"norm": "group", "norm.groups": 2, "dropout": 0} | eps


@pytest.mark.parametrize(
    ("text", "rival"), [("noisy-batch", ""), ("group", "group"), (GROUPED, "group"), ("none", "none")]
)
def test_arms_that_would_be_the_same_are_not_compared(claims: dict[str, Claim], text: str, rival: str) -> None:
    name = "rates" if text == "none" else "rivals"
    [claim] = about(claims, instance(name, of(text).phrase)).values()
    assert claim.experiment == (None if rival else name)
    assert claim.needs == (f"What it compares {of(text).label} with is {rival} too." if rival else "")


def test_a_claim_made_from_another_is_as_old_as_it(tmp_path: Path) -> None:
    """However late a normalizer is thought of, its limits stood before there were data."""
    store = Store(str(tmp_path / "bnexp.db"))
    store.lock_claims([("file", "c", {})])
    store.lock_claims([("file", "c", {}), ("made", "c@x", {}), ("own", "d", {})], {"made": "file", "file": "file"})
    store.close()
    times = dict(rows(tmp_path, "select name, locked_at from claims"))
    assert times["c"] == times["c@x"] < times["d"]


# The command


def test_the_scorecard_stands_in_eighty_columns(folder: Path) -> None:
    out = (folder / "out").read_text()
    assert max(map(len, out.splitlines())) <= 80
    heads = [line.split() for line in out.splitlines() if line.startswith("claim ")]
    assert heads == [["claim", "group(groups=2)", "noisy-batch", "batch"]]
    assert "\nbetter     inconclusive  inconclusive  inconclusive\n" in out
    assert "\nrivals       not tested  inconclusive  inconclusive\n" in out
    assert "†" not in out, "a claim about a normalizer is as old as the file's"
    assert "group(groups=2), rivals: What it compares group(groups=2) with is group too." in " ".join(out.split())


@pytest.mark.parametrize(("long", "heads"), [(1, [3]), (20, [2, 1]), (40, [1, 1, 1])])
def test_as_many_columns_stand_abreast_as_there_is_room_for(folder: Path, long: int, heads: list[int]) -> None:
    file = load(folder / "experiments.yaml")
    card = latest(Results(str(folder / "bnexp.db")), parse_claims(file), ["rates", "rivals"])
    named = [replace(column, normalizer=Normalizer(f"own:{'N' * long}", {})) for column in card.columns]
    lines = as_text(document(replace(card, columns=named)), 80).splitlines()
    assert [line.count("own:") for line in lines if line.startswith("claim ")] == heads
    assert max(len(line) for line in lines) <= 80


def test_verdicts_are_coloured(folder: Path) -> None:
    file = load(folder / "experiments.yaml")
    card = latest(Results(str(folder / "bnexp.db")), parse_claims(file), ["rates", "rivals"])
    screen = Screen(file=io.StringIO(), force_terminal=True, color_system="standard", width=80, no_color=False)
    render(document(card), screen)
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert text.count("\x1b[33minconclusive\x1b[0m") == 5 and text.count("\x1b[2mnot tested\x1b[0m") == 1


def test_trials_are_shared_and_instances_are_told_apart(folder: Path) -> None:
    each = "select norm, count(*) from trial_results group by 1 order by 1"
    assert rows(folder, each) == [("batch", 4 + 4), ("group", 4 + 4 + 2), ("noisy-batch", 4 + 4), ("none", 4)]
    assert rows(folder, "select count(*) from attempts") == [(8 + 10 + 8 + 4,)]
    phrases = [f"norm={GROUPED} in place of batch", "norm=noisy-batch in place of batch", ""]
    found = rows(folder, "select name, overrides from experiments order by id")
    assert found == [(name, phrase) for phrase in phrases for name in ("rates", "rivals")]


def test_again_it_trains_nothing_and_says_the_same(folder: Path, bnexp: Bnexp) -> None:
    asked = ["--norm", GROUPED, "--norm", "noisy-batch", "--norm", "batch"]
    again = bnexp("battery", *asked, cwd=folder)
    assert again.code == 0 and "nothing is missing" in again.err
    assert again.out == (folder / "out").read_text()
    assert rows(folder, "select count(*) from attempts") == [(30,)]


def test_markdown_has_one_table_and_json_everything(folder: Path, bnexp: Bnexp) -> None:
    asked = ["battery", "--norm", "noisy-batch", "--norm", "batch", "--norm", "{name: group, groups: 2.0}"]
    assert bnexp(*asked, cwd=folder).code == 2, "2.0 is no whole number"
    asked[-1] = GROUPED
    assert bnexp(*asked, "--format", "markdown", "--output", "card.md", cwd=folder).out == ""
    text = (folder / "card.md").read_text()
    assert "| claim | noisy-batch | batch | group(groups=2) |\n| --- | ---: | ---: | ---: |\n| better | inconcl" in text
    card = json.loads(bnexp(*asked, "--format", "json", cwd=folder).out)
    assert [column["normalizer"] for column in card["normalizers"]] == ["noisy-batch", "batch", "group(groups=2)"]
    assert card["normalizers"][2]["norm"] == {"name": "group", "groups": 2}
    better, rivals = card["normalizers"][0]["findings"]
    assert (better["of"], better["name"], better["n"]) == ("better", "better@noisy-batch", 2)
    assert (better["answer"], better["post_hoc"], rivals["unit"]) == ("inconclusive", False, "points")
    assert [finding["answer"] for finding in card["normalizers"][2]["findings"]] == ["inconclusive", "not tested"]


def test_other_reports_know_whom_an_instance_is_about(folder: Path, bnexp: Bnexp) -> None:
    assert bnexp("battery", "--norm", "noisy-batch", cwd=folder).code == 0, "so that it is run last"
    report = bnexp("report", "battery", cwd=folder).out
    assert "battery (norm=noisy-batch in place of batch)" in report
    assert "better@noisy-batch" in report and "rivals@noisy-batch" in report and "Not tested here" not in report
    one = bnexp("report", "--claim", "better", cwd=folder)
    assert one.code == 0 and "Is noisy-batch better" in one.out and "norm = 'noisy-batch'" in one.out
    assert "batch normalization" not in one.out and "better@noisy-batch" in bnexp("report", "rates", cwd=folder).out
    named = bnexp("report", "--claim", "better@group(groups=2)", cwd=folder)
    assert named.code == 0 and "Is group(groups=2) better" in named.out
    number = rows(folder, "select id from experiments where name = 'rates' and overrides = ''")[0][0]
    paper = bnexp("report", "rates", "--instance", str(number), cwd=folder).out
    assert "Is BN better" in paper and "noisy" not in paper


def test_the_chart_has_what_the_scorecard_has(folder: Path) -> None:
    asked = Asked(Results(str(folder / "bnexp.db")), load(folder / "experiments.yaml"))
    [drawn] = draw("battery", asked)["datasets"].values()
    assert {row["normalizer"]: row["measured"] for row in drawn if row["claim"] == "rivals"}.keys() == {
        "batch",
        "group(groups=2)",
        "noisy-batch",
    }
    told = {(row["normalizer"], row["claim"]): (row["verdict"], " ".join(row["measured"])) for row in drawn}
    assert told["group(groups=2)", "rivals"] == ("not tested", "not tested")
    verdict, measured = told["noisy-batch", "better"]
    assert verdict == "inconclusive" and f" {measured} " in (folder / "out").read_text()
    with pytest.raises(UsageError, match="the suite 'battery'"):
        draw("battery", replace(asked, number=1))


def test_without_a_battery_or_a_normalizer_it_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(BATTERY.replace("battery:", "other:"))
    given = ["--file", str(tmp_path / "e.yaml"), "--db", str(tmp_path / "none.db")]
    ended = invoke("battery", "--norm", "group", *given)
    assert ended.code == 2 and "no suite 'battery'" in ended.err and str(tmp_path / "e.yaml") in ended.err
    for path, said in (("json:Norm", "has no 'Norm'"), ("gone:Norm", "no module 'gone'")):
        ended = invoke("battery", "--norm", path, *given)
        assert ended.code == 2 and ended.err.startswith(f"Error: --norm {path}: ") and said in ended.err
    ended = invoke("battery", "--norm", "grup", *given)
    assert ended.code == 2 and "--norm grup" in ended.err and not (tmp_path / "none.db").exists()
    assert "Missing option '--norm'" in invoke_usage(*given)


def invoke_usage(*given: str) -> str:
    """What is said where an option is missing."""
    from click.testing import CliRunner

    from bnexp.cli import main

    return CliRunner().invoke(main, ["battery", *given]).stderr


def test_normalizers_are_completed() -> None:
    found = completed("battery", "--norm", "")
    assert "group" in found and found == [word[5:] for word in completed("run", "tiny", "--set", "norm=")]


def asked(file: ExperimentsFile, text: str) -> Battery:
    [one] = batteries(file, normalizers([text]), [], None, None, print)
    return one


def test_experiments_that_it_cannot_train_in_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(BATTERY.replace("about: Two arms", "model: {name: mlp, hidden: [6]}"))
    file = load(tmp_path / "e.yaml")
    left = possible(asked(file, GROUPED.replace("2", "3")), None)
    assert [wish.instance.name for wish in left.wishes] == ["rates"] and list(left.impossible) == ["rivals"]
    assert "3 groups do not divide the 8 units" in left.impossible["rivals"]
    with pytest.raises(UsageError, match="5 groups do not divide the 8 units"):
        possible(asked(file, GROUPED.replace("2", "5")), None)


def test_a_claim_that_the_normalizer_cannot_be_tested_by_says_why(folder: Path, claims: dict[str, Claim]) -> None:
    with_reason = column(Results(str(folder / "bnexp.db")), claims, of("group"), [], {"rates": "too small for it"})
    found = {name: entry.finding for name, entry in with_reason.entries.items()}
    assert (found["better"].answer, found["better"].sentence) == ("not tested", "Too small for it.")
    assert found["better"].name == "better@group"
    assert found["rivals"].sentence == "What it compares group with is group too."


@pytest.mark.slow
def test_the_shipped_battery_is_some_minutes_a_normalizer() -> None:
    """On two cores; what is not the normalizer's own is trained once."""
    file = load(default_file())
    claims = parse_claims(file)
    battery = asked(file, "noisy-batch")
    own = {
        trial.key: trial.config.steps
        for wish in battery.wishes
        for trial in [*wish.instance.tuning, *wish.instance.trials]
        if trial.config.norm.name == "noisy-batch"
    }
    assert len(own) < 550 and sum(own.values()) < 400_000
    tested = [claim for wish in battery.wishes for claim in about(claims, wish.instance).values()]
    assert len(tested) == 8 and all(claim.experiment for claim in tested)
    parts = {
        "battery-multipliers": "paper-multipliers",
        "battery-fewer-steps": "fewer-steps-isolated",
        "battery-accuracy": "higher-accuracy",
        "battery-initialization": "careless-initialization",
    }
    limits = ("section", "quote", "arms", "measures", "estimator", "supported_if", "refuted_if", "looks")
    for part, whole in parts.items():
        assert all(getattr(claims[part], field) == getattr(claims[whole], field) for field in limits), part
