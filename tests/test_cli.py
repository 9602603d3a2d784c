"""The command line as a person meets it: screens that fit, answers that parse, errors that help."""

import csv
import io
import itertools
import json
import os
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from bnexp.cli import main
from bnexp.cli.commands import paths
from bnexp.reports.dumping import dump
from bnexp.reports.fitted import show_table
from bnexp.reports.screen import Screen
from tests.attacks import invoke
from tests.conftest import TINY, Bnexp, enroll_impossible, environment


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize(
    "command",
    [
        "report",
        "report --claim better",
        "claims",
        "claims better",
        "status",
        "plan tiny",
        "data list",
        "--help",
        "run --help",
    ],
)
def test_screens_fit(tiny: Path, monkeypatch: pytest.MonkeyPatch, command: str, columns: int) -> None:
    monkeypatch.chdir(tiny)
    ended = CliRunner(env={"COLUMNS": str(columns)}).invoke(main, command.split())
    assert ended.exit_code == 0, ended.stderr
    lines = [line for line in ended.stdout.splitlines() if not line.strip().startswith("/")]  # paths are left whole
    assert 40 < max(map(len, lines)) <= columns
    assert [line for line in lines if line.endswith(" ")] == []


def test_no_table_breaks_a_word_or_is_wider_than_the_terminal() -> None:
    rows = [["16", "small-batches (dataset=fashion-mnist)", "233 finished, 3 diverged", "2026-11-26 21:02"]]
    rows.append(["1", "[bold]", "1 failed", "2026-11-26 20:39"])
    tables = set()
    for width in range(27, 100):  # the longest word and its indent
        file = io.StringIO()
        show_table(Screen(width=width, file=file), ["no", "experiment", "trials", "last run"], rows, whole=(0, 3))
        shown = file.getvalue()
        assert max(map(len, shown.splitlines())) <= width
        assert {word for row in rows for cell in row for word in cell.split()} <= set(shown.split()), width
        tables |= {width} if "───" in shown else set()
    assert tables == set(range(77, 100))  # 2, twice 23, and 16; 3 beside each; and the edge


def test_a_phone_shows_whole_words(tiny: Path, bnexp: Bnexp) -> None:
    for command in ("status", "plan tiny"):
        wide, narrow = (
            bnexp(*command.split(), cwd=tiny, columns=columns).out.replace(":", " ").split() for columns in (200, 40)
        )
        assert {word for word in wide if not word.startswith("─")} <= set(narrow), command


def test_report_answers_every_claim(tiny: Path, bnexp: Bnexp) -> None:
    out = bnexp("report", cwd=tiny).out
    assert "tiny: on digits, mlp [8], 6 seeds" in out and "12 finished, 12 diverged" in out
    assert "Is BN better at rate 1?" in out and "6 seeds are too few" in out
    assert 'a "quote" [bold]with markup[/bold]' in out, "text from files is never markup"
    assert "Not tested here" in out and "It takes ImageNet." in out
    assert ", n = 6." in out and "torch" in out


def test_a_process_says_what_the_command_says_here(tiny: Path, bnexp: Bnexp, bnexp_process: Bnexp) -> None:
    for command, code in (("report", 0), ("status --db experiments.yaml", 1), ("run gird", 2)):
        ended = bnexp_process(*command.split(), cwd=tiny)
        assert ended == bnexp(*command.split(), cwd=tiny) and ended.code == code


def test_report_as_json_and_markdown(tiny: Path, bnexp: Bnexp) -> None:
    report = json.loads(bnexp("report", "--format", "json", cwd=tiny).out)
    [better], [elsewhere] = report["findings"], report["not_tested_here"]
    assert (better["answer"], better["n"], elsewhere["answer"]) == ("inconclusive", 6, "not tested")
    assert better["effect"]["low"] <= better["effect"]["point"] <= better["effect"]["high"]
    assert better["claim"]["quote"] in TINY
    markdown = bnexp("report", "--format", "markdown", cwd=tiny).out
    assert "**Is BN better at rate 1?**" in markdown and "| **inconclusive** |" in markdown


