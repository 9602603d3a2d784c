"""The scorecard on the page: the cells of its table, where they lead, and on which pages it stands."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bnexp.battery import batteries, normalizers
from bnexp.claims.parse import parse_claims
from bnexp.claims.report import report_on
from bnexp.claims.scorecard import Scorecard, latest
from bnexp.config import TrialConfig
from bnexp.db.results import Results
from bnexp.experiments import load
from bnexp.records import Final, Outcome
from bnexp.replacement import Normalizer
from bnexp.reports import scorecard
from bnexp.reports.blocks import Code
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.figures import draw
from bnexp.reports.page import again, contents, html
from bnexp.reports.page.contents import Page
from tests.attacks import invoke
from tests.databases import CURVE, register, train
from tests.page import NOW, SAID
from tests.test_battery import BATTERY, GROUPED
from tests.test_page import Read, data

NORMS = [GROUPED, "noisy-batch", "batch"]


def ends(slot: int, config: TrialConfig) -> Outcome:
    """Networks without normalization are worse by 20 points."""
    accuracy = (0.5 if config.norm.name == "none" else 0.7) + 0.01 * config.seed
    return Outcome(slot, "finished", CURVE, Final(0.1, accuracy, 0.2, accuracy, 0.3, accuracy))


def with_tested(folder: Path, texts: list[str]) -> Asked:
    """What can be asked of a database in `folder` into which these normalizers have been tested, as if trained."""
    path, database = folder / "experiments.yaml", str(folder / "bnexp.db")
    path.write_text(BATTERY)
    file = load(path)
    for battery in batteries(file, normalizers(texts), [], None, None, print):
        train(database, register(database, *(wish.instance for wish in battery.wishes)), ends)
    return Asked(Results(database), file)


def card_of(asked: Asked) -> Scorecard:
    return latest(asked.results, parse_claims(asked.file), asked.file.suites["battery"])


def about(asked: Asked, name: str) -> Page:
    """The page of `bnexp report NAME`."""
    known = report_on(asked.results, asked.file, parse_claims(asked.file), name)
    return contents.page(replace(asked, known=known), NOW)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    made = with_tested(tmp_path_factory.mktemp("card"), NORMS)
    yield made
    made.results.close()


@pytest.fixture(scope="module")
def text(asked: Asked) -> str:
    """The page of `bnexp battery`, by the command, which has nothing to train."""
    folder = Path(asked.file.document.name).parent
    named = [word for norm in NORMS for word in ("--norm", norm)]
    options = ["--db", folder / "bnexp.db", "--file", folder / "experiments.yaml"]
    ended = invoke("battery", *named, *options, "--format", "html", "--output", folder / "battery.html")
    assert ended.code == 0 and ended.out == "" and "nothing is missing" in ended.err
    return (folder / "battery.html").read_text()


def test_the_table_has_what_the_scorecard_has(asked: Asked, text: str) -> None:
    read, card = Read(text), {column.normalizer.label: column for column in card_of(asked).columns}
    names = ["group(groups=2)", "noisy-batch", "batch"]
    heads = [" ".join(each.split()) for each in read.text["th"]]
    assert heads[:6] == ["claim", *names, "better", "rivals"]
    assert read.having("th", "scope")[:6] == ["col"] * 4 + ["row"] * 2 and read.open == []
    cells = [" ".join(each.split()) for each in read.text["td"]][:6]
    wanted = [
        " ".join([f"{symbol} {answer}", *scorecard.measured(card[name].entries[claim])])
        for claim, name, symbol, answer in [
            ("better", names[0], "◆", "inconclusive†"),
            ("better", names[1], "◆", "inconclusive†"),
            ("better", names[2], "◆", "inconclusive†"),
            ("rivals", names[0], "○", "not tested"),
            ("rivals", names[1], "◆", "inconclusive†"),
            ("rivals", names[2], "◆", "inconclusive†"),
        ]
    ]
    assert cells == wanted and cells[0] == "◆ inconclusive† +20.0 pt"


def test_each_verdict_leads_to_its_evidence(text: str) -> None:
    read = Read(text)
    links = [link for link in read.having("a", "href") if link and link.startswith("#claim-")]
    evidence = dict(zip(read.having("details", "id"), read.text["summary"], strict=False))
    led = [(evidence[link[1:]] or "").split()[0] for link in links]
    of = ["{}@group(groups=2)", "{}@noisy-batch", "{}"]
    assert led == [name.format(claim) for claim in ("better", "rivals") for name in of]
    assert {link for link in read.having("a", "href") if link} <= {
        f"#{each}" for _, a in read.tags if (each := a.get("id"))
    }


def test_the_chart_is_that_of_plot(asked: Asked, text: str) -> None:
    first, ours = data(text, "charts-data")["charts"][0], draw("battery", asked)
    assert first["title"]["text"] == ours["title"]["text"]
    assert "step" in ours["width"], "so that a phone shows it smaller, and not with its numbers upon each other"
    [drawn], [rows] = first["datasets"].values(), ours["datasets"].values()
    assert sorted(map(str, drawn)) == sorted(map(str, rows))  # in the order that was asked for


def test_a_claim_that_cannot_be_tested_says_so_by_itself_too(asked: Asked) -> None:
    folder = Path(asked.file.document.name).parent
    options = ["--db", folder / "bnexp.db", "--file", folder / "experiments.yaml"]
    ended = invoke("report", "--claim", "rivals@group(groups=2)", *options)
    assert ended.code == 0 and "What it compares group(groups=2) with is group too." in ended.out


def test_it_says_how_to_do_it_again(asked: Asked) -> None:
    card = card_of(asked)
    blocks = again.again(replace(asked, known=card.together()), "", card)
    [*_, command] = [block.text for block in blocks if isinstance(block, Code)]
    rest = "--file experiments.yaml --format html --output battery.html"
    assert command == f"bnexp battery --norm batch --norm '{GROUPED}' --norm noisy-batch {rest}"


def test_it_stands_on_the_page_of_a_report_too(asked: Asked, text: str) -> None:
    page = about(asked, "rates")
    assert page.card is not None and page.card.columns == ["batch", "group(groups=2)", "noisy-batch"]
    better, rivals = page.card.rows
    assert [cell.anchor for cell in better.cells] == ["claim-1", "", ""], "whose evidence is there"
    assert [cell.anchor for cell in rivals.cells] == ["", "", ""]
    shown = Read(html.render(page))
    assert shown.open == [] and {"#verdicts", "#normalizers"} <= set(shown.having("a", "href"))
    assert "#verdicts" not in Read(text).having("a", "href"), "where the scorecard stands for that table"


def test_without_another_normalizer_there_is_none(tmp_path: Path) -> None:
    asked = with_tested(tmp_path, ["batch"])
    page = about(asked, "battery")
    assert page.card is None and "Normalizers side by side" not in html.render(page)
    asked.results.close()


def test_hostile_fields_of_a_normalizer_stay_text(asked: Asked) -> None:
    card = card_of(asked)
    hostile = replace(card.columns[1], normalizer=Normalizer("own:N", {"options": {"x": SAID}}))
    card = replace(card, columns=[card.columns[0], hostile])
    read = Read(html.render(contents.page(replace(asked, known=card.together()), NOW, card)))
    assert read.open == [] and "img" not in {tag for tag, _ in read.tags} and "{{7*7}}" in read.text["th"][2]
