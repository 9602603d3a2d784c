"""`bnexp plot`: a figure can be written in every format, and what cannot be drawn is said."""

import json
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bnexp import registry
from bnexp.cli import main
from bnexp.errors import UsageError
from bnexp.reports.charts import output, pages
from bnexp.reports.charts.asked import Asked
from bnexp.reports.charts.figures import draw
from bnexp.reports.charts.themes import DASHES, SERIES, THEMES
from tests.charts import HOSTILE, made
from tests.databases import of, register, seeds


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """Of a database that tests only read."""
    return made(tmp_path_factory.mktemp("plot"))


@pytest.fixture
def here(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of that database, as the current one."""
    folder = Path(asked.file.document.name).parent
    monkeypatch.chdir(folder)
    return folder


def plot(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["plot", *arguments])


def test_themes_have_a_colour_and_a_dash_for_each_series() -> None:
    for config in THEMES.values():
        assert len(set(config["range"]["category"])) == SERIES == len({tuple(dash) for dash in DASHES})


def test_a_file_is_written_in_every_format(asked: Asked, tmp_path: Path) -> None:
    spec = draw("curves", replace(asked, name=HOSTILE))
    for ending in output.ENDINGS:
        output.write(spec, tmp_path / f"figure{ending.upper()}", "dark")
    png = (tmp_path / "figure.PNG").read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert 1000 < width < 1800 and 600 < height < 1400
    assert (tmp_path / "figure.PDF").read_bytes().startswith(b"%PDF")
    drawn = ElementTree.parse(tmp_path / "figure.SVG").getroot()
    assert drawn.tag.endswith("svg") and "alert" in " ".join(drawn.itertext())
    assert json.loads((tmp_path / "figure.JSON").read_text()) == spec | {"config": THEMES["dark"]}


def test_a_page_has_all_that_it_needs_and_no_name_gets_out_of_its_text(asked: Asked) -> None:
    page = pages.page(draw("curves", replace(asked, name=HOSTILE)))
    head, body = page.rsplit("</head>", 1)
    assert page.lower().count("</script") == 2 and "alert(" in body and "<b>" not in body
    assert "src=" not in body and "default-src 'none'" in head and "vegaEmbed" in head
    assert "&lt;/script&gt;" in head.partition("<title>")[2].partition("</title>")[0]


def test_the_command_writes_a_figure(here: Path) -> None:
    ended = plot("curves", "--experiment", "raced", "--metric", "train_accuracy", "--output", "figure.json")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", "wrote figure.json\n")
    written = json.loads((here / "figure.json").read_text())
    assert "Train accuracy by training steps: raced" in " ".join(written["title"]["text"])


def test_the_list_has_every_figure() -> None:
    ended = plot("--list")
    assert [line.split()[0] for line in ended.output.splitlines() if line[:1] != " "] == [*registry.FIGURES]
    assert all(len(line) <= 80 for line in ended.output.splitlines())
    assert "Figure 1" in ended.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["figure1", "--output", "x.png"], "no figure 'figure1' (known: battery, claims, curves, figure-1, figure-2, "
         "figure-3, grid; did you mean 'figure-1'?)"),
        (["--output", "x.png"], "which figure? (known: battery, claims, curves"),
        (["grid"], "plot needs --output FILE, whose name ends in one of .png, .svg, .pdf, .html, .json"),
        (["grid", "--output", "x.gif"], "--output x.gif: .gif is none of .png, .svg, .pdf, .html, .json"),
        (["grid", "--output", "x"], "--output x: its name must end in one of .png"),
        (["curves", "--metric", "accuracy", "--output", "x.png"], "no metric 'accuracy' (known: train_accuracy"),
        (["curves", "--experiment", "racd", "--output", "x.png"], "did you mean 'raced'?"),
        (["curves", "--experiment", "waits", "--output", "x.png"], "waits has ended yet; `bnexp run waits`"),
        (["grid", "--metric", "train_loss", "--output", "x.png"], "are for the figure curves, not for grid"),
        (["curves", "--trial", "a", "--instance", "1", "--output", "x.png"], "have no place beside it"),
        (["curves", "--trial", "ä", "--output", "x.png"], "no trial's key begins with 'ä'"),
        (["figure-1", "--experiment", "raced", "--output", "x.png"], "raced is no experiment with the probe "
         "`percentiles`; `bnexp run inside` makes one"),
        (["figure-2", "--experiment", "inside", "--output", "x.png"], "inside is no experiment with a `paper` table"),
        (["figure-3", "--experiment", "one", "--output", "x.png"], "one is no experiment with a `paper` table of "
         "learning curves and its control; `bnexp run raced` makes one"),
        (["grid", "--experiment", "raced", "--output", "x.png"], "`bnexp run crossed` makes one"),
        (["claims", "--experiment", "inside", "--output", "x.png"], "no claim about inside has a number"),
        (["battery", "--instance", "1", "--output", "x.png"], "the figure is of the suite 'battery'"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said(here: Path, arguments: list[str], said: str) -> None:
    ended = plot(*arguments)
    assert ended.exit_code == 2 and said in ended.output, ended.output
    assert not (here / "x.png").exists()


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ("figure-1", "with the probe `percentiles`; `bnexp run inside` makes one"),
        ("figure-2", "with a `paper` table of learning curves and its control; `bnexp run raced` makes one"),
        ("figure-3", "`bnexp run raced` makes one"),
        ("grid", "that crosses lr_multiplier, init_scale and norm; `bnexp run crossed` makes one"),
    ],
)
def test_without_data_the_run_is_named_that_makes_them(
    here: Path, tmp_path: Path, figure: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(str(tmp_path / "other.db"), of("other", seeds(1)))
    ended = plot(figure, "--db", str(tmp_path / "other.db"), "--output", "x.png")
    assert ended.exit_code == 2 and said in ended.output, ended.output
    assert "nothing that was run into this database is an experiment" in ended.output


def test_a_file_that_cannot_be_written_is_said(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        output.write(draw("curves", replace(asked, name="raced")), tmp_path / "file" / "x.json")
