"""How claims, measures and the scale of a report are put into words, the same in every format."""

import re
from collections.abc import Iterable, Sequence

from bnexp.claims.findings import Finding
from bnexp.claims.model import Arms, Claim, Estimator
from bnexp.claims.partial import Partial, described, shown
from bnexp.claims.report import Report, Reports
from bnexp.claims.tables import Row, table_parts
from bnexp.reports.tallies import tallied
from bnexp.text import with_overrides

CONTROL_FIRST = ("steps_ratio", "percentile_drift", "matched_loss_gap")
"""Estimators whose effect is control against treatment, so that a better treatment has a larger one."""

POST_HOC = "† post hoc: the claim, as it stands, is younger than its data"

GLOSSARY = (
    "pt: percentage points (of accuracy, or of seeds). x: a ratio. ≥ and ≤: a bound, since some seeds gave only one. "
    "Trained: the final training loss is finite and under half of ln(classes). A trial that diverged counts as chance."
)
"""What the report's words mean."""


def spaced(name: str) -> str:
    """A field's name for people."""
    return name.replace("_", " ").removesuffix(".name")


def partial(trials: Partial) -> str:
    """A partial configuration in words, each field without the name of what it belongs to."""
    return re.sub(r"\b[a-z]+\.(?=[a-z])", "", described(trials)) or "all trials"


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def outcome(how: Estimator) -> str:
    """What an estimator measures in each arm."""
    of = "share of seeds that trained" if how.of == "trained" else "test accuracy"
    factor = spaced(how.factor or "")
    at_best = f" at the best {listed(map(spaced, how.over))} by validation" if how.over else ""
    match how.name:
        case "difference" | "best_difference":
            return of + at_best
        case "spread_difference":
            return f"spread of {of} over {factor}"
        case "interaction":
            assert how.gain is not None
            return f"gain in {of} by {partial(how.gain.treatment)} over {partial(how.gain.control or {})}{at_best}"
        case "maximum_difference":
            return "largest validation accuracy"
        case "matched_loss_gap":
            return "training minus validation accuracy at equal training loss"
        case "steps_ratio":
            return "steps to the target"
        case "largest_trained":
            return f"largest {factor} that trains"
        case "tolerated_range":
            return f"decades of {factor} within {how.within:g} point{'s' * (how.within != 1)} of the best"
        case "percentile_drift":
            return "drift of the inputs of the last hidden layer"
        case "rate":
            return "share of seeds that trained"
        case "growth_per_layer":
            return "growth of the squared gradient norm from layer to layer"
        case "largest_error":
            return "largest relative error"
        case "ensemble_gain":
            error = how.measure.replace("top", "top-").replace("_", " ")
            return f"{error} of the ensemble minus that of its member best on validation"
        case _:
            return spaced(how.name.rpartition(":")[2])


def contrast(arms: Arms, how: Estimator) -> str:
    """What is compared: "Test accuracy, norm batch minus norm none"."""
    what = f"{outcome(how)[:1].upper()}{outcome(how)[1:]}"
    if arms.control is None:
        return f"{what}, {partial(arms.treatment)}"
    pair = [f"({name})" if ", " in name else name for name in map(partial, (arms.treatment, arms.control))]
    if how.name in CONTROL_FIRST:
        pair.reverse()
    return f"{what}, {(' over ' if how.unit == 'log2' else ' minus ').join(pair)}"


def measured(claim: Claim, name: str) -> str:
    """A measure in words, with the trials that it is about."""
    part = claim.parts()[name]
    where = part.where | part.estimator.at
    return contrast(part.arms, part.estimator) + (f" ({partial(where)})" if where else "")


def said(claim: Claim) -> str:
    """Who says what, and where."""
    who = f"{claim.source} ({claim.section})" if claim.source else f"The paper ({claim.section})"
    if not claim.source and claim.section.lower() in OWN:
        who = claim.section.capitalize()
    figure = f" {sentence(claim.paper)}" if claim.paper else ""
    return f'{who}: "{claim.quote}".{figure}'


OWN = ("our own", "own", "ours", "my own")
"""Sections of claims that no paper makes."""


def sentence(text: str) -> str:
    """With a capital in front and a stop behind."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def scale(reports: Sequence[Report]) -> str:
    """What the verdicts are about; they never come without it."""
    networks = listed_networks(dict.fromkeys(model for report in reports for model in report.models))
    seeds = sorted({report.seeds for report in reports})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"on {datasets(reports)}, {networks}, {count} seed{'s' * (seeds[-1] != 1)}"


def datasets(reports: Sequence[Report]) -> str:
    """The names of the datasets."""
    return listed(sorted({name for report in reports for name in report.datasets}) or ["no dataset"])


def listed_networks(models: Iterable[str]) -> str:
    """Networks of one kind together: mlp 3x100 and 5x100."""
    kinds: dict[str, list[str]] = {}
    for model in models:
        kind, _, size = model.partition(" ")
        kinds.setdefault(kind, []).append(size)
    return listed(f"{kind} {listed(sizes)}".strip() for kind, sizes in kinds.items()) if kinds else "no network"


def titled(name: str, reports: Sequence[Report]) -> str:
    """What is reported, with the overrides it was run with, and its scale."""
    return f"{with_overrides(name, reports[0].instance.overrides)}: {scale(reports)}"


def counted(reports: Reports) -> str:
    """How the trials ended, and of a suite which members have any."""
    ended = tallied(reports.counts)
    members = len(reports.reports) + len(reports.missing)
    return f"{len(reports.reports)} of {members} experiments run: {ended}." if reports.of_several else f"{ended}."


def no_claims(report: Report) -> str:
    """What to say of an experiment about which the file claims nothing."""
    return (
        f"The experiments file makes no claim about {report.instance.name}: add one under `claims:`, "
        "or look at experiment_results with `bnexp query`."
    )


def levels(row: Row) -> list[str]:
    return [shown(level) for level in row.levels.values()]


def effect_title(how: Estimator, alone: bool) -> str:
    """The heading of the column of effects."""
    if alone:
        return "[95%]"
    return "ratio [95%]" if how.unit == "log2" else "difference [95%]"


def table_title(finding: Finding) -> str:
    """What the table's cells are, and of which trials."""
    _, how = table_parts(finding.claim)
    text = outcome(how)
    if how.name in ("difference", "best_difference", "rate"):
        of = "seeds that trained [95%]"
        accuracy = "test accuracy in percent (chance where diverged)"
        trained = how.of == "trained" or how.name == "rate"
        text = text.replace("share of seeds that trained", of) if trained else text.replace("test accuracy", accuracy)
    elif how.name in ("spread_difference", "interaction", "matched_loss_gap", "maximum_difference"):
        text += ", in points"
    elif how.name in ("steps_ratio", "largest_trained"):
        text = f"mean {text}"
    where = finding.claim.where
    if finding.claim.table and finding.claim.table.estimator:
        where = where | how.at
    return f"{text[:1].upper()}{text[1:]}" + (f"; {partial(where)}" if where else "")


def mark(finding: Finding, row: Row) -> str:
    """What refers a row to its doubt, where its numbers decide nothing."""
    return f"({_doubts(finding).index(row.doubt) + 1})" if row.doubt else ""


def _doubts(finding: Finding) -> list[str]:
    return list(dict.fromkeys(row.doubt for row in finding.rows if row.doubt))


def doubts(finding: Finding) -> list[str]:
    """What the marks in the table mean."""
    return [f"({number}) {doubt}" for number, doubt in enumerate(_doubts(finding), 1)]
