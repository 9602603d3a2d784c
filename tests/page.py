"""A page about a database made by hand, whose every name is hostile, for the tests of pages."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bnexp.claims.parse import parse_claims
from bnexp.claims.report import report_on
from bnexp.db.results import Results
from bnexp.db.rows import WantedTrial
from bnexp.experiments import load
from bnexp.reports.charts.asked import Asked
from bnexp.reports.page import contents, html
from bnexp.reports.page.contents import Page
from tests.charts import ends, trials
from tests.databases import never, of, register, train
from tests.test_db import wanted

NOW = datetime(2026, 1, 2, 3, 4, 5)
SAID = '</script><img src=x onerror="window.hurt=1"><!--<script>window.hurt=1</script> {{7*7}} &'
"""What would run, end a script, hide the rest, or fill a template in, if it were not text."""
EVIL = f"{SAID} \x1b[31m"
"""And colour a terminal; no experiments file may say it, but a database may."""
FILE = f"""
experiments:
  crossed:
    about: {json.dumps(SAID)}
    factors: {{norm: [none, batch], lr_multiplier: [1, 30], init_scale: [1, 10]}}
  named:
    variants: {{BN: {{norm: batch}}, none: {{norm: none}}}}
suites: {{both: [crossed, named]}}
claims:
  better:
    question: {json.dumps(SAID)}
    section: "3"
    quote: {json.dumps(SAID)}
    experiment: crossed
    arms: {{treatment: {{norm: batch}}, control: {{norm: none}}}}
    estimator: {{name: difference, of: scored_accuracy, at: {{init_scale: 1}}}}
    table: {{by: [lr_multiplier]}}
    supported_if: {{low: {{at_least: 0}}}}
    refuted_if: {{high: {{at_most: 0}}}}
    caveat: {json.dumps(SAID)}
  elsewhere:
    question: Does it work on ImageNet?
    section: "4.2"
    quote: it does
    needs: {json.dumps(SAID)}
"""


def made(folder: Path) -> Asked:
    """What can be asked of the database that is made in `folder`: eight cells of two seeds, of which one diverges; and
    an instance with hostile names, of which one trial has not ended."""
    (folder / "experiments.yaml").write_text(FILE)
    database = str(folder / "bnexp.db")
    crossed = trials(lr_multiplier=[1, 30], init_scale=[1, 10])
    named: list[WantedTrial] = [
        replace(wanted(name, seed=seed, norm=norm), arm=name)
        for name, norm in ((EVIL, "batch"), ("none", "none"))
        for seed in (0, 1)
    ]
    numbers = register(database, of("crossed", crossed), of("named", named))
    train(database, numbers, ends)
    waiting = register(database, of(EVIL, [replace(wanted(EVIL, seed=7), arm=EVIL), named[0]]))
    train(database, waiting, never, leave="stay")
    file = load(folder / "experiments.yaml")
    results = Results(database)
    return Asked(results, file, known=report_on(results, file, parse_claims(file), "both"))


def about(asked: Asked, name: str | None = None) -> Page:
    """The page about what is asked, or about the experiment `name`."""
    if name is not None:
        known = report_on(asked.results, asked.file, parse_claims(asked.file), name)
        asked = replace(asked, known=known)
    return contents.page(asked, NOW)


def written(folder: Path) -> Path:
    """Pages beside each other: page.html about both experiments, and evil.html about that with a hostile name."""
    asked = made(folder)
    (folder / "page.html").write_text(html.render(about(asked)))
    (folder / "evil.html").write_text(html.render(about(asked, EVIL)))
    return folder / "page.html"
