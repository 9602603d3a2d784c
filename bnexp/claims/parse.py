"""The claims of an experiments file: read, and checked against its experiments."""

from collections.abc import Sequence
from functools import cache
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bnexp.claims.looks import preset
from bnexp.claims.model import Claim, Estimator
from bnexp.claims.partial import Partial, as_column, columns_of
from bnexp.claims.reach import Path, as_written, cells_of, check_reach
from bnexp.config import columns_by_name
from bnexp.errors import ConfigurationError, UsageError, did_you_mean
from bnexp.experiments import ExperimentsFile
from bnexp.marks import Fields
from bnexp.own import source_hash


def parse_claims(file: ExperimentsFile) -> dict[str, Claim]:
    """The file's claims by name. Raises ConfigurationError with the place of what is wrong: unknown names, limits that
    are none, rules that contradict each other, experiments that the file does not have, arms that they do not have."""
    claims = {}
    cells = cache(lambda experiment: cells_of(file.experiments[experiment]))
    for name, entry in file.claims.items():
        try:
            claim = Claim.model_validate(entry)
        except ValidationError as error:
            raise _refusal(file, name, error.errors()) from error
        claim = _with_sources(file, name, claim)
        if claim.experiment is not None:
            _check_names(file, name, claim)
            experiment = file.experiments[claim.experiment]
            check_reach(file, name, claim, cells(experiment.name))
            if not claim.looks:
                claim = claim.model_copy(update={"looks": preset(len(experiment.seeds))})
        claims[name] = claim
    return claims


def _with_sources(file: ExperimentsFile, name: str, claim: Claim) -> Claim:
    """The claim with the sources of the estimators that are a person's own."""

    def sourced(how: Estimator, *path: str) -> Estimator:
        place = file.document.place(("claims", name, *path, "estimator"))
        if how.source:
            raise ConfigurationError(f"claim {name}: an estimator's `source` is written by bnexp", place)
        if not how.own:
            return how
        try:
            return how.model_copy(update={"source": source_hash(how.name)})
        except UsageError as error:
            raise ConfigurationError(f"claim {name}: {error}", place) from error

    changed: dict[str, Any] = {}
    if claim.estimator:
        changed["estimator"] = sourced(claim.estimator)
    if claim.measures:
        changed["measures"] = {
            part: measure.model_copy(update={"estimator": sourced(measure.estimator, "measures", part)})
            for part, measure in claim.measures.items()
        }
    if claim.table and claim.table.estimator:
        changed["table"] = claim.table.model_copy(update={"estimator": sourced(claim.table.estimator, "table")})
    return claim.model_copy(update=changed)


def _refusal(file: ExperimentsFile, name: str, errors: list[ErrorDetails]) -> ConfigurationError:
    # A limit is a number or a word; where it is neither, the first alternative tells most.
    detail = errors[0]
    location = [
        part for part in detail["loc"] if part != "float" and not str(part).startswith(("literal[", "function"))
    ]
    what = ".".join(map(str, [name, *location]))
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = f"no such key ({did_you_mean(str(location[-1]), _fields_at(location[:-1]))})"
    elif len(errors) > 1 and errors[1]["type"] == "literal_error":
        message += ", or one of 'margin' and '-margin'"
    return ConfigurationError(
        f"claim {what}: {message} (given: {detail['input']!r:.60})", file.document.place(("claims", name, *location))
    )


def _fields_at(location: Sequence[object]) -> list[str]:
    """The keys that a part of a claim may have."""
    model: type[Fields] = Claim
    for part in location:
        if str(part) in model.model_fields:
            model = next(_models(model.model_fields[str(part)].annotation), model)
    return list(model.model_fields)


def _models(annotation: Any) -> Any:
    """The classes of fields that an annotation names."""
    for option in get_args(annotation) or (annotation,):
        if isinstance(option, type) and issubclass(option, Fields):
            yield option
        elif get_args(option):
            yield from _models(option)


def _check_names(file: ExperimentsFile, name: str, claim: Claim) -> None:
    """Refuse experiments, fields and columns that do not exist."""

    def place(*path: str | int) -> str:
        return file.document.place(("claims", name, *path))

    if claim.experiment not in file.experiments:
        hint = did_you_mean(str(claim.experiment), file.experiments)
        raise ConfigurationError(f"no experiment {claim.experiment!r} ({hint})", place("experiment"))
    partials: dict[Path, Partial | None] = {("where",): claim.where}
    factors: dict[Path, tuple[str, ...]] = {}
    hows = [((*path, "estimator"), measure.estimator) for path, measure in as_written(claim)]
    for path, measure in as_written(claim):
        partials |= {(*path, "where"): measure.where} if path else {}
        partials |= {(*path, "arms", "treatment"): measure.arms.treatment}
        partials |= {(*path, "arms", "control"): measure.arms.control}
    if claim.table:
        factors["table", "by"] = claim.table.by
        if claim.table.estimator:
            hows.append((("table", "estimator"), claim.table.estimator))
        if claim.table.arms:
            partials["table", "arms", "treatment"] = claim.table.arms.treatment
            partials["table", "arms", "control"] = claim.table.arms.control
    for path, how in hows:
        partials[*path, "at"] = how.at
        factors[*path, "over"] = how.over
        factors[(*path, "factor")] = (how.factor,) if how.factor else ()
        factors[*path, "members"] = (how.members,)
        if how.gain:
            partials[*path, "gain", "treatment"] = how.gain.treatment
            partials[*path, "gain", "control"] = how.gain.control
    tune = file.experiments[claim.experiment].tune
    for where, partial in partials.items():
        selected = columns_of(partial or {}, lambda inner, where=where: place(*where, *inner))
        if tune and as_column(tune.factor) in selected:
            raise ConfigurationError(
                f"claim {name}: {tune.factor} is tuned in {claim.experiment}; a claim cannot choose it", place(*where)
            )
    known = {*columns_by_name().values(), "variant"}
    for where, named in factors.items():
        for index, factor in enumerate(named):
            if factor not in known:
                hint = did_you_mean(factor, known)
                spot = where if where[-1] in ("factor", "members") else (*where, index)
                raise ConfigurationError(f"claim {name}: no column {factor!r} ({hint})", place(*spot))
