"""What is taken out of a database, by `bnexp export` and `bnexp.open`, is what stands in it, from SQLite and PostgreSQL
alike: NaN, infinity, NULL and hostile texts included."""

import csv
import json
import math
import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import bnexp
from bnexp.db import tabulating
from bnexp.db.views import What
from bnexp.errors import DatabaseError, UsageError
from bnexp.reports.csvlines import guarded, unguarded
from bnexp.reports.exporting import export
from bnexp.table import Field, Table
from tests.attacks import changed, invoke
from tests.conftest import empty_database
from tests.databases import change, everything, of, register, rows, seeds
from tests.test_table import alike

HOSTILE = '=cmd|"calc"!A1,\n\r; \x1b[31m\u202e<b>é漢 null nan '
RETURN = "\r"
"""Which readers of CSV take for the end of a line, unless it is quoted."""
WHAT: tuple[What, ...] = get_args(What)
IN_ORDER = {
    "trials": "from trial_results order by trial_key",
    "curves": "from learning_curves order by trial_key, step",
    "probes": "from probe_values order by trial_key, step, layer, name",
    "verdicts": "from claim_verdicts order by claim",
}


def fill(database: str) -> None:
    """Results of every kind, those that are not finite and a hostile name among them."""
    everything(database)
    text = HOSTILE.replace("'", "''").replace(":", r"\:")
    low = "-1e308 * 10" if "://" not in database else "'-Infinity'"
    change(
        database,
        "update trials set train_loss = null, test_loss = null, nonfinite = 'train_loss=inf test_loss=nan evil=1 =' "
        "where status = 'finished' and seed = 2",
        "update probes set value = null, nonfinite = 'value=-inf units[1]=nan', units = '[1.0, null]' where step = 10",
        f"update experiment_trials set variant = '{text}' where experiment_id = 1",
        f"update verdicts set low = {low}, sentence = 'one{RETURN}two'",
    )


