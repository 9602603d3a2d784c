"""What a shell completes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from bnexp.cli import main
from bnexp.cli.completing import SHELLS, VARIABLE
from tests.conftest import TINY, Bnexp, environment


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


def test_fields_and_the_names_that_they_take(here: Path) -> None:
    assert completed("run", "tiny", "--set", "norm")[:2] == ["norm=", "norm.eps="]
    assert completed("run", "tiny", "--set", "nonlinearity=r") == ["nonlinearity=relu"]
    assert completed("run", "tiny", "--set", "seed=") == []


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


def test_bash_completes_with_it(tmp_path: Path, bnexp: Bnexp) -> None:
    """In a real bash, as when Tab is pressed."""
    (tmp_path / "experiments.yaml").write_text(TINY)
    (tmp_path / "script").write_text(bnexp("completion", "bash", cwd=tmp_path).out)
    pressed = (
        "source ./script; COMP_WORDS=(bnexp run ti); COMP_CWORD=2; _bnexp_completion bnexp; echo ${COMPREPLY[@]}; "
        "complete -p bnexp"
    )
    found = {**environment(), "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    ended = subprocess.run(
        ["bash", "-c", pressed], cwd=tmp_path, env=found, capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.split() == ["tiny", "complete", "-o", "nosort", "-F", "_bnexp_completion", "bnexp"]
