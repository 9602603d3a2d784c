"""What a shell completes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context
from click.shell_completion import BashComplete, CompletionItem

from bnexp.cli import completing, main
from bnexp.cli.bash import Bash
from bnexp.cli.completing import SHELLS, VARIABLE
from bnexp.cli.shells import Fish, Zsh
from bnexp.registry import NORMS
from tests.conftest import Bnexp, environment


def completed(*words: str) -> list[str]:
    """What stands for the last of these words."""
    *before, last = words
    found = BashComplete(main, {}, "bnexp", VARIABLE).get_completions(before, last)
    return [item.value for item in found]


@pytest.fixture
def here(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the trained tiny experiment, as the current one."""
    monkeypatch.chdir(tiny)
    return tiny


def test_experiments_suites_and_claims_of_the_file(here: Path, tmp_path: Path) -> None:
    assert completed("run", "") == ["tiny", "overlap"] and completed("run", "tiny", "o") == ["overlap"]
    assert completed("report", "t") == completed("plan", "t") == ["tiny"]
    assert completed("report", "--claim", "") == ["better", "elsewhere"] and completed("claims", "b") == ["better"]
    (tmp_path / "other.yaml").write_text("experiments: {alone: {}}\nsuites: {both: [alone]}")
    assert completed("run", "--file", str(tmp_path / "other.yaml"), "") == ["alone", "both"]


def test_fields_and_the_words_that_they_take(here: Path) -> None:
    assert completed("run", "tiny", "--set", "norm")[:2] == ["norm=", "norm.eps="]
    numbers = ("lr", "momentum", "weight_decay", "beta1", "beta2", "eps")
    assert completed("plan", "tiny", "--set", "optimizer.") == [f"optimizer.{number}=" for number in numbers]
    assert completed("run", "tiny", "--set", "nonlinearity=r") == ["nonlinearity=relu"]
    assert completed("run", "tiny", "--set", "norm=") == [f"norm={name}" for name in NORMS]
    assert completed("run", "tiny", "--set", "model.stem=") == ["model.stem=imagenet", "model.stem=small"]
    assert completed("run", "tiny", "--set", "binarize=") == ["binarize=true", "binarize=false"]
    assert completed("run", "tiny", "--set", "seed=") == completed("run", "tiny", "--set", "none=") == []


def test_what_a_field_and_its_words_mean_is_told(here: Path) -> None:
    found = BashComplete(main, {}, "bnexp", VARIABLE).get_completions(["run", "tiny", "--set"], "nonlinearity=")
    assert all(item.help for item in found)
    [item] = BashComplete(main, {}, "bnexp", VARIABLE).get_completions(["run", "tiny", "--set"], "dropout")
    assert str(item.help).startswith("[probability]")


def test_what_was_run_and_datasets(here: Path) -> None:
    assert completed("verify", "--experiment", "") == completed("db", "delete", "") == ["tiny"]
    assert completed("data", "check", "fash") == ["fashion-mnist"] and completed("data", "check", "im") == [
        "imagefolder/"
    ]


def test_trial_keys_of_the_database(here: Path, tmp_path: Path) -> None:
    keys = completed("show", "")
    assert len(keys) == 24 and keys == sorted(keys) and {len(key) for key in keys} == {12}
    assert completed("show", keys[0][:6]) == [key for key in keys if key.startswith(keys[0][:6])]
    assert completed("show", "--db", str(tmp_path / "none.db"), "") == []