def test_report_into_a_file(tiny: Path, bnexp: Bnexp, tmp_path: Path) -> None:
    ended = bnexp("report", "--format", "markdown", "--output", str(tmp_path / "r.md"), cwd=tiny)
    assert (ended.code, ended.out, ended.err) == (0, "", f"wrote {tmp_path / 'r.md'}\n")
    assert (tmp_path / "r.md").read_text() == bnexp("report", "--format", "markdown", cwd=tiny).out
    assert bnexp("report", "--output", str(tmp_path / "r.txt"), cwd=tiny).code == 0
    assert "Inconclusive. 6 seeds" in (tmp_path / "r.txt").read_text()
    refused = bnexp("report", "--output", str(tmp_path / "no" / "r.md"), cwd=tiny)
    assert refused.code == 2 and "No such file or directory" in refused.err


def test_a_failed_and_an_unfinished_experiment_are_not_judged(
    tmp_path: Path, bnexp: Bnexp, bnexp_process: Bnexp
) -> None:
    (tmp_path / "experiments.yaml").write_text(TINY)
    enroll_impossible(tmp_path, "tiny", seeds="1")
    ended = bnexp_process("run", "tiny", "--seeds", "1", "--workers", "1", cwd=tmp_path)
    assert ended.code == 1 and "4 failed" in ended.err, ended.err
    report = json.loads(bnexp("report", "--format", "json", cwd=tmp_path).out)
    assert report["findings"][0]["answer"] == "not tested"
    assert "only 0 of 1 trials" in report["findings"][0]["sentence"].lower()


def test_plan_counts_what_is_left(tiny: Path, bnexp: Bnexp, tmp_path: Path) -> None:
    done = bnexp("plan", "tiny", cwd=tiny).out
    assert "24 trials: 12 finished, 12 diverged" in done and "left" not in done
    more = bnexp("plan", "tiny", "--seeds", "8", cwd=tiny).out
    assert "left to train: 8 trials in 2 cohorts, 480 trial-steps" in more and "as measured" in more
    (tmp_path / "experiments.yaml").write_text(TINY)
    fresh = bnexp("plan", "tiny", cwd=tmp_path).out
    assert "24 trials: 24 pending" in fresh
    assert not (tmp_path / "bnexp.db").exists(), "planning makes no database"
    assert "± 1.3 sd       never" in fresh and "never: so few seeds decide nothing" in fresh
    (tmp_path / "experiments.yaml").write_text(TINY.replace("seeds: 6", "seeds: 4"))
    assert "none           never" in bnexp("plan", "tiny", cwd=tmp_path).out


def test_plan_tells_factors_from_what_follows_the_variant(bnexp: Bnexp, tmp_path: Path) -> None:
    """Variants of one and the same configuration are two all the same."""
    (tmp_path / "experiments.yaml").write_text(
        "experiments: {e: {seeds: 2, factors: {dropout: [0, 0.1]}, variants: {a: {norm: batch, steps: 1}, "
        "b: {norm: batch, steps: 2}, c: {norm: batch, steps: 2}}}, plain: {seeds: 2, factors: {norm: [none, batch]}}}"
    )
    rows = [line.split(maxsplit=1) for line in bnexp("plan", "e", cwd=tmp_path).out.splitlines() if line]
    told = {row[0]: row[1] for row in rows if len(row) > 1}
    assert (told["steps"], told["dropout"], told["seed"]) == ("1, 2 (by variant)", "0, 0.1", "0, 1")
    assert told["variant"] == "a, b, c" and "norm" not in told
    assert "by variant" not in bnexp("plan", "plain", cwd=tmp_path).out


def test_query_formats(tiny: Path, bnexp: Bnexp) -> None:
    sql = "select norm, count(*) as n, max(diverged_at_step) from trial_results group by 1"
    rows = list(csv.DictReader(io.StringIO(bnexp("query", sql, "--format", "csv", cwd=tiny).out)))
    assert [(row["norm"], row["n"]) for row in rows] == [("batch", "12"), ("none", "12")]
    assert json.loads(bnexp("query", sql, "--format", "json", cwd=tiny).out)[0]["n"] == 12
    assert "batch" in bnexp("query", sql, cwd=tiny).out
    refused = bnexp("query", "delete from trials", cwd=tiny)
    assert refused.code == 2 and "not authorized" in refused.err
    assert bnexp("query", "select nonsense", cwd=tiny).code == 2


def test_show_tells_everything_about_a_trial(tiny: Path, bnexp: Bnexp) -> None:
    key = json.loads(bnexp("query", "select trial_key from trial_results", "--format", "json", cwd=tiny).out)[0]
    ended = bnexp("show", key["trial_key"][:12], cwd=tiny)
    assert ended.code == 0
    for word in (key["trial_key"][:40], "wanted by tiny", "attempt on", "validation loss", "torch"):
        assert word in ended.out
    assert bnexp("show", "zzz", cwd=tiny).code == 2
    assert "more than one" in bnexp("show", "", cwd=tiny).err