@pytest.fixture(scope="module")
def databases(postgresql_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The same contents in both kinds of database; tests read them only."""
    with empty_database(postgresql_server) as url:
        found = {"sqlite": str(tmp_path_factory.mktemp("export") / "bnexp.db"), "postgresql": url}
        for database in found.values():
            fill(database)
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, databases: Mapping[str, str]) -> str:
    return databases[request.param]


def table(database: str, what: What, **which: Any) -> Table:
    with bnexp.open(database) as opened:
        found: Table = getattr(opened, what)(**which)
        return found


@pytest.mark.parametrize("what", WHAT)
def test_tables_are_the_views(database: str, what: What) -> None:
    """But for the numbers that are not finite, where a view has NULL."""
    found = table(database, what)
    names = [name for name in found.columns if (what, name) != ("curves", "nonfinite")]
    shown = rows(database, f"select {', '.join(names)} {IN_ORDER[what]}")
    restored = []
    for ours, theirs in zip(found, shown, strict=True):
        for name, value in zip(names, theirs, strict=True):
            if value is None and ours[name] is not None:
                restored.append(ours[name])
            else:
                assert ours[name] == value or str(ours[name]) == _text(value), name
    assert sorted(map(str, restored)) == RESTORED[what]


RESTORED = {"trials": ["inf", "nan"], "curves": ["inf"] * 4, "probes": ["-inf"] * 4, "verdicts": []}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list) else str(value)


def test_numbers_that_are_not_finite_are_told_from_those_that_are_not_there(database: str) -> None:
    trials, curves = table(database, "trials"), table(database, "curves")
    of_status = {(row["status"], row["seed"]): row for row in trials}
    assert of_status["finished", 2]["train_loss"] == math.inf and math.isnan(of_status["finished", 2]["test_loss"])
    assert of_status["diverged", 1]["train_loss"] is None and of_status["diverged", 1]["nonfinite"] == "loss=nan"
    assert np.isinf(trials["train_loss"]).sum() == 1
    assert np.isinf(curves["validation_loss"]).tolist() == [step == 10 for step in curves["step"]]
    assert not curves.missing("validation_loss").any() and len(curves) == 10
    assert table(database, "verdicts")["low"].tolist() == [-math.inf]


@pytest.mark.parametrize("what", WHAT)
def test_types_are_those_of_the_view(database: str, what: What) -> None:
    types = {
        "trials": {
            "seed": "int64",
            "lr": "float64",
            "trained": "bool",
            "diverged_at_step": "float64",
            "norm": "object",
        },
        "curves": {"trial_key": "object", "step": "int64", "train_loss": "float64"},
        "probes": {"step": "int64", "layer": "object", "value": "float64", "units": "object"},
        "verdicts": {"judged_at": "datetime64[us]", "n": "float64", "measures": "object", "effect": "float64"},
    }[what]
    found = table(database, what)
    assert {name: str(found[name].dtype) for name in types} == types
    assert {type(row[name]) for row in found for name in types} <= {int, float, bool, str, datetime, type(None)}


def test_an_experiments_rows_are_those_that_it_wants(database: str) -> None:
    tuned = table(database, "trials", experiment="tuned")
    assert sorted(zip(tuned["stage"], tuned["seed"].tolist(), strict=True)) == [("tune", 1), ("tune", 8)]
    assert set(tuned["experiment"]) == {"tuned"} and tuned.columns[:3] == ["experiment", "variant", "experiment_id"]
    assert set(table(database, "trials", experiment="e")["variant"]) == {HOSTILE}
    for what in ("curves", "probes"):
        assert set(table(database, what, experiment="tuned")["trial_key"]) == set(tuned["trial_key"])
    assert len(table(database, "verdicts", experiment="tuned")) == 0 < len(table(database, "verdicts", instance=1))
    with pytest.raises(UsageError, match=r"'tunes' has not been run.*did you mean 'tuned'"):
        table(database, "trials", experiment="tunes")


def test_the_latest_instance_is_meant_unless_told(tmp_path: Path) -> None:
    database = str(tmp_path / "bnexp.db")
    [first, _] = register(database, of("e", seeds(1)), of("e", seeds(1, 2), overrides="seeds=2"))
    change(database, f"update experiments set last_run_at = '2020-01-01 00:00:00' where id = {first}")
    assert len(table(database, "trials", experiment="e")) == 2
    assert len(table(database, "trials", experiment="e", instance=first)) == 1
    assert invoke("export", "trials", "--db", database, "--instance", "9").code == 2


# Files


def same(ours: Table, cells: Iterator[Mapping[str, Any]]) -> None:
    """Whether rows are those of a table, value by value and type by type."""
    for row, other in zip(ours, cells, strict=True):
        for name in ours.columns:
            assert alike(row[name], other[name]), (name, row[name], other[name])


def written(database: str, what: What, path: Path) -> Path:
    ended = invoke("export", what, "--db", database, "--output", path)
    assert (ended.code, ended.out) == (0, ""), ended.err
    return path


def _read(cell: str, field: Field) -> Any:
    """A cell of CSV as the page about the schema says that it is to be read."""
    if cell == "" and (field.nullable or field.kind != "text"):
        return None
    if field.kind == "time":
        return datetime.fromisoformat(cell).astimezone(UTC).replace(tzinfo=None)
    kinds = {"integer": int, "float": float, "boolean": {"true": True, "false": False}.__getitem__, "text": unguarded}
    return kinds[field.kind](cell)


@pytest.mark.parametrize("what", WHAT)
def test_csv_comes_back(database: str, what: What, tmp_path: Path) -> None:
    ours = table(database, what)
    with written(database, what, tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        names, *lines = csv.reader(file, strict=True)
    assert names == ours.columns
    fields = ours.fields()
    same(ours, ({name: _read(cell, fields[name]) for name, cell in zip(names, line, strict=True)} for line in lines))


@pytest.mark.parametrize("what", WHAT)
def test_parquet_comes_back(database: str, what: What, tmp_path: Path) -> None:
    ours = table(database, what)
    arrow = parquet.read_table(written(database, what, tmp_path / "out.PARQUET"))
    assert arrow.schema.equals(ours.to_arrow().schema)
    times = [name for name, field in ours.fields().items() if field.kind == "time"]
    listed = arrow.to_pylist()
    for row in listed:
        row.update({name: row[name].replace(tzinfo=None) for name in times})
    same(ours, iter(listed))


def test_both_kinds_of_database_give_the_same_file(databases: Mapping[str, str], tmp_path: Path) -> None:
    for what in ("trials", "curves", "probes"):
        one, other = (written(url, what, tmp_path / f"{kind}.csv").read_bytes() for kind, url in databases.items())
        assert one == other, what


def test_hostile_texts_are_as_they_are_but_no_formulas(database: str) -> None:
    out = invoke("export", "trials", "--experiment", "e", "--db", database).out
    assert {row["variant"] for row in csv.DictReader(out.splitlines(keepends=True))} == {f"'{HOSTILE}"}
    asked = invoke("query", "select variant from experiment_results", "--format", "csv", "--db", database).out
    assert f"'{HOSTILE}" in {row["variant"] for row in csv.DictReader(asked.splitlines(keepends=True))}


@pytest.mark.parametrize("text", ["=1+1", "+x", "-", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'", "'=1", "''"])
def test_a_text_that_a_spreadsheet_would_run_has_an_apostrophe_in_front(text: str) -> None:
    assert guarded(text) == f"'{text}" and unguarded(f"'{text}") == text


@pytest.mark.parametrize("value", [-1.5, -3, "-1.5", "+.5e-3", "-1e308", "a=b", "1", "", " =", "[-1]", None, True])
def test_numbers_and_other_texts_are_as_they_are(value: Any) -> None:
    assert guarded(value) is value and (not isinstance(value, str) or unguarded(value) == value)


@given(st.text(alphabet="=+-@'\t\r\nx1.e", max_size=6))
def test_every_text_comes_back(text: str) -> None:
    assert unguarded(guarded(text)) == text


def test_names_of_columns_are_no_formulas_either(database: str) -> None:
    out = invoke("query", "select -2 as \"=a\", '@b' as b", "--format", "csv", "--db", database).out
    assert out == "'=a,b\n-2,'@b\n"


def test_rows_are_written_in_parts(
    databases: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = databases["sqlite"]
    whole = [written(database, "curves", tmp_path / f"whole.{end}") for end in ("csv", "parquet")]
    monkeypatch.setattr(tabulating, "CELLS", 21)
    with bnexp.open(database) as opened:
        assert [len(part) for part in opened.batches("curves")] == [3, 3, 3, 1]
    parts = [written(database, "curves", tmp_path / f"parts.{end}") for end in ("csv", "parquet")]
    assert whole[0].read_bytes() == parts[0].read_bytes()
    read = [parquet.read_table(path) for path in (whole[1], parts[1])]
    assert read[0].equals(read[1]) and parquet.ParquetFile(parts[1]).num_row_groups == 4


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_rows(
    databases: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str
) -> None:
    many = (
        "with recursive n(i) as (select 100 union all select i + 1 from n where i < 10000) insert into probes "
        "(trial_id, step, layer, name, value, units) "
        "select (select min(id) from trials), i, 'hidden 1', 'moments', i / 3.0, printf('[%0400d]', i) from n"
    )
    copy = changed(Path(databases["sqlite"]), tmp_path / "many.db", (many, ()))
    monkeypatch.setattr(tabulating, "CELLS", 100_000)
    parquet.read_table(
        written(databases["sqlite"], "probes", tmp_path / "warm.parquet")
    )  # what is imported is no matter
    tracemalloc.start()
    written(str(copy), "probes", tmp_path / f"out.{end}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6


def test_without_rows_there_are_heads(tmp_path: Path) -> None:
    database = str(tmp_path / "bnexp.db")
    register(database, of("e", seeds(1)))
    out = invoke("export", "curves", "--db", database).out
    assert out == "trial_key,step,train_loss,train_accuracy,validation_loss,validation_accuracy,nonfinite\n"
    arrow = parquet.read_table(written(database, "verdicts", tmp_path / "out.parquet"))
    assert len(arrow) == 0 and str(arrow.schema.field("judged_at").type) == "timestamp[us, tz=UTC]"


# What is refused


def test_a_file_is_written_whole_or_stays(databases: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    for end, arguments in {"csv": ["--experiment", "none"], "txt": [], "parquet": ["--instance", "77"]}.items():
        path = tmp_path / f"out.{end}"
        ended = invoke("export", "trials", "--db", databases["sqlite"], "--output", path, *arguments)
        assert ended.code == 2, ended
        assert end != "txt" or "must be one of .csv, .parquet" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"] and (tmp_path / "out.csv").read_text() == "mine"
    refused = invoke("export", "trials", "--db", databases["sqlite"], "--output", tmp_path / "no" / "out.csv")
    assert refused.code == 2 and "No such file or directory" in refused.err
    missing = invoke("export", "trials", "--db", tmp_path / "none.db")
    assert missing.code == 2 and "no database at" in missing.err


def test_parquet_without_pyarrow_says_what_to_install(
    databases: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ended = invoke("export", "trials", "--db", databases["sqlite"], "--output", tmp_path / "out.parquet")
    assert ended.code == 2 and "pip install 'bnexp[parquet]'" in ended.err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    ["update curves set train_loss = 'x'", "update curves set step = 'x' where step = 10", "drop view probe_values"],
)
def test_what_bnexp_did_not_write_is_said(databases: Mapping[str, str], tmp_path: Path, change: str) -> None:
    foreign = changed(Path(databases["sqlite"]), tmp_path / "foreign.db", (change, ()))
    what = "probes" if "probe" in change else "curves"
    assert invoke("export", what, "--db", foreign).code in (1, 2)


# Statements


def test_a_statement_has_parameters(database: str) -> None:
    with bnexp.open(database) as opened:
        norms = opened.query(
            "select norm, count(*) as n, avg(seed) as mean from trial_results where norm like 'b%' and seed >= :least "
            "group by norm",
            {"least": opened.trials()["seed"].min(), "unused": "x"},
        )
        assert [dict(row) for row in norms] == [{"norm": "batch", "n": 2, "mean": 4.5}]
        assert [str(norms[name].dtype) for name in norms.columns] == ["object", "int64", "float64"]
        text = "'; drop table trials; -- :x %s"
        assert opened.query("select cast(:x as varchar) as x", {"x": text})["x"].tolist() == [text]
        assert opened.query("select '50%' as x, ':y' as y")["y"].tolist() == [":y"]
        assert opened.query("select '50%' as x", {"unused": 1})["x"].tolist() == ["50%"]
        assert len(opened.query("select seed from trial_results where seed > :most", {"most": 10**6})) == 0
        with pytest.raises(UsageError, match="no value for the parameter 'x'"):
            opened.query("select :x", {"y": 1})
        with pytest.raises(UsageError, match="two columns are called 'a'"):
            opened.query("select 1 as a, 2 as a")


def test_nothing_is_written(database: str) -> None:
    with bnexp.open(database) as opened:
        for sql in ("delete from verdicts", "delete from verdicts where n = :n", "create table t (x integer)"):
            with pytest.raises(UsageError):
                opened.query(sql, {"n": 3} if ":n" in sql else None)
        with pytest.raises(DatabaseError, match=r"no answer within 0\.2 s"):
            endless = "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c"
            opened.query(endless, seconds=0.2)
        assert len(opened.verdicts()) == 1


def test_a_path_is_opened_and_closed(databases: Mapping[str, str], tmp_path: Path) -> None:
    with bnexp.open(Path(databases["sqlite"])) as opened:
        assert len(opened.trials()) == 7
    with pytest.raises(UsageError, match="no database at"):
        bnexp.open(tmp_path / "none.db")


def test_a_view_that_somebody_widened_is_read(databases: Mapping[str, str], tmp_path: Path) -> None:
    select = "select c.name as claim, 7 as mine, v.verdict from verdicts v join claims c on c.id = v.claim_id"
    wider = f"create view claim_verdicts as select *, 1 as experiment_id, 'k' as claim_key from ({select})"
    foreign = changed(Path(databases["sqlite"]), tmp_path / "foreign.db", ("drop view claim_verdicts", ()), (wider, ()))
    [row] = table(str(foreign), "verdicts", instance=1)
    assert row == {"claim": "better", "mine": 7, "verdict": "supported", "experiment_id": 1, "claim_key": "k"}


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_nothing_is_left_of_an_export_that_fails_on_the_way(
    databases: Mapping[str, str], tmp_path: Path, end: str
) -> None:
    def failing() -> Iterator[Table]:
        yield table(databases["sqlite"], "curves")
        raise DatabaseError("gone")

    with pytest.raises(DatabaseError, match="gone"):
        export(failing(), tmp_path / f"out.{end}")
    assert list(tmp_path.iterdir()) == []
