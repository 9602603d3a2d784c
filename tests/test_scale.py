"""The measurement of many workers on one server counts what is stored, and its page says what was measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machine import ROOT
from benchmarks.scale_table import PART, STORED, render


def test_the_page_says_what_is_stored() -> None:
    record = json.loads(STORED.read_text())
    page = PART.path.read_text()
    assert PART.replaced(page, render(record)) == page
    assert [one["workers"] for one in record["workers"]] == [1, 4, 16, 64]
    for one in record["workers"]:
        assert one["latency_seconds"]["store"]["n"] == one["cohorts"] and one["trials"] <= 48 * one["cohorts"]
    record["workers"][0]["trials"] *= 2
    assert render(record) != render(json.loads(STORED.read_text()))


@pytest.mark.slow
def test_a_small_measurement_stores_what_it_counts(tmp_path: Path) -> None:
    output = tmp_path / "scale.json"
    sizes = ["--trials", "7200", "--seconds", "2", "--workers", "1", "3", "--rounds", "1", "--output", str(output)]
    subprocess.run([sys.executable, "benchmarks/scale.py", *sizes], cwd=ROOT, check=True, timeout=300)
    record = json.loads(output.read_text())
    smaller, whole = (one["trials"] for one in record["enrolled"])
    assert (smaller, whole) == (720, 7200)
    stored = sum(one["trials"] for one in record["workers"])
    assert stored > 0 and record["stored"]["curve_rows"] == 28 * max(stored, smaller)
    assert all(one["server_processor_seconds"] > 0 for one in record["workers"])
