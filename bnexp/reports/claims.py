"""The claims of a file: all of them in short, and one in full. They need no data."""

from collections.abc import Iterable, Mapping

from bnexp.claims.model import Claim
from bnexp.errors import UsageError, did_you_mean
from bnexp.reports import words
from bnexp.reports.blocks import Block, Grid, Heading, Line, Quote, Row
from bnexp.reports.limits import limits, short


def listing(claims: Mapping[str, Claim]) -> list[Block]:
    """Every claim: its section, its experiment, and what supports and refutes it, in signs."""
    if not claims:
        return [Line("The experiments file has no claims; docs/howto/experiments.md shows how to write one.")]
    rows = [_row(name, claim) for name, claim in claims.items()]
    return [
        Grid(["claim", "section", "experiment"], rows, under="question, and what was fixed beforehand"),
        Line("≥, ≤: where the whole 95% interval must lie. `bnexp claims ID` shows one in full.", "faint"),
    ]


def _row(name: str, claim: Claim) -> Row:
    if claim.experiment is None:
        fixed = claim.needs
    else:
        units = {part: measure.estimator.unit for part, measure in claim.parts().items()}
        fixed = f"Supported: {short(claim.supported_if, units)}; refuted: {short(claim.refuted_if, units)}"
    return Row([name, claim.section, claim.experiment or "-"], under=f"{claim.question}\n{fixed}")


def definitions(claims: Mapping[str, Claim], names: Iterable[str]) -> list[Block]:
    """The claims called `names`, in full. Raises UsageError where there is no such claim."""
    blocks: list[Block] = []
    for name in names:
        if name not in claims:
            raise UsageError(f"no claim {name!r} ({did_you_mean(name, claims)})")
        blocks += [Heading(name, 1), *definition(name, claims[name])]
    return blocks


def definition(name: str, claim: Claim) -> list[Block]:
    """A claim in words: who says what, how it is measured, and what was fixed beforehand."""
    blocks: list[Block] = [Line(claim.question, "strong"), Quote(words.said(claim))]
    if claim.experiment is None:
        return [*blocks, Line(claim.needs, lead="Not tested. ")]
    blocks.append(Line(f"`{claim.experiment}`.", lead="Experiment: ", tone="strong"))
    parts = claim.parts()
    for part in parts:
        lead = "Measured: " if len(parts) == 1 else f"{part}: "
        blocks.append(Line(f"{words.measured(claim, part)}.", "strong", lead))
    blocks.append(Line(limits(claim)))
    meanings = (("If supported: ", claim.supported), ("If refuted: ", claim.refuted), ("Caveat: ", claim.caveat))
    blocks += [Line(text, "strong", lead) for lead, text in meanings if text]
    if claim.table:
        blocks.append(Line(f"{words.listed(map(words.spaced, claim.table.by))}.", "strong", "Table by: "))
    looks = words.listed(map(str, claim.looks))
    blocks.append(Line(f"at {looks} seeds.", "strong", "Judged: "))
    return [*blocks, Line(f"{claim.key(name)[:12]}.", "faint", "Hash of this definition: ")]
