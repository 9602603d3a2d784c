"""The page: what stands on it, that all from outside is text, and its grid's cells against tables made by hand."""

import base64
import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bnexp.cli import main
from bnexp.db.expanding import expands_alike
from bnexp.db.origins import Origin
from bnexp.db.results import Results
from bnexp.experiments import load
from bnexp.reports.blocks import Code, Grid, Heading, Line, Quote, Row
from bnexp.reports.charts.asked import Asked
from bnexp.reports.page import again, contents, drawing, html
from bnexp.reports.page.cells import cells
from bnexp.reports.page.contents import Page
from tests import tables
from tests.page import EVIL, SAID, about, made

VOID = {"meta", "img", "br", "link", "input"}


class Read(HTMLParser):
    """A page as a browser has it: tags with their attributes, and the text in each."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.text[tag][-1] += data

    def having(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for each, attributes in self.tags if each == tag]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    made_here = made(tmp_path_factory.mktemp("page"))
    yield made_here
    made_here.results.close()


@pytest.fixture(scope="module")
def page(asked: Asked) -> Page:
    return about(asked)


@pytest.fixture(scope="module")
def text(page: Page) -> str:
    return html.render(page)


@pytest.fixture(scope="module")
def read(text: str) -> Read:
    return Read(text)


def data(text: str, name: str) -> Any:
    """What is handed to the scripts."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text)
    assert found
    return json.loads(found[1])


def test_the_tags_close_and_the_headings_are_in_order(read: Read) -> None:
    assert read.open == [] and read.having("html", "lang") == ["en"]
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels


def test_tables_have_captions_and_the_scope_of_headers(read: Read) -> None:
    tables_ = [tag for tag, attributes in read.tags if tag == "table" and attributes.get("id") != "grid"]
    assert len(tables_) == 4 and len(read.text["caption"]) == len(tables_)
    assert all(caption.strip() for caption in read.text["caption"])
    heard = [
        text
        for text, look in zip(read.text["caption"], read.having("caption", "class"), strict=True)
        if look == "unseen"
    ]
    assert heard and set(heard) <= {"Numbers of better", "How to reproduce this"}, "which the headings say"
    assert set(read.having("th", "scope")) == {"row", "col"}


def test_verdicts_come_first_and_lead_to_their_evidence(page: Page, read: Read) -> None:
    assert [claim.name for claim in page.claims] == ["better", "elsewhere"]
    places = read.having("details", "id")
    assert [link for link in read.having("a", "href") if link and link.startswith("#claim-")] == [
        "#claim-1",
        "#claim-2",
    ]
    assert places[:2] == ["claim-1", "claim-2"]
    summaries = [" ".join(each.split()) for each in read.text["summary"]]
    assert summaries[0] == f"better ◆ {page.claims[0].marked}" and summaries[1] == "elsewhere ○ not tested"


def test_a_claim_has_all_its_evidence(page: Page) -> None:
    claim = page.claims[0]
    titles = [picture.title for picture in claim.pictures]
    assert titles == ["Effect and 95% interval against the limits", "Validation accuracy of its arms"]
    assert "experiment_results" in next(block.text for block in claim.origin if isinstance(block, Code))
    said = " ".join(block.text for block in claim.origin if isinstance(block, Line))
    assert "Instance 1: crossed; first run at" in said and "torch" in said and "(`bnexp show KEY`" in said
    assert any(isinstance(block, Quote) and SAID in block.text for block in claim.fixed)
    assert sum(isinstance(block, Grid) for block in claim.numbers) == 2
    # Two seeds each at 1 and 30 times the rate: with BN 70 and 72%, without 50 and 52%, and what diverged.
    assert "norm batch, init scale 1, lr multiplier 1: 71.0% at step 20, 2 seeds" in claim.pictures[1].told
    assert "norm none, init scale 1, lr multiplier 30: 2 diverged" in claim.pictures[1].told


def test_charts_say_in_words_what_they_show(text: str, read: Read) -> None:
    specs = data(text, "charts-data")["charts"]
    assert [int(each) for each in read.having("figure", "data-chart") if each] == list(range(len(specs)))
    assert len(read.text["figcaption"]) == len(specs) and all(each.strip() for each in read.text["figcaption"])
    assert all(spec["description"] for spec in specs) and all("config" not in spec for spec in specs)


def test_the_verdict_is_the_finding_s_own(asked: Asked, page: Page) -> None:
    assert [claim.answer for claim in page.claims] == [entry.finding.answer for entry in asked.reports.entries]


