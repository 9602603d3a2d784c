"""The page in a real browser: it opens, its charts and its grid answer, hostile names stay text, and it prints."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bnexp.reports.page.writing import write_page
from tests import chromium
from tests.chromium import Browser
from tests.page import EVIL, written
from tests.test_card import NORMS, card_of, with_tested

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no chromium"),
]
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("name", ["page.html", "evil.html"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_in_silence(browser: Browser, page: Path, name: str, width: int, dark: bool) -> None:
    browser.open(page.with_name(name), width=width, dark=dark)
    assert browser.errors() == []
    assert [Path(address).name for address in browser.requests()] == [name]  # nothing else was asked for
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("typeof window.hurt") == "undefined" and browser.run("document.images.length") == 0
    charts, drawn = "document.querySelectorAll('figure').length", "document.querySelectorAll('figure svg').length"
    assert browser.run(drawn) == browser.run(charts) * (1 + dark) > 0  # and once more for paper


@pytest.mark.parametrize("width", [360, 400])
def test_charts_are_whole_on_a_phone(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width)
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    charts = "Array.from(document.querySelectorAll('figure svg'))"
    places = browser.run(
        f"{charts}.map((each) => each.getBoundingClientRect()).map(({{left, right}}) => [left, right])"
    )
    assert places and all(0 <= left < right <= width for left, right in places), places
    shrunk = f"{charts}.map((each) => each.getBoundingClientRect().width / each.viewBox.baseVal.width)"
    assert max(browser.run(shrunk)) > 0.9, "of one plot it is drawn so narrow that letters all but keep their size"
    smallest = browser.run(f"{shrunk}.findIndex((each) => each < 0.95)")
    button = f"{charts}[{smallest}].closest('figure').querySelector('button')"
    assert browser.run(f"{button}.innerText") == "Full size"
    browser.run(f"{button}.click()")
    assert (
        browser.run(f"({shrunk})[{smallest}]") == pytest.approx(1)
        and browser.run(f"{button}.innerText") == "Fit the screen"
    )
    assert browser.run("document.documentElement.scrollWidth") <= width  # the chart alone is scrolled
    assert browser.errors() == []


def test_the_scorecard_scrolls_by_itself_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    asked = with_tested(tmp_path, NORMS)
    write_page(asked.results, asked.file, card_of(asked), tmp_path / "card.html")
    asked.results.close()
    browser.open(tmp_path / "card.html", width=360)
    assert browser.errors() == [] and browser.run("document.documentElement.scrollWidth") <= 360
    table = "document.querySelector('table.card')"
    hidden = browser.run(f"{table}.parentElement.scrollWidth - {table}.parentElement.clientWidth")
    assert hidden > 0
    place = "(({left, right}) => [left, right])({}.getBoundingClientRect())"
    head, cell = f"{table}.rows[1].cells[0]", f"{table}.rows[1].cells[3]"
    before = browser.run(place.replace("{}.get", f"{head}.get"))
    browser.run(f"{table}.parentElement.scrollLeft = {hidden}")
    assert browser.run(place.replace("{}.get", f"{head}.get")) == before, "the claim's name stays"
    left, right = browser.run(place.replace("{}.get", f"{cell}.get"))
    assert before[1] - 1 <= left < right <= 360
    browser.run(f"{table}.querySelector('a').click()")
    browser.wait("document.getElementById('claim-1').open")


def test_the_policy_stops_what_is_not_ours(browser: Browser, page: Path) -> None:
    changed = page.with_name("changed.html")
    changed.write_text(page.read_text().replace("<h1>", "<script>window.hurt = 1</script><h1>", 1))
    browser.open(changed)
    assert browser.run("typeof window.hurt") == "undefined"
    assert any("Content Security Policy" in error for error in browser.errors())


def test_a_claim_opens_from_the_table_and_by_the_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)
    opened = "document.getElementById('claim-1').open"
    assert browser.run(opened) is False
    browser.run("document.querySelector('.verdicts a').click()")
    browser.wait(opened)
    assert browser.run("document.activeElement.parentElement.id") == "claim-1"
    browser.press("Enter", 13)
    browser.wait(f"!{opened}")
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    browser.open(page, fragment="#claim-2")
    assert browser.run("document.getElementById('claim-2').open") is True


def test_a_chart_shows_its_tooltip(browser: Browser, page: Path) -> None:
    browser.open(page, fragment="#claim-1")
    mark = "document.querySelectorAll('#claim-1 figure')[1].querySelectorAll('.mark-symbol.role-mark path')"
    browser.run(f"{mark}[0].scrollIntoView({{block: 'center'}})")
    place = browser.run(
        f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({mark}[0].getBoundingClientRect())"
    )
    browser.move(*place)
    browser.wait("document.querySelector('#vg-tooltip-element.visible') !== null")
    said = browser.run("document.querySelector('#vg-tooltip-element').innerText")
    assert "norm" in said and "seeds" in said and "validation accuracy" in said


def cells(browser: Browser) -> list[list[str]]:
    rows = "Array.from(document.querySelectorAll('#grid tbody tr'))"
    found: list[list[str]] = browser.run(f"{rows}.map((row) => Array.from(row.children, (cell) => cell.innerText))")
    return found


def choose(browser: Browser, name: str, value: str) -> None:
    box = f"document.querySelector('#choices [name={name}]')"
    browser.run(f"{box}.value = {value!r}; {box}.dispatchEvent(new Event('change', {{bubbles: true}}))")


def test_the_grid_is_turned_and_filtered(browser: Browser, page: Path) -> None:
    browser.open(page)
    factors = browser.run("Array.from(document.querySelector('#choices [name=row]').options, (each) => each.text)")
    assert factors == ["(none)", "norm", "init scale", "lr multiplier"]
    choose(browser, "row", "0")
    choose(browser, "column", "2")
    assert cells(browser) == [  # BN: 70 and 72% at each of two init scales; none diverges at 30 times the rate
        ["none", "51.0\nn 4", "10.0\nn 4\n× 100% diverged"],
        ["batch", "71.0\nn 4", "71.0\nn 4"],
    ]
    choose(browser, "filter-1", "0")
    assert [row[1] for row in cells(browser)] == ["51.0\nn 2", "71.0\nn 2"]
    assert "init scale 1" in browser.run("document.querySelector('#grid caption').innerText")
    assert browser.run("document.getElementById('told').innerText").startswith("8 trials shown.")
    choose(browser, "column", "")
    assert [row[1] for row in cells(browser)] == ["30.5\nn 4\n× 50% diverged", "71.0\nn 4"]  # the filter stays
    assert browser.errors() == []


def test_hostile_levels_stay_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    choose(browser, "experiment", "1")
    assert EVIL.split("\x1b")[0].strip() in " ".join(browser.run("document.getElementById('grid').innerText").split())
    assert browser.run("typeof window.hurt") == "undefined" and browser.errors() == []


def test_dark_screens_have_dark_pages_and_charts(browser: Browser, page: Path) -> None:
    seen = "getComputedStyle(document.querySelector('.drawn > [data-theme={}]')).display"
    browser.open(page, dark=True)
    assert browser.run(GROUND) == "rgb(27, 27, 27)"
    assert browser.run(seen.format("dark")) == "block" and browser.run(seen.format("light")) == "none"
    browser.open(page)
    assert browser.run(GROUND) == "rgb(255, 255, 255)" and browser.run(seen.format("light")) == "block"


def test_print_is_light_and_has_all(browser: Browser, page: Path) -> None:
    browser.open(page, dark=True)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    assert browser.run(GROUND) == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.querySelector('.drawn > [data-theme=light]')).display") == "block"
    shown = "document.querySelector('#claim-1 pre').checkVisibility({contentVisibilityAuto: true})"
    assert browser.run("document.getElementById('claim-1').open") is False and browser.run(shown) is True
    browser.resize(680)  # what A4 has between its margins
    assert browser.run("document.documentElement.scrollWidth") <= 680
    browser.run(
        "addEventListener('afterprint', () => { window.closed_again = !document.querySelector('#claim-1').open })"
    )
    assert browser.printed().startswith(b"%PDF-")
    browser.wait("window.closed_again === true")