REFUSALS = {
    "run gird": "no experiment 'gird' in experiments.yaml (known: overlap, tiny",
    "run tiny --db no/such/bnexp.db": "the folder no/such does not exist; make it first",
    "run tiny --db .": "is a folder; name a file in it",
    "run tiny --set dropout=2": "--set dropout=2: dropout: 2 is not allowed; it must be less than 1",
    "run tiny --set droput=0.1": "did you mean 'dropout'?",
    "run tiny --seeds 0": "seeds must be a count or a list",
    "run tiny --file none.yaml": "none.yaml: no such file; name one with --file",
    "run tiny --set dataset=mnist --data-dir .": "mnist: not found (looked in",
    "run tiny --device tpu --db other.db": "'tpu' is not one of 'auto', 'cpu', 'cuda'",
    "report --instance 7": "there is no instance 7",
    "report --db none.db": "no database at none.db; `bnexp run grid` makes one",
    "report --experiment nope --instance 1": "experiment 'nope' has not been run into this database (known: tiny)",
    "report --experiment tiny --instance 7": "there is no instance 7",
    "report --experiment overlap": "experiment 'overlap' has not been run into this database (known: tiny)",
    "status --db experiments.yaml": "file is not a database",
}


@pytest.mark.parametrize("command", REFUSALS)
def test_refusals_name_the_value_and_the_remedy(tiny: Path, bnexp: Bnexp, command: str) -> None:
    ended = bnexp(*command.split(), cwd=tiny)
    assert ended.code == (1 if "mnist" in command or "status" in command else 2)
    assert REFUSALS[command] in ended.err, ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    "command", ["status", "report", "query 'select * from learning_curves' --format csv", "export curves", "--help"]
)
def test_output_that_nobody_reads_ends_it_without_a_word(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(tiny)
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:  # noqa: PTH123 (a descriptor)
        monkeypatch.setattr("sys.stdout", pipe)
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(command))
    assert ended.value.code == 141
    assert capfd.readouterr().err == ""


def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, bnexp: Bnexp) -> None:
    (tmp_path / "experiments.yaml").write_text("experiments:\n  a: {seeds: 1\n  b: 2\n")
    ended = bnexp("plan", "a", cwd=tmp_path)
    assert ended.code == 2
    assert ended.err.startswith("Error: experiments.yaml:3:")


def test_it_works_from_any_folder(tmp_path: Path, bnexp: Bnexp) -> None:
    assert "720 trials: 720 pending" in bnexp("plan", "grid", cwd=tmp_path).out


def test_a_wide_answer_is_shown_in_blocks(tiny: Path, bnexp: Bnexp) -> None:
    out = bnexp("query", "select * from trial_results limit 2", cwd=tiny).out
    keys = [line.split() for line in out.splitlines() if line.startswith("trial_key")]
    assert len(keys) == 2 and all(len(key) == 64 for _, key in keys)


@pytest.mark.slow
def test_a_claim_that_is_younger_than_its_data_is_called_post_hoc(tmp_path: Path, bnexp: Bnexp) -> None:
    (tmp_path / "experiments.yaml").write_text(TINY)
    assert bnexp("run", "tiny", "--workers", "1", cwd=tmp_path).code == 0
    assert "post hoc" not in bnexp("report", cwd=tmp_path).out
    (tmp_path / "experiments.yaml").write_text(TINY.replace("at_least: 0", "at_least: 1"))
    assert "post hoc" in bnexp("report", cwd=tmp_path).out
    assert bnexp("run", "tiny", cwd=tmp_path).code == 0
    assert "post hoc" in bnexp("report", cwd=tmp_path).out, "a later run does not make it older"


@pytest.mark.slow
def test_failed_trials_are_named_again_until_they_are_retried(tmp_path: Path, bnexp: Bnexp) -> None:
    (tmp_path / "experiments.yaml").write_text(TINY)
    command = ("run", "overlap", "--seeds", "1", "--workers", "1")
    enroll_impossible(tmp_path, "overlap", seeds="1")
    assert bnexp(*command, cwd=tmp_path).code == 1
    again = bnexp(*command, cwd=tmp_path)
    assert again.code == 1 and "2 trials failed; --retry-failed tries again" in again.err
    retried = bnexp(*command, "--retry-failed", cwd=tmp_path)
    assert retried.code == 1 and "2 trials to train" in retried.err