def test_it_says_how_to_do_it_again(page: Page, asked: Asked) -> None:
    code = [block.text for block in page.again if isinstance(block, Code)]
    assert code == [
        "bnexp run crossed named --file experiments.yaml\n"
        "bnexp report both --file experiments.yaml --format html --output report.html"
    ]
    digest = hashlib.sha256(Path(asked.file.document.name).read_bytes()).hexdigest()
    assert any(digest in block.text for block in page.again if isinstance(block, Line))
    [seeds] = [block for block in page.again if isinstance(block, Grid)]
    assert [row.cells[:3] for row in seeds.rows] == [["crossed", "-", "0, 1"], ["named", "-", "0, 1"]]
    assert page.file == Path(asked.file.document.name).read_text()


COMMITS = {
    "one": (["a" * 40], "The trials were trained at the commit `aaa", f"git checkout {'a' * 40}\n", ""),
    "several": (["b" * 40, "a" * 40 + "+"], "at `aaaa", f"git checkout {'b' * 40}\n", "A + says that files differed"),
    "some": (
        ["a" * 40, None],
        "at the commit `aaa",
        f"git checkout {'a' * 40}\n",
        "Some of the trials were trained by",
    ),
    "none": ([None], "The trials were trained by bnexp 1.0, installed where no checkout", "", ""),
}


@pytest.mark.parametrize("case", COMMITS)
def test_the_commits_of_the_trials_are_named(asked: Asked, case: str) -> None:
    commits, said, code, more = COMMITS[case]
    ran_on = [Origin(9 - number, "cpu", "1.0", commit, "2", "3") for number, commit in enumerate(commits)]
    known = replace(asked.reports, reports=[replace(asked.reports.reports[0], origins=ran_on)])
    blocks = list(again.again(replace(asked, known=known), ""))
    lines = "\n".join(block.text for block in blocks if isinstance(block, Line))
    assert said in lines and more in lines
    assert next(block.text for block in blocks if isinstance(block, Code)).startswith(code)
    assert bool(code) == ("git checkout" in str(blocks))


def test_a_file_that_has_other_trials_by_now_is_said(tiny: Path, page: Page, asked: Asked) -> None:
    results, experiment = Results(str(tiny / "bnexp.db")), load(tiny / "experiments.yaml").experiments["tiny"]
    [stored] = results.instances()
    assert expands_alike(results, experiment, stored) is True
    assert expands_alike(results, replace(experiment, seeds=[0, 1]), stored) is False
    assert expands_alike(results, experiment, replace(stored, overrides="seeds=2")) is False
    assert expands_alike(results, experiment, replace(stored, overrides="dataset=fashion-mnist")) is False
    assert expands_alike(results, experiment, replace(stored, overrides="dropuot=2")) is None
    replaced = replace(stored, overrides="norm=group in place of batch seeds=2")
    assert expands_alike(results, experiment, replaced) is False
    results.close()
    notes = [block.text for block in page.again if isinstance(block, Line) and block.lead == "Note: "]
    assert len(notes) == 1 and notes[0].startswith("This file has other trials of crossed and named")
    [gone] = [block.text for block in about(asked, EVIL).again if isinstance(block, Line) and block.lead == "Note: "]
    assert gone == f"This file has no {EVIL} any more: take an older one."


def test_commands_to_copy_quote_names(asked: Asked) -> None:
    *_, code = [block.text for block in about(asked, EVIL).again if isinstance(block, Code)]
    assert [shlex.split(line)[2] for line in code.splitlines()] == [EVIL, EVIL]


# What comes from outside.


def test_nothing_is_loaded_and_only_our_scripts_run(text: str, read: Read) -> None:
    assert not {tag for tag, _ in read.tags} & {"img", "iframe", "link", "object", "embed", "base"}
    assert all(src is None for src in read.having("script", "src"))
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    [policy] = [attributes["content"] for _, attributes in read.tags if attributes.get("http-equiv")]
    assert policy and policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe-eval" not in policy
    assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts]
    assert len(scripts) == 6 and re.findall("'sha256-([^']+)'", policy) == hashes


@pytest.mark.parametrize("name", ["page", "evil"])
def test_hostile_names_stay_text(asked: Asked, text: str, name: str) -> None:
    whole = text if name == "page" else html.render(about(asked, EVIL))
    found = Read(whole)
    assert found.open == [] and "img" not in {tag for tag, _ in found.tags}
    assert "\x1b" not in whole and "{{7*7}}" in whole and " 49 " not in whole
    grids = data(whole, "grids-data")
    levels = [level for grid in grids for factor in grid["factors"] for level in factor["levels"]]
    assert EVIL in levels if name == "page" else EVIL in [grid["title"] for grid in grids]
    assert any(SAID in each for each in found.text["p" if name == "page" else "h1"])
    assert name == "page" or "\\x1b[31m" in found.text["h1"][0]