def test_what_cannot_be_read_completes_nothing_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments.yaml").write_text("experiments: [")
    assert completed("run", "") == completed("claims", "") == completed("show", "") == []
    assert capfd.readouterr() == ("", "") and not (tmp_path / "bnexp.db").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(tmp_path: Path, bnexp: Bnexp, shell: str) -> None:
    ended = bnexp("completion", shell, cwd=tmp_path)
    assert ended.code == 0 and VARIABLE in ended.out


PRESSED = {
    "run ti": ["tiny"],
    "run tiny --set nonlinearity=r": ["relu"],  # what stands behind the =, at which readline breaks
    "run tiny --set norm=": [*NORMS],
    "run tiny --set optimizer.l": ["optimizer.lr="],
    "run tiny --set=binarize=t": ["true"],
    "run tiny --executor=r": ["ray"],
    "run --set 'nonlinearity=r": ["nonlinearity=relu"],  # within quotes there is no break
    "plan tiny --db postgresql://me@dbhost/bnexp --set dro": ["dropout="],
    "run tiny ": ["tiny", "overlap"],
}
"""What is typed behind `bnexp` when Tab is pressed, and what takes the place of its last piece."""


@pytest.mark.parametrize("typed", PRESSED)
def test_bash_is_told_what_takes_the_place_of_its_piece(
    here: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    word = typed.rpartition(" ")[2]
    monkeypatch.setenv("COMP_LINE", f"bnexp {typed}")
    monkeypatch.setenv("COMP_WORD", word if word.startswith("'") else re.split("[=:]", word)[-1])
    told = Bash(main, {}, "bnexp", VARIABLE).complete().splitlines()
    assert told == [f"plain,{value}" for value in PRESSED[typed]]


ZSH_LINE, FISH_LINE = "bnexp run tiny --set=binarize=t", "bnexp run tiny --set nonlinearity=re"


def test_zsh_and_fish_are_told_whole_words(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what each means; fish not only up to a comma."""
    monkeypatch.setenv("COMP_WORDS", ZSH_LINE)
    monkeypatch.setenv("COMP_CWORD", "3")
    kind, word, about = Zsh(main, {}, "bnexp", VARIABLE).complete().splitlines()
    assert (kind, word) == ("plain", "--set=binarize=true") and about
    monkeypatch.setenv("COMP_WORDS", FISH_LINE)
    monkeypatch.setenv("COMP_CWORD", "nonlinearity=re")
    assert Fish(main, {}, "bnexp", VARIABLE).complete() == "plain,nonlinearity=relu\ty = max(x, 0)."


def test_what_is_told_is_one_line_and_nothing_that_a_terminal_obeys() -> None:
    items = [CompletionItem("a", help="two\nlines\x1b[31m"), CompletionItem("a\nb"), CompletionItem("a\x1b[31m")]
    complete = completing._completes(lambda ctx, incomplete: items)
    context = Context(main)
    assert [(item.value, item.help) for item in complete(context, main.params[0], "a")] == [("a", "two lines\\x1b[31m")]


def test_bash_completes_with_it(tmp_path: Path, bnexp: Bnexp) -> None:
    """In a bash that calls the function as it does when Tab is pressed, at a cursor before the line's end."""
    (tmp_path / "script").write_text(bnexp("completion", "bash", cwd=tmp_path).out)
    pressed = (
        "compopt() { echo $*; }; source ./script; COMP_LINE='bnexp run tiny --set optimizer.l --seeds 3'; "
        "COMP_POINT=32; _bnexp_completion bnexp optimizer.l --set; echo ${COMPREPLY[@]}; complete -p bnexp"
    )
    found = {**environment(), "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    ended = subprocess.run(
        ["bash", "-c", pressed], cwd=tmp_path, env=found, capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines() == [
        "-o nospace",
        "optimizer.lr=",
        "complete -o nosort -F _bnexp_completion bnexp",
    ]


def test_bash_is_offered_no_name_that_it_would_run_or_expand(tmp_path: Path, bnexp: Bnexp) -> None:
    """It inserts what it is told without quotes, and files may come from anywhere."""
    names = ["plain-1", "*", "a b", "$(touch run)", "`touch run`", "a;b", "a&b", "quo'te", "a>b", "~root"]
    cells = ", ".join(f"{json.dumps(name)}: {{seeds: 1}}" for name in names)
    (tmp_path / "experiments.yaml").write_text(f"experiments: {{{cells}}}")
    (tmp_path / "script").write_text(bnexp("completion", "bash", cwd=tmp_path).out)
    pressed = (
        "compopt() { :; }; source ./script; COMP_LINE='bnexp plan '; COMP_POINT=11; "
        "_bnexp_completion bnexp '' plan; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    found = {**environment(), "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    ended = subprocess.run(
        ["bash", "-c", pressed], cwd=tmp_path, env=found, capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines() == ["plain-1"]
