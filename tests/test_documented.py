"""Every command that README and the pages under docs show is one that bnexp takes, and what is cheap is run."""

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import click
import pytest

from bnexp.claims.parse import parse_claims
from bnexp.experiments import ExperimentsFile, load
from bnexp.starting import START
from tests.attacks import changed, invoke
from tests.documented import (
    EXAMPLE,
    OTHERS,
    OWN,
    PAGES,
    ROOT,
    Line,
    begun,
    code,
    inline,
    lines,
    named,
    query,
    resolve,
    split,
)

SHOWN = [line for page in PAGES for line in lines(page)]
CHEAP = {"status", "report", "claims", "query", "init", "schema", "plan", "completion", "data list", "data check"}
CHEAP |= {"db upgrade", "db check", "db prune"}
ELSEWHERE = re.compile(r"postgresql://|^/data$|^~|^(old|other)\.db$")
"""What no test has: a server, folders of other people."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[ExperimentsFile]:
    """The experiments files that pages are about: the shipped one, the example, the first one, the tutorial's."""
    folder = tmp_path_factory.mktemp("examples")
    texts = {"example.yaml": EXAMPLE, "tutorial.yaml": begun()} | {f"{n}.yaml": text for n, text in enumerate(OWN)}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [load(path) for path in (ROOT / "experiments.yaml", START, *(folder / name for name in texts))]


def test_pages_show_commands() -> None:
    """So that what follows looks at something."""
    assert len(SHOWN) > 60 and {"README.md", "docs/reference.md", "docs/results.md", "docs/tutorial.md"} <= {
        line.page for line in SHOWN
    }


@pytest.mark.parametrize("line", SHOWN, ids=str)
def test_it_is_taken(line: Line, files: list[ExperimentsFile], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))  # folders of other people
    path, command, rest = resolve(line.words)
    given = command.make_context(f"bnexp {path}", rest).params
    names = [*given.get("names", ()), *filter(None, [given.get("name")])]
    if path in ("run", "plan", "report"):
        file = next(file for file in files if has(file, names))
        for experiment in file.named(names):
            assert experiment.override(given.get("assignments", ()), given.get("seeds")).points()
    for claim in [*(names if path == "claims" else ()), *filter(None, [given.get("claim")])]:
        assert any(claim in parse_claims(file) for file in files)


def has(file: ExperimentsFile, names: list[str]) -> bool:
    known: Mapping[str, object] = file.experiments | file.suites
    return all(name in known for name in names)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_in_sentences_exist_with_their_options(page: Path) -> None:
    for line in inline(page):
        _, command, rest = resolve(line.words)
        known = {option for each in command.params for option in each.opts} | {"--help"}
        assert {word for word in rest if word.startswith("--")} <= known, line


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_is_cheap_runs(page: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the page's order, in a folder with a database that has a trained experiment."""
    changed(tiny / "bnexp.db", tmp_path / "bnexp.db")
    monkeypatch.chdir(tmp_path)
    for number, text in code(page):
        if sql := query(text):
            with closing(sqlite3.connect("bnexp.db")) as connection:
                assert connection.execute(sql).fetchall(), (page, number)
    for line in filter(cheap, lines(page)):
        ended = invoke(*line.words)
        assert ended.code == 0, (line, ended.err)


def cheap(line: Line) -> bool:
    """Whether it takes no training, and nothing that is not here. Of reports, those about what was run last."""
    path, _, rest = resolve(line.words)
    of_another = path == "report" and rest and rest[0] != "--claim"
    return path in CHEAP and not of_another and not any(map(ELSEWHERE.search, rest))


def test_other_programs_are_known_by_name() -> None:
    for page in PAGES:
        for number, text in code(page):
            words = [word for word in split(text) if "=" not in word and word not in ("exec", "srun", "export", "eval")]
            output = not words or " > " in text or "|" in text
            assert output or words[0] in {"bnexp", *OTHERS}, f"{named(page)}:{number}: {text}"