MISTYPED = {
    "rnu tiny": "No such command 'rnu' (known: ",
    "reprot": "did you mean 'report'?",
    "prune": "did you mean 'db prune'?",
    "list": "did you mean 'data list'?",
    "db chek": "No such command 'chek' (known: check, delete, merge, prune, upgrade; did you mean 'check'?)",
    "run --sed 3 tiny": "'--seeds'",
    "run tiny --executor locl": "'locl' is not one of 'local', 'ray'. Did you mean 'local'?",
    "report --format josn": "Did you mean 'json'?",
    "completion bsh": "Did you mean 'bash'?",
    "run tyni": "did you mean 'tiny'?",
    "report tyni": "did you mean 'tiny'?",
    "verify --experiment tyni": "did you mean 'tiny'?",
    "db delete tyni": "did you mean 'tiny'?",
    "report --claim beter": "did you mean 'better'?",
    "claims beter": "did you mean 'better'?",
    "data check digts": "did you mean 'digits'?",
    "plan tiny --set lr=1": "did you mean 'optimizer.lr'?",
    "plan tiny --set momentum=1": "did you mean 'norm.momentum' or 'optimizer.momentum'?",
    "plan tiny --set optimiser.lr=1": "did you mean 'optimizer.lr'?",
    "plan tiny --set optimizer.lrr=1": "did you mean 'lr'?",
    "plan tiny --set norm=none --set norm.epss=1": "has no field 'epss' (it has none; 'eps' is a field of batch, ",
    "plan tiny --set norm=bacth": "did you mean 'batch'?",
    "plan tiny --set nonlinearity=rellu": "did you mean 'relu'?",
    "plan tiny --set shuffle=epok": "did you mean 'epoch'?",
}


@pytest.mark.parametrize("command", MISTYPED)
def test_what_was_meant_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tiny)
    ended = invoke(*command.split())
    assert ended.code == 2 and MISTYPED[command] in ended.err, ended.err


def test_trial_keys_near_a_mistyped_one_are_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny)
    keys = [row["trial_key"] for row in json.loads(invoke("query", ALL_KEYS, "--format", "json").out)]
    mistyped = keys[3][:6] + "zz"
    assert f"no trial's key begins with '{mistyped}'; did you mean {keys[3][:12]}?" in invoke("show", mistyped).err
    assert f"did you mean {keys[3][:12]}?" in invoke("show", keys[3][:8].upper()).err
    common = next(one[0] for one, other in itertools.pairwise(keys) if one[0] == other[0])
    alike = [key[:12] for key in keys if key.startswith(common)]
    assert f"key begins with '{common}'; there are {', '.join(alike[:4])}" in invoke("show", common).err
    assert "keys are in the column trial_key of trial_results" in invoke("show", "zz").err


ALL_KEYS = "select trial_key from trial_results order by 1"


@pytest.mark.parametrize("path", ["", *paths(main)])
def test_help_fits_and_has_examples(path: str) -> None:
    ended = CliRunner(env={"COLUMNS": "80"}).invoke(main, [*path.split(), "--help"], prog_name="bnexp")
    _, examples, after = ended.stdout.partition("\nExamples:\n")
    shown = [line for line in after.splitlines() if line.startswith("  ") and f"bnexp {path}".strip() in line]
    assert ended.exit_code == 0 and examples and shown
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert not any(line.endswith("...") for line in ended.stdout.partition("\nCommands:\n")[2].splitlines())


def test_numbers_of_every_kind_of_database_are_numbers_in_json() -> None:
    """PostgreSQL's sums and means are decimals."""
    told = {"mean": Decimal("1.3333333333333333"), "sum": Decimal(104), "none": Decimal("0E-20"), "nan": Decimal("NaN")}
    assert json.loads(dump(told)) == {"mean": 1.3333333333333333, "sum": 104, "none": 0.0, "nan": "nan"}
    assert '"sum": 104\n' in dump({"sum": Decimal(104)})


def test_a_shell_may_close_what_is_printed_to(tiny: Path) -> None:
    for command in ("export trials", "query 'select 1' --format csv", "status"):
        line = f"{shlex.quote(sys.executable)} -m bnexp {command} >&-"
        ended = subprocess.run(
            ["sh", "-c", line], cwd=tiny, env=environment(), capture_output=True, text=True, timeout=60
        )
        assert (ended.returncode, ended.stderr) == (0, "")
