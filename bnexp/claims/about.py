"""The claims about an experiment instance: the file's, and where a normalizer has taken the place of batch
normalization, the same of that normalizer."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from bnexp.claims.model import Arms, Claim, Estimator, Measure
from bnexp.claims.partial import Partial, columns_of
from bnexp.replacement import REPLACED, Normalizer, replaced_in

WORD = re.compile(r"\bBN\b(?!-)")
"""What sentences call batch normalization; names of variants, such as BN-x5, stay."""


class Told(Protocol):
    """An experiment instance, by what tells it from others."""

    @property
    def name(self) -> str: ...
    @property
    def overrides(self) -> str: ...


def about(claims: Mapping[str, Claim], instance: Told) -> dict[str, Claim]:
    """Those of the file's claims that its experiment was made for, as they are of this instance."""
    ours = {name: claim for name, claim in claims.items() if claim.experiment == instance.name}
    normalizer = replaced_in(instance.overrides)
    if normalizer is None:
        return ours
    return {called(name, normalizer): replaced(claim, normalizer) for name, claim in ours.items()}


def sources(claims: Mapping[str, Claim], instance: Told) -> dict[str, str]:
    """The names of the claims about an instance, each with the name that it has in the file."""
    named = [name for name, claim in claims.items() if claim.experiment == instance.name]
    normalizer = replaced_in(instance.overrides)
    return {called(name, normalizer) if normalizer else name: name for name in named}


def called(name: str, normalizer: Normalizer) -> str:
    """What the claim is called when it is about the normalizer: another claim, with another name."""
    return f"{name}@{normalizer.label}"


def replaced(claim: Claim, normalizer: Normalizer) -> Claim:
    """The claim with the normalizer in the place of batch normalization, its limits as they are. Where its arms would
    be the same, it cannot be tested, and says so."""
    changed: dict[str, Any] = {
        text: WORD.sub(normalizer.label, getattr(claim, text))
        for text in ("question", "supported", "refuted", "caveat")
    }
    changed["where"] = _partial(claim.where, normalizer)
    changed["arms"] = _arms(claim.arms, normalizer)
    changed["estimator"] = _estimator(claim.estimator, normalizer)
    changed["measures"] = {name: _measure(measure, normalizer) for name, measure in claim.measures.items()}
    if claim.table:
        arms, estimator = _arms(claim.table.arms, normalizer), _estimator(claim.table.estimator, normalizer)
        changed["table"] = claim.table.model_copy(update={"arms": arms, "estimator": estimator})
    ours = claim.model_copy(update=changed)
    before, after = claim.parts(), ours.parts()
    if any(_alike(after[part].arms) and not _alike(before[part].arms) for part in after):
        needs = f"What it compares {normalizer.label} with is {normalizer.name} too."
        return Claim(question=ours.question, section=claim.section, quote=claim.quote, paper=claim.paper, needs=needs)
    return ours


def _measure(measure: Measure, normalizer: Normalizer) -> Measure:
    arms, where = _arms(measure.arms, normalizer), _partial(measure.where, normalizer)
    estimator = _estimator(measure.estimator, normalizer)
    return measure.model_copy(update={"arms": arms, "where": where, "estimator": estimator})


def _estimator(how: Estimator | None, normalizer: Normalizer) -> Estimator | None:
    if how is None:
        return None
    changed: dict[str, Any] = {"gain": _arms(how.gain, normalizer)} if how.gain else {}
    return how.model_copy(update=changed | ({"at": _partial(how.at, normalizer)} if how.at else {}))


def _arms(arms: Arms | None, normalizer: Normalizer) -> Arms | None:
    if arms is None:
        return None
    changed = {"treatment": _partial(arms.treatment, normalizer)}
    if arms.control is not None:
        changed["control"] = _partial(arms.control, normalizer)
    return arms.model_copy(update=changed)


def _partial(partial: Partial, normalizer: Normalizer) -> Partial:
    """Every `norm: batch` as the normalizer with its fields; of several alternatives, by its name alone."""
    changed: Partial = {}
    for field, value in partial.items():
        fields = dict(value) if isinstance(value, Mapping) else {"name": value}
        named = fields.pop("name", None) if field in ("norm", "norm.name") else None
        if named == REPLACED:
            own = {name: inner for name, inner in fields.items() if normalizer.has(name)} | dict(normalizer.fields)
            changed |= {"norm": normalizer.name} | {f"norm.{name}": inner for name, inner in own.items()}
        elif isinstance(named, list):
            changed["norm"] = [normalizer.name if name == REPLACED else name for name in named]
        else:
            changed[field] = value
    return changed


def _alike(arms: Arms) -> bool:
    """Whether a trial could be in both arms, by what they say."""
    if arms.control is None:
        return False
    one, other = columns_of(arms.treatment), columns_of(arms.control)
    return all(any(value in other[name] for value in one[name]) for name in one.keys() & other.keys())
