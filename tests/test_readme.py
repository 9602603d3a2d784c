"""README is short and says what was found; the example of an experiments file works; links lead somewhere."""

import re
from pathlib import Path

import pytest

from benchmarks import claims_table
from benchmarks.claims_table import PART, RESULTS
from bnexp.claims.parse import parse_claims
from bnexp.cli import main
from bnexp.experiments import load
from tests.documented import EXAMPLE, PAGES, ROOT, begun, named

README = (ROOT / "README.md").read_text()
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)


def test_the_example_is_read_expanded_and_claimed_about(tmp_path: Path) -> None:
    (tmp_path / "experiments.yaml").write_text(EXAMPLE)
    file = load(tmp_path / "experiments.yaml")
    trials = file.experiments["momentum"].expand()
    assert len({trial.config for trial in trials}) == 70 and len(file.experiments["momentum"].tuning_trials()) == 105
    assert {trial.variant for trial in trials} == {"gentle", "harsh", ""}
    [claim] = parse_claims(file).values()
    assert claim.experiment == "momentum"


def test_the_tutorial_adds_an_experiment_and_a_claim_about_it(tmp_path: Path) -> None:
    (tmp_path / "experiments.yaml").write_text(begun())
    file = load(tmp_path / "experiments.yaml")
    assert {name: claim.experiment for name, claim in parse_claims(file).items()} == {
        "higher-rate": "first",
        "group-in-small-batches": "group",
    }
    assert len(file.experiments["group"].expand()) == 20


def test_every_command_is_named() -> None:
    """In README, or in the reference."""
    pages = README + (ROOT / "docs" / "reference.md").read_text()
    called = set(re.findall(r"`bnexp ([a-z]+)", pages)) | set(re.findall(r"^    bnexp ([a-z]+)", pages, re.MULTILINE))
    assert called == set(main.commands)


def test_readme_is_a_front_door() -> None:
    assert len(README.splitlines()) <= 130


def test_readme_says_what_the_results_say() -> None:
    """Nobody writes verdicts there by hand."""
    assert PART.replaced(README, claims_table.render(RESULTS.read_text())) == README


PAGE = """# Results

## digits, mlp 3x100, 10 seeds

```sh
bnexp run paper
```

Last run on 2026-01-02.

| claim | what the paper says, or why it is not tested | measured | 95% interval | n | verdict |
| --- | --- | ---: | ---: | ---: | --- |
| a-claim | much \\| more | +0.7 pt | [+0.4, +1.0] | 20 | **supported** |
| another | - | - | - | 10 | **inconclusive†** |

### a-claim

**Is it so?**

### another

**Is it not?**

## digits, cnn, 10 seeds

```sh
bnexp run section-4-2
```
"""
DEBATE = """
## digits, mlp 5x100, 10 seeds

```sh
bnexp run debate
```

Last run on 2026-01-03.

| claim | what the paper says, or why it is not tested | measured | 95% interval | n | verdict |
| --- | --- | ---: | ---: | ---: | --- |
| third | "it is" | +2.0 pt | [+1.0, +3.0] | 10 | **refuted** |

### third

**Is it, after all?**
"""


def test_the_table_has_each_claim_of_the_paper_with_its_question_and_verdict() -> None:
    assert claims_table.render(PAGE).splitlines() == [
        "Of 2 claims: on digits 1 supported, 1 inconclusive† (last run on 2026-01-02).",
        "",
        "| the paper's claim, as a question | digits |",
        "| --- | --- |",
        "| [Is it so?](docs/results.md#a-claim) | **supported** +0.7 pt [+0.4, +1.0], n = 20 |",
        "| [Is it not?](docs/results.md#another) | **inconclusive†**, n = 10 |",
    ]


def test_the_critics_have_a_table_of_their_own() -> None:
    paper = claims_table.render(PAGE)
    assert claims_table.render(PAGE + DEBATE).removeprefix(paper).splitlines() == [
        "",
        "",
        "And of 1 claims of its critics: on digits 1 refuted (last run on 2026-01-03).",
        "",
        "| the critics' claim, as a question | digits |",
        "| --- | --- |",
        "| [Is it, after all?](docs/results.md#third) | **refuted** +2.0 pt [+1.0, +3.0], n = 10 |",
    ]


def prose(page: Path) -> str:
    """The page without its code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^    .*$", "", text, flags=re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives a page's headings; those of equal headings are counted."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = set[str]()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number, first = 0, name
        while name in found:
            number += 1
            name = f"{first}-{number}"
        found.add(name)
    return found


@pytest.mark.parametrize("page", LINKED, ids=named)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    links = ["".join(found) for found in LINK.findall(prose(page))]
    for link in links:
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists() and ROOT in file.parents, link
        assert not anchor or anchor in anchors(file), link


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / "".join(found)).resolve() for found in LINK.findall(prose(index))}
    assert {page for page in PAGES if page.parent.name in ("docs", "howto") and page != index} <= linked


def test_its_job_array_and_cluster_are_those_of_the_page_about_machines() -> None:
    page = (ROOT / "docs" / "howto" / "machines.md").read_text()
    script = re.search(r"```sh\n.*?```", README, re.DOTALL)
    recipe = re.search(r"(    ray start .*\n)+    RAY_ADDRESS=.*\n", README)
    assert script and script[0] in page and recipe and recipe[0] in page
