"""docs/reference.md says what the commands and the schema of experiments files say."""

import re
from pathlib import Path

import pytest

from benchmarks import reference, reference_commands
from benchmarks.pages import ROOT
from bnexp.cli import main
from bnexp.cli.commands import paths


def test_it_is_what_the_program_says() -> None:
    made = reference.made((ROOT / reference.PAGE).read_text())
    assert set(made) == {"docs/reference.md", "experiments.schema.json"}
    for name, text in made.items():
        assert (ROOT / name).read_text() == text, f"{name} is stale: run python benchmarks/reference.py"


def test_a_stale_one_is_found_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / reference.PAGE).read_text()
    (tmp_path / "docs").mkdir()
    (tmp_path / reference.PAGE).write_text(page.replace("`--retry-failed`", "`--retry`"))
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["reference.py", "--check"])
    with pytest.raises(SystemExit, match=r"docs/reference\.md is not what the program says"):
        reference.main()
    monkeypatch.setattr("sys.argv", ["reference.py"])
    reference.main()
    assert (tmp_path / reference.PAGE).read_text() == page


def test_every_command_and_option_is_in_it() -> None:
    page = (ROOT / reference.PAGE).read_text()
    assert all(f"\n### bnexp {path}\n" in page for path in paths(main) if path not in ("data", "db"))
    options = {option for command in main.commands.values() for each in command.params for option in each.opts}
    assert all(f"`{option}`" in page for option in options if option.startswith("--"))


def test_every_link_leads_to_a_heading_of_its_own() -> None:
    page = (ROOT / reference.PAGE).read_text()
    headings = re.findall(r"^#+ (.*)", page, re.MULTILINE)
    anchors = [re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= set(anchors)
    assert len(set(anchors)) == len(anchors)


def test_every_variable_of_the_environment_is_in_it() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "bnexp").rglob("*.py"))
    read = set(re.findall(r'"(BNEXP_[A-Z]+|RAY_ADDRESS|MKL_CBWR)"', sources))
    assert set(reference_commands.VARIABLES) == read