def test_blocks_become_html() -> None:
    blocks = [
        Heading("A <b>"),
        Line("`x<y` and <i>", lead="So: "),
        Quote("<q>"),
        Code("a < b", "sql"),
        Grid(["n", "v"], [Row(["<1>", "`2`"], under="<u>")], (1,), "T <t>", "under <it>", ["<note>"]),
    ]
    made_text = html._environment().from_string('{% from "blocks.html" import show %}{{ show(blocks, 4, "N") }}')
    shown = made_text.render(blocks=blocks)
    assert "<h4>A &lt;b&gt;</h4>" in shown
    assert "<p><strong>So: </strong><code>x&lt;y</code> and &lt;i&gt;</p>" in shown
    assert "<blockquote><p>&lt;q&gt;</p></blockquote>" in shown and "<code>a &lt; b</code></pre>" in shown
    assert "<caption>T &lt;t&gt;</caption>" in shown and '<th scope="col">under &lt;it&gt;</th>' in shown
    assert '<th scope="row">&lt;1&gt;</th>' in shown and "<td>&lt;u&gt;</td>" in shown
    assert '<td class="right"><code>2</code></td>' in shown and "&lt;note&gt;" in shown
    assert len(Read(shown).open) == 0


# The grid's cells.


def test_cells_are_means_over_seeds_with_what_diverged() -> None:
    table = tables.table(
        [
            *tables.seeds([0.5, 0.7], norm="batch", lr_multiplier=1.0),
            *tables.seeds([0.4, None], norm="none", lr_multiplier=1.0),
            *tables.seeds([0.2, 0.3], norm="none", lr_multiplier=30.0),
        ]
    )
    table["status"][-1] = "running"
    found = cells("e", table)
    assert [(factor.name, factor.levels) for factor in found.factors] == [
        ("norm", ["none", "batch"]),
        ("lr multiplier", ["1", "30"]),
    ]
    assert found.places == [[1, 0, 0], [0, 0, 1]]
    assert found.accuracy == [60.0, pytest.approx((40 + 10) / 2), 20.0]
    assert (found.ended, found.diverged, found.waiting) == ([2, 2, 1], [0, 1, 0], [0, 0, 1])
    assert found.notes == ["6 trials in 3 cells; the trials of a cell differ in their seeds."]
    assert cells("e", table, tuning=4).notes[1:] == ["4 trials to tune are in no cell."]


def test_too_many_cells_are_put_together_and_it_is_said() -> None:
    rows = [
        row
        for norm in ("none", "batch")
        for rate in range(1, 6)
        for row in tables.seeds([0.1 * rate], norm=norm, lr_multiplier=float(rate))
    ]
    found = cells("e", tables.table(rows), most=4)
    assert [factor.name for factor in found.factors] == ["norm"]
    assert found.ended == [5, 5] and found.accuracy == pytest.approx([30.0, 30.0])
    assert "all levels of lr multiplier: with these there would be too many for a page" in found.notes[0]


def test_a_trial_of_two_variants_counts_in_both_and_it_is_said() -> None:
    [row] = tables.seeds([0.5])
    table = tables.table([{**row, "variant": "a"}, {**row, "variant": "b"}])
    found = cells("e", table)
    assert found.ended == [1, 1] and found.notes[1] == "1 trial that another variant shares count in both."


def test_a_level_that_some_trials_lack_is_a_dash() -> None:
    mixed: Any = tables.table(tables.seeds([0.5, 0.7]))
    mixed["channels"] = np.array([None, "[16, 32]"], dtype=object)
    found = cells("e", mixed)
    [factor] = found.factors
    assert (factor.name, factor.levels, found.places) == ("channels", ["-", "[16, 32]"], [[1, 0]])
    assert found.accuracy == [70.0, 50.0]


def test_curves_of_too_many_trials_are_left_out_and_it_is_said(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MOST_TRIALS", 4)
    [entry] = [entry for entry in asked.reports.entries if entry.report]
    assert entry.report
    known = contents.data_of(asked.results, entry.report.instance)
    assert "`bnexp plot curves --instance 1" in drawing.left_out(entry.report, known.trials)


# The command.


def test_the_command_writes_a_page(asked: Asked, tmp_path: Path) -> None:
    folder = Path(asked.file.document.name).parent
    options = ["--db", str(folder / "bnexp.db"), "--file", str(folder / "experiments.yaml")]
    command = ["report", "named", *options, "--format", "html"]
    ended = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "r.html")])
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
    refused = CliRunner().invoke(main, [*command, "--claim", "better"])
    assert refused.exit_code == 2 and "leave --claim out" in refused.output
