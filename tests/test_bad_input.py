"""Input that is wrong: refused or failed with one message, never a traceback, a hang or half a file."""

import contextlib
import resource
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bnexp.config import TrialConfig
from bnexp.db.store import Store
from bnexp.identity import trial_key
from bnexp.yamlfile import LARGEST_FILE
from tests.attacks import QUICK, invoke, strange
from tests.conftest import TINY, environment


def plan(folder: Path, content: str | bytes) -> str:
    """What `plan` says of a file that it must refuse."""
    file = folder / "experiments.yaml"
    file.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    ended = invoke("plan", "a", "--file", file, "--db", folder / "none.db")
    assert ended.code == 2 and str(file) in ended.err, ended
    return ended.err


# Files that are not YAML, or not what an experiments file is.

BOMB = "a: &a [x, x, x]\n" + "".join(f"{c}: &{c} [{f'*{chr(ord(c) - 1)}, ' * 9}]\n" for c in "bcdefgh")
NOT_YAML: dict[str, tuple[str | bytes, str]] = {
    "aliases that unfold": (BOMB, "too many values"),
    "a list within itself": ("experiments: &a [*a]", "too many values"),
    "a mapping within itself": ("experiments: &a {a: *a}", "too many values"),
    "deep lists": ("[" * 100_000, ":1:41: not YAML: nests too deeply"),
    "deep mappings": ("{a: " * 100_000, "nests too deeply"),
    "deep blocks": ("".join(" " * n + "a:\n" for n in range(1, 500)), "nests too deeply"),
    "deep dashes": ("- " * 100_000, "nests too deeply"),
    "a key within keys": ("? " * 100_000, "nests too deeply"),
    "not UTF-8": (b"a: \xff", "can't decode byte 0xff"),
    "UTF-16": ("a: 1".encode("utf-16"), "can't decode byte 0xff"),
    "any bytes": (bytes(range(256)), "can't decode byte"),
    "NUL": ("a: \0", "#x0000"),
    "a tab": ("a:\n\tb: 1", ":2:1: not YAML"),
    "two documents": ("a: 1\n---\nb: 1", "expected a single document"),
    "no such alias": ("a: *b", "undefined alias"),
    "no such character": (r'a: "\U00110000"', "not YAML"),
    "half a character": (r'a: "\ud800"', "control characters"),
    "an escape sequence": (r'a: "\e[31m"', r"'\x1b[31m' has control characters"),
    "an escape sequence in a name": (r'experiments: {"\x9b2J": {}}', "control characters"),
    "a line break in a name": (r'experiments: {"a\nb": {}}', "a line of printable text"),
    "a mark that turns the line around": ("a: \u202eb", "control characters"),
    "a Python object": ("a: !!python/object/apply:os.system [echo]", "cannot be read as !!python/object/apply"),
    "a set": ("a: !!set {b, c}", "cannot be read as !!set"),
    "text that is a mapping": ("a: !!str {b: c}", "a list or mapping cannot be read as !!str"),
    "a list that is a mapping": ("a: !!map [1]", "cannot be read as !!map"),
    "a binary": ("a: !!binary aGVsbG8=", "cannot be read as !!binary"),
    "an integer of 5001 digits": (f"a: {'9' * 5001}", "cannot be read as !!int"),
    "a key twice": ("experiments: {}\nexperiments: {}", ":2:1: the key 'experiments' stands here a second time"),
    "a key that is a number": ("experiments: {1: {}}", ":1:15: the key 1 must be text"),
    "a key that is nothing": ("experiments: {null: {}}", "the key None must be text"),
    "a key that is a list": ("experiments: {[1]: {}}", "a key must be text"),
    "a key that is a list within itself": ("? &a [*a]\n: 1", "a key must be text"),
    "nothing": ("", "the file must be a mapping (name: value), not None"),
    "a word": ("hello", "the file must be a mapping"),
    "a list": ("- 1", "the file must be a mapping"),
    "a merge key": ("experiments: {a: {<<: {seeds: 1}}}", "unknown key '<<'"),
    "too large": ("#" * (LARGEST_FILE + 1), "more than 2,000,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_YAML)
def test_a_file_that_is_no_yaml_of_ours_is_refused_at_once(what: str, tmp_path: Path) -> None:
    content, said = NOT_YAML[what]
    began = time.monotonic()
    assert said in plan(tmp_path, content)
    assert time.monotonic() - began < 5


WRONG_SHAPES = {
    "experiments: ": [None, 3, [], ["a"], {}, {"a": None}, {"a": 3}, {"a": [1]}],
    "suites: ": [3, ["a"], {"s": 3}, {"s": []}, {"s": [None]}, {"s": [["a"]]}, {"s": [{"a": "b"}]}, {"a": ["a"]}],
    "claims: ": [3, [1], {"c": 3}, {"c": None}, {"c": []}, {"c": {"experiment": ["a"]}}, {"c": {"looks": "x"}}],
    "defaults: ": [None, 3, [1], {"seed": 1}, {"norm": {"a": {"b": 1}}}],
}
WRONG_ENTRIES: dict[str, list[Any]] = {
    "seeds": [-1, 0, True, 1.5, None, {}, "x", [1, 1], [[1]], [-1], [2**63], 10**9, 10**400, float("nan")],
    "factors": [3, [1], {"norm": 3}, {"norm": []}, {"norm": [[1]]}, {"norm": [None]}, {"x": [1]}, {"norm": ["a", "a"]}],
    "variants": [3, [1], {"x": 3}, {"x": None}, {"x": {"y": 1}}],
    "include": [3, {"a": "b"}, [3], [[1]], [{"x": 1}]],
    "exclude": [3, {"a": "b"}, [3], [["norm"]], [{"norm": ["batch"]}], [{"norm": {"a": 1}}], [{}], [{"dropout": [1]}]],
    "tune": [3, [], {}, {"factor": ["a"], "levels": [1, 2], "seeds": [99]}],
    "norm": [None, 3, ["batch"], {"name": ["a"]}, {"name": {"a": "b"}}, {"name": "batch", "norm.eps": 1}, "nosuch"],
    "model": [{"hidden": []}, {"hidden": {}}, {"hidden": None}, {"hidden": 10}, {"hidden": [1.5]}, {"hidden": [True]},
              {"hidden": "9999x99999"}, {"hidden": [0]}, {"hidden": [65537]}, {"name": None}],
    "dropout": ["true", None, [0.1], {}, 1, -1, float("nan"), float("inf"), 1e308, 10**400, "0.1", True],
    "steps": [0, 1.0, "10", True, None, 10**10, 10**400, float("inf")],
    "lr_multiplier": [0, -1, float("inf"), float("nan"), "1", 10**400],
    "eval_every": [0, 10**10, 1.5], "probes": [3, [[1]], {"a": 1}, "percentiles", ["nosuch"]],
    "dataset": [None, 1, ["digits"], {"a": "b"}, "nosuch"],
    "schedule": ["exponential", {"name": "exponential", "decay": 2}],
    "precision": ["float16", 32], "split": [-1, 2**31], "binarize": ["true", 1, None], ".": [3], "": [3], "norm.": [3],
    "norm.eps.x": [3], "a.b.c": [3], "seed": [3],
}  # fmt: skip


@pytest.mark.parametrize("before", WRONG_SHAPES)
def test_parts_of_wrong_shapes_are_refused(before: str, tmp_path: Path) -> None:
    for value in WRONG_SHAPES[before]:
        rest = "" if before.startswith("experiments") else "experiments: {a: {seeds: 1}}\n"
        plan(tmp_path, f"{rest}{before}{yaml.safe_dump(value, default_flow_style=True)}")


@pytest.mark.parametrize("key", WRONG_ENTRIES)
def test_strange_values_are_refused_with_their_place(key: str, tmp_path: Path) -> None:
    for value in WRONG_ENTRIES[key]:
        said = plan(tmp_path, yaml.safe_dump({"experiments": {"a": {key: value}}}))
        assert "experiments.yaml:" in said and len(said) < 2000


TUNE = {"factor": "dropout", "levels": [0.1, 0.2], "seeds": [99]}


@pytest.mark.parametrize(
    "change",
    [
        {"by": ["x"]}, {"by": {"a": "b"}}, {"by": 3}, {"as": ["x"]}, {"as": {"x": "y"}}, {"levels": [0.1]},
        {"levels": 3}, {"levels": [float("nan")] * 2}, {"levels": [0.1, 10**400]}, {"levels": ["a", "b"]},
        {"levels": [[1], [2]]}, {"seeds": 3}, {"seeds": [0]}, {"factor": "norm"}, {"factor": None}, {"nosuch": 1},
    ],
    ids=str,
)  # fmt: skip
def test_strange_tune_stages_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    plan(tmp_path, yaml.safe_dump({"experiments": {"a": {"tune": TUNE | change}}}))


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([10**400, 2**63, -0.0, "batch", "none", "mlp", "3x5", "\x1b[0m", "margin", "digits", "norm"]),
)  # fmt: skip
keys = st.one_of(
    st.text(max_size=6), st.sampled_from([*TrialConfig.model_fields, "name", "eps", "hidden", *WRONG_ENTRIES])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


@QUICK
@given(st.dictionaries(keys, values, max_size=4))
def test_any_experiment_is_planned_or_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    file = tmp_path / "experiments.yaml"
    file.write_bytes(yaml.safe_dump({"experiments": {"a": entry}}).encode("utf-8", "surrogatepass"))
    assert invoke("plan", "a", "--file", file, "--db", tmp_path / "none.db").code in (0, 2)


@QUICK
@given(
    st.lists(
        st.sampled_from(["experiment", "arms", "where", "estimator", "measures", "supported_if", "table", "looks"]),
        min_size=1,
    ),
    values,
)
def test_any_claim_is_judged_or_refused(tiny: Path, tmp_path: Path, path: list[str], value: Any) -> None:
    content = yaml.safe_load(TINY)
    at = content["claims"]["better"]
    for key in path[:-1]:
        at = at[key] if isinstance(at.get(key), dict) else at
    at[path[-1]] = value
    file = tmp_path / "experiments.yaml"
    file.write_bytes(yaml.safe_dump(content).encode("utf-8", "surrogatepass"))
    for form in ("table", "json", "markdown"):
        assert invoke("report", "--file", file, "--db", tiny / "bnexp.db", "--format", form).code in (0, 2)


@QUICK
@given(
    st.binary(max_size=200)
    | st.text(alphabet=string.printable + "é\u2028\ud800", max_size=200).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
)
def test_any_bytes_are_a_file_or_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "experiments.yaml"
    file.write_bytes(content)
    assert invoke("plan", "a", "--file", file).code == 2


# Numbers.


def test_too_many_trials_are_refused_with_their_count_before_they_are_made(tmp_path: Path) -> None:
    levels = [[round(0.5 + n / 10_000, 4) for n in range(1000)] for _ in range(3)]
    factors = dict(zip(("dropout", "lr_multiplier", "init_scale"), levels, strict=True))
    began = time.monotonic()
    said = plan(tmp_path, yaml.safe_dump({"experiments": {"a": {"factors": factors, "seeds": 1}}}))
    assert "would have 1,000,000,000 trials; at most 5,000,000" in said
    assert time.monotonic() - began < 10
    for option in (["--seeds", "1000000000"], ["--seeds", "9" * 4000], ["--seeds", "9" * 5000]):
        assert invoke("plan", "grid", *option).code == 2
    assert "1,000,000,000 seeds; at most" in invoke("plan", "grid", "--seeds", "1000000000").err


@pytest.mark.slow
def test_a_million_seeds_are_planned(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bnexp", "plan", "a", "--file", "a.yaml"]
    (tmp_path / "a.yaml").write_text("experiments: {a: {seeds: 1000000}}")
    limit = 3 << 30
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert "1,000,000 trials: 1,000,000 pending" in ended.stdout, ended.stderr


def test_a_network_that_could_never_fit_is_planned_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    assert invoke("plan", "grid", "--set", "model.hidden=1000x65536", "--db", tmp_path / "none.db").code == 0
    assert time.monotonic() - began < 10


def test_minus_zero_is_zero() -> None:
    zero, minus = (TrialConfig.model_validate({"optimizer": {"name": "sgd", "momentum": value}}) for value in (0, -0.0))
    assert trial_key(zero, "data") == trial_key(minus, "data")


# Arguments.

ASSIGNMENTS = [
    "", "=", "a", "a=", "=1", "dropout", "dropout=", "dropout=[", "dropout={a", "norm=[batch]", "seed=3", "dropout=nan",
    "dropout=.nan", "dropout=1e400", f"steps={'9' * 400}", f"steps={'9' * 5000}", "norm=&a [*a]", f"norm={'[' * 3000}",
    "norm=!!python/object/apply:os.system [x]", "norm=\udcff", "norm=\x1b[31m", 'norm="\\ud800"', "model.hidden=0x5",
    "optimizer={name: adamant}", "schedule=exponential", "probes=percentiles", "dropout=0.1\ndropout: 2", "split=-1",
    "norm.=1", "norm..eps=1", "a.b.c=1", "steps=1_000", "dropout='0.1'", "norm=%", "norm=@x", "norm=*a", "batch_size=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiments file that is read in a twentieth of the time that the shipped one takes."""
    file = tmp_path_factory.mktemp("small") / "experiments.yaml"
    file.write_text(TINY)
    return file


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_assignments_that_mean_nothing_are_refused(small: Path, assignment: str) -> None:
    ended = invoke("plan", "tiny", "--file", small, "--set", assignment)
    assert ended.code == 2 and "--set" in ended.err.splitlines()[-1]


@QUICK
@given(
    st.sampled_from([*TrialConfig.model_fields, "norm.eps", "optimizer.lr", "x"]),
    st.text(max_size=12) | values.map(repr),
)
def test_any_assignment_is_taken_or_refused(tmp_path: Path, field: str, value: str) -> None:
    (tmp_path / "experiments.yaml").write_text(TINY)
    file = ("--file", tmp_path / "experiments.yaml", "--db", tmp_path / "none.db")
    assert invoke("plan", "tiny", *file, "--set", f"{field}={value}").code in (0, 1, 2)


@pytest.mark.parametrize(
    "seeds", ["", "0", "-1", "1.5", "a", "1,,2", ",", "1,1", "nan", "1e3", "true", "[1,2]", "{a: b}"]
)
def test_seeds_that_are_none_are_refused(small: Path, seeds: str) -> None:
    assert "--seeds" in invoke("plan", "tiny", "--file", small, "--seeds", seeds).err


@pytest.mark.parametrize("number", ["nan", "-1", "inf", "x"])
def test_numbers_in_no_range_are_refused(number: str) -> None:
    assert "--timeout" in invoke("query", "select 1", "--timeout", number).err
    assert "--tolerance" in invoke("verify", "--tolerance", number).err


def test_a_key_that_is_none_is_refused(database: Path) -> None:
    for key in ("", "x" * 9000, "%", "\udcff", "é", "\x1b[0m", "'"):
        assert invoke("show", "--db", database, "--", key).code == 2


PIECES = [
    "sqlite", "postgresql", "+psycopg", "+a", "://", ":", "/", "@", "u", "%", "%00", "127.0.0.1", ":1", ":x", "[::1",
    "]", "?", "&", "mode=ro", "=", "connect_timeout=1", ".", "~", " ", "\udcff", "é", "x" * 300, "file:",
    "memory", ":memory:",
]  # fmt: skip


@QUICK
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_any_database_is_opened_or_refused(tmp_path_factory: pytest.TempPathFactory, url: str) -> None:
    with contextlib.chdir(tmp_path_factory.getbasetemp()):
        assert invoke("status", "--db", url).code in (1, 2)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bad") / "bnexp.db"
    Store(str(path)).close()
    return path


WORDS = [
    "select", "from", "trials", "(", ")", "*", ",", "'", '"', ";", "--", "/*", "1", "x'ff'", "count(*)", "union",
    "with", "as", "?", ":a", "pragma", "delete", "\x1b", "\udcff", "null", "9e999", "group by", "key", "limit",
]  # fmt: skip


@QUICK
@given(st.lists(st.sampled_from(WORDS), max_size=9), st.sampled_from(["table", "csv", "json"]))
def test_any_statement_is_answered_or_refused(database: Path, words: list[str], form: str) -> None:
    assert invoke(
        "query", "--db", database, "--format", form, "--timeout", "5", "--", " ".join(["select", *words])
    ).code in (0, 1, 2)


# Files that are not files.


def test_an_experiments_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    for name, path in {**strange(tmp_path), "none": tmp_path / "none", "here": Path()}.items():
        said = invoke("plan", "a", "--file", path).err
        assert str(path) in said and ("Not a regular file" in said) == (name in ("pipe", "zero", "full", "null"))


def test_a_database_that_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in [*strange(tmp_path).values(), tmp_path / "none", tmp_path / "none" / "x.db", Path()]:
        assert invoke("status", "--db", path).code in (1, 2)
        assert invoke("run", "grid", "--db", path if path.name != "none" else Path()).code in (1, 2)


def test_a_data_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path / ("x" * 300)):
        for command in (["plan", "grid"], ["data", "list"], ["run", "grid", "--db", tmp_path / "none.db"], ["verify"]):
            assert "--data-dir" in invoke(*command, "--data-dir", path).err
    assert not list(tmp_path.iterdir())


def test_a_report_is_written_whole_or_not_at_all(tiny: Path, tmp_path: Path) -> None:
    command = ["report", "--file", tiny / "experiments.yaml", "--db", tiny / "bnexp.db"]
    for path in (*strange(tmp_path).values(), tmp_path / "none" / "r.txt", Path()):
        assert "--output" in invoke(*command, "--output", path).err
    before = sorted(tmp_path.iterdir())
    kept = tmp_path / "kept.txt"
    kept.write_text("what was there")
    ended = subprocess.run(
        [sys.executable, "-m", "bnexp", *map(str, command), "--output", str(kept)], env=environment(), text=True,
        capture_output=True, timeout=60, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )  # fmt: skip
    assert ended.returncode == 2 and "File too large" in ended.stderr and "Traceback" not in ended.stderr
    assert kept.read_text() == "what was there" and sorted(tmp_path.iterdir()) == sorted([*before, kept])
    kept.chmod(0o640)
    (tmp_path / "link.txt").symlink_to(kept)
    assert invoke(*command, "--output", tmp_path / "link.txt").code == 0
    assert kept.read_text().startswith("tiny: ") and kept.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "link.txt").is_symlink()


@pytest.mark.parametrize("command", ["query --format csv", "query --format json", "status"])
def test_a_full_disk_behind_the_output_is_said(database: Path, command: str) -> None:
    sql = ["with recursive c(x) as (select 1 union all select x + 1 from c limit 5) select x from c"]
    words = [*command.split(), "--db", str(database), *(sql if "query" in command else [])]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "bnexp", *words],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 1 and "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr
