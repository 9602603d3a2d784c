"""Charts of what is stored in benchmarks/results, as SVG in benchmarks/charts: `python benchmarks/charts.py`.

rates-<device>.svg: trial-steps a second of every arm. growth_cohort.svg: the time of a trial-step by trials in a
cohort. growth_cells.svg: the time of each stage of a run, per trial, by trials in the experiment.
"""

import argparse
import json
from pathlib import Path
from typing import Any

RESULTS, CHARTS = Path(__file__).parent / "results", Path(__file__).parent / "charts"
WIDTH, HEIGHT = 640, 300
"""Pixels; GitHub shows some 800."""
LEAST_SHOWN = 0.1
"""Microseconds a trial, below which a stage would only stretch the axis."""
Record = dict[str, Any]


def name_of(work: str) -> str:
    """A work for people: digits-bn is "digits, BN"."""
    return work.replace("-bn", ", BN").replace("-dropout", ", Dropout")


def rates(record: Record) -> Any:
    """A dot an arm, with its range over rounds, a panel a work; bnexp's with a process a core or a GPU."""
    import altair as alt

    most = max(
        (arm["processes"] for work in record["works"] for arm in work["arms"] if arm["kind"] == "fused"), default=1
    )
    rows = [
        {
            "work": name_of(work["work"]),
            "arm": f"bnexp, cohorts of {arm['cohort']}" if arm["kind"] == "fused" else _LOOPS[arm["kind"]],
            "by": "bnexp" if arm["kind"] == "fused" else "others",
            **arm["trial_steps_per_second"],
        }
        for work in record["works"]
        for arm in work["arms"]
        if arm["status"] == "agrees" and (arm["kind"] != "fused" or arm["processes"] == most)
    ]
    order = list(dict.fromkeys(row["arm"] for row in rows))
    base = alt.Chart().encode(
        y=alt.Y("arm:N", sort=order, title=None),
        color=alt.Color("by:N", legend=None, scale=alt.Scale(domain=["bnexp", "others"], range=["#c1440e", "#4c6a92"])),
    )
    x = alt.X(
        "median:Q", title="trial-steps a second", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s", tickCount=4)
    )
    layers = base.mark_rule(strokeWidth=2).encode(x=alt.X("min:Q"), x2="max:Q") + base.mark_point(
        filled=True, size=60, opacity=1
    ).encode(x=x)
    panels = layers.properties(width=WIDTH // 2 - 60, height=170, data=alt.InlineData(values=rows))
    title = f"{record['device_name']}, {record['cores']} cores"
    return panels.facet(facet=alt.Facet("work:N", title=None, sort=None), columns=2).properties(title=title)


_LOOPS = {
    "loader": "DataLoader",
    "eager": "plain loop",
    "compiled": "torch.compile",
    "captured": "CUDA graph",
    "parallel": "plain loop, parallel",
}


def lines(rows: list[Record], *, x: str, y: str, series: str, title: str) -> Any:
    """Lines over a logarithmic number of trials; `rows` have trials, value, series, and perhaps min and max."""
    import altair as alt

    sizes = sorted({row["trials"] for row in rows})
    chart = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(
            "trials:Q",
            title=x,
            scale=alt.Scale(type="log", base=2, nice=False),
            axis=alt.Axis(values=sizes, format="d"),
        ),
        color=alt.Color("series:N", title=series, sort=None, legend=alt.Legend(symbolOpacity=1)),
    )
    scale = alt.Scale(type="log", nice=False, padding=8)
    axis = alt.Axis(format="~s", tickCount=5)
    drawn = chart.mark_line(point=True).encode(y=alt.Y("value:Q", title=y, scale=scale, axis=axis))
    if all("min" in row for row in rows):
        drawn = chart.mark_area(opacity=0.2).encode(y=alt.Y("min:Q", scale=scale, axis=axis), y2="max:Q") + drawn
    return drawn.properties(width=WIDTH, height=HEIGHT, title=alt.Title(title, anchor="start"))


def cohort(record: Record) -> Any:
    """The time of a trial-step by trials in the cohort."""
    rows = [
        {
            "trials": point["trials"],
            "series": name_of(point["work"]),
            "value": point["microseconds_per_trial_step"]["median"],
            "min": point["microseconds_per_trial_step"]["min"],
            "max": point["microseconds_per_trial_step"]["max"],
        }
        for point in record["points"]
    ]
    where = f"one core of {record['device_name']}" if record["device"] == "cpu" else record["device_name"]
    return lines(rows, x="trials in a cohort", y="microseconds a trial-step", series="network", title=where)


def cells(record: Record) -> Any:
    """The time of each stage of a run but training, per trial, by trials in the experiment."""
    medians = [size["median"] for size in record["sizes"]]
    rows = [
        {"trials": median["trials"], "series": stage, "value": value}
        for median in medians
        for stage, value in median.items()
        if stage != "trials" and value >= LEAST_SHOWN
    ]
    title = f"everything but training; {record['device_name']}"
    return lines(rows, x="trials in an experiment", y="microseconds a trial", series="stage", title=title)


def save(chart: Any, name: str, folder: Path, png: bool) -> None:
    """As SVG; with `png` as PNG too, to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ("svg", "png") if png else ("svg",):
        chart.save(str(folder / f"{name}.{ending}"), **({"scale_factor": 2} if ending == "png" else {}))
        print(folder / f"{name}.{ending}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=CHARTS, help="folder")
    parser.add_argument("--png", action="store_true", help="as PNG too")
    options = parser.parse_args()
    try:
        import altair  # noqa: F401
    except ImportError:
        parser.exit(1, "Altair is not installed: pip install .\n")
    for path in sorted(options.results.glob("speed-*.json")):
        record = json.loads(path.read_text())
        if record["works"]:
            save(rates(record), path.stem.replace("speed", "rates"), options.output, options.png)
    for name, draw in (("growth_cohort", cohort), ("growth_cells", cells)):
        path = options.results / f"{name}.json"
        if path.is_file():
            save(draw(json.loads(path.read_text())), name, options.output, options.png)


if __name__ == "__main__":
    main()
