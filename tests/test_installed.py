"""Short names that installed packages give: what they stand for, and that nothing is imported that is not used."""

import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bnexp import installed, own
from bnexp.claims.parse import parse_claims
from bnexp.claims.partial import columns_of
from bnexp.config import TrialConfig
from bnexp.errors import ConfigurationError
from bnexp.experiments import load
from bnexp.identity import trial_key
from bnexp.replacement import Normalizer
from bnexp.settings import flatten, resolve
from tests.attacks import invoke
from tests.documented import ROOT

[TOML] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "howto" / "own.md").read_text(), re.DOTALL)
FILE = """
experiments:
  e:
    seeds: 1
    factors:
      norm: [none, mean-abs]
claims:
  c:
    question: q?
    section: s
    quote: q
    experiment: e
    arms: {treatment: {norm: mean-abs}, control: {norm: none}}
    estimator: {name: own-mean}
    supported_if: {low: {at_least: 1}}
"""

Install = Callable[[str, dict[str, dict[str, str]]], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package that registers names by group; those of them that are imported are told by `sys.modules`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    installed._registered.cache_clear()

    def put(package: str, groups: dict[str, dict[str, str]]) -> None:
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = (f"[{group}]\n" + "".join(f"{n} = {p}\n" for n, p in names.items()) for group, names in groups.items())
        (folder / "entry_points.txt").write_text("\n".join(lines))
        installed._registered.cache_clear()

    (tmp_path / "shorts").mkdir()
    (tmp_path / "shorts" / "__init__.py").touch()
    (tmp_path / "shorts" / "layers.py").write_text("raise SystemExit('imported')")
    (tmp_path / "flatly.py").write_text("raise SystemExit('imported')")
    yield put
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shorts", "flatly")]:
        del sys.modules[name]
    installed._registered.cache_clear()


def config(**fields: object) -> TrialConfig:
    return resolve(flatten(fields, lambda _: "here"))


def test_the_pages_short_name_is_its_import_path(install: Install) -> None:
    """In the key, and with the hash of its source, wherever it is written."""
    install("shorts", tomllib.loads(TOML)["project"]["entry-points"])
    short, path = config(norm="mean-abs"), config(norm="shorts.layers:MeanAbs")
    assert short == path and short.norm.name == "shorts.layers:MeanAbs" and len(short.sources) == 1
    assert trial_key(short, "print") == trial_key(path, "print")
    assert columns_of({"norm": ["mean-abs", "none"]}) == {"norm": ("shorts.layers:MeanAbs", "none")}
    assert Normalizer.parse("{name: mean-abs, options: {eps: 1}}", "here").name == "shorts.layers:MeanAbs"


def test_every_kind_has_a_group(install: Install) -> None:
    groups = {"nonlinearities": "nonlinearity", "models": "model.name", "datasets": "dataset", "norms": "norm.name"}
    install("flatly", {f"bnexp.{group}": {"mine": "flatly:it"} for group in groups})
    found = config(nonlinearity="mine", model="mine", dataset="mine", norm="mine")
    assert [found.nonlinearity, found.model.name, found.dataset, found.norm.name] == ["flatly:it"] * 4
    checked = invoke("data", "check", "mine")
    assert checked.code == 2 and "flatly:it: " in checked.err and "imported" in checked.err


def test_nothing_is_imported_of_a_name_that_is_not_used(install: Install) -> None:
    """Nor by reading a file that names it: that takes its source alone."""
    install("flatly", {"bnexp.norms": {"mean-abs": "flatly:it"}, "bnexp.estimators": {"own-mean": "flatly:mean"}})
    Path("e.yaml").write_text(FILE)
    file = load(Path("e.yaml"))
    norms = {trial.config.norm.name for trial in file.experiments["e"].expand()}
    how = parse_claims(file)["c"].estimator
    assert norms == {"none", "flatly:it"} and how is not None
    assert (how.name, len(how.source)) == ("flatly:mean", 64) and "flatly" not in sys.modules


def test_shipped_names_win(install: Install) -> None:
    shipped = {group: dict.fromkeys(names, "flatly:it") for group, names in installed.GROUPS.values()}
    install("flatly", shipped)
    assert config(norm="batch", nonlinearity="relu", dataset="mnist", model="cnn").sources == ()
    assert [
        field for field, (_, known) in installed.GROUPS.items() for n in known if installed.resolved(field, n) != n
    ] == []
    assert installed.resolved("dataset", "imagefolder/pets") == "imagefolder/pets"


def test_packages_that_disagree_are_refused_where_the_name_is_used(install: Install) -> None:
    """Those that agree are not."""
    install("one", {"bnexp.norms": {"mean-abs": "flatly:it", "same": "flatly:it", "odd": "flatly:it.inner"}})
    install("two", {"bnexp.norms": {"mean-abs": "flatly:other", "same": "flatly:it"}})
    Path("e.yaml").write_text(FILE.replace("own-mean", "difference"))
    with pytest.raises(ConfigurationError) as refused:
        load(Path("e.yaml"))
    said = "norm: 'mean-abs' has several meanings in bnexp.norms: flatly:it (one), flatly:other (two); write the import"
    assert re.match(r"\S*e\.yaml:6:\d+: ", str(refused.value)) and said in str(refused.value)
    assert config(norm="same").norm.name == "flatly:it"
    with pytest.raises(
        ConfigurationError, match=r"'odd' in bnexp\.norms: one registers 'flatly:it\.inner', not package"
    ):
        config(norm="odd")


def test_an_estimators_name_is_refused_with_the_claim(install: Install) -> None:
    install("one", {"bnexp.estimators": {"own-mean": "flatly:it"}, "bnexp.norms": {"mean-abs": "flatly:it"}})
    install("two", {"bnexp.estimators": {"own-mean": "flatly:other"}})
    Path("e.yaml").write_text(FILE)
    with pytest.raises(ConfigurationError, match=r"claim c\.estimator\.name: 'own-mean' has several meanings"):
        parse_claims(load(Path("e.yaml")))


def test_a_name_that_nobody_gives_is_told_what_there_is(install: Install) -> None:
    """The names of packages too, and how one's own is written."""
    install("flatly", {"bnexp.norms": {"mean-abs": "flatly:it"}, "bnexp.datasets": {"pets": "flatly:it"}})
    told = {}
    for field in ("norm", "nonlinearity", "model", "dataset"):
        with pytest.raises(ConfigurationError) as refused:
            config(**{field: "mean-bas"})
        told[field] = str(refused.value)
        assert f"{field}: no such {field} 'mean-bas' (known: " in told[field] and own.PATH in told[field]
    assert (
        told["norm"].endswith("did you mean 'mean-abs'?); of your own, write package.module:name")
        and "batch-renorm" in told["norm"]
    )
    assert "imagefolder/NAME" in told["dataset"] and "pets" in told["dataset"] and "pets" not in told["model"]
    assert "no such dataset 'pest'" in invoke("data", "check", "pest").err
    with pytest.raises(ConfigurationError, match="no such norm 'mean-bas'"):
        columns_of({"norm": ["none", "mean-bas"]})
