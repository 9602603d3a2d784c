"""Inputs that are nearly right, for `fuzz.py`: mutated files, settings, URLs, datasets and SQL."""

import gzip
import random
import struct
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from bnexp.config import columns_by_name
from bnexp.data.idx import Idx
from bnexp.registry import ESTIMATORS, NONLINEARITIES, NORMS, PROBES

SECRET = "s3cr3t"
"""The password of every URL; it may stand nowhere."""

SMALL = """
defaults: {model: {name: mlp, hidden: [8]}, steps: 60, eval_every: 20}
experiments:
  tiny:
    about: Two arms
    factors: {norm: [none, batch], lr_multiplier: [1, 1e38]}
    nonlinearity: identity
    seeds: 6
  tuned:
    variants: {plain: {norm: none}, normal: {norm: batch}}
    include: [{norm: batch, nonlinearity: tanh}]
    exclude: [{norm: none, init_scale: 10}]
    factors: {init_scale: [1, 10]}
    tune: {factor: lr_multiplier, levels: [0.5, 1], by: validation_accuracy, seeds: [1001, 1002], as: {normal: plain}}
    probes: [percentiles]
suites: {both: [tiny, tuned]}
claims:
  better:
    question: Is BN better at rate 1?
    section: abstract
    quote: it is
    experiment: tiny
    arms: {treatment: {norm: batch}, control: {norm: none}}
    where: {nonlinearity: identity}
    estimator: {name: difference, of: scored_accuracy, at: {lr_multiplier: 1}}
    table: {by: [lr_multiplier]}
    supported_if: {low: {at_least: margin}}
    refuted_if: {high: {at_most: 0}}
  higher:
    question: Higher rates?
    section: abstract
    quote: higher rates
    experiment: tiny
    measures:
      rate:
        arms: {treatment: {norm: batch}, control: {norm: none}}
        estimator: {name: best_difference, over: [lr_multiplier]}
      largest:
        arms: {treatment: {norm: batch}, control: {norm: none}}
        estimator: {name: largest_trained, factor: lr_multiplier}
    supported_if: {all: [{of: rate, within: 3}, {of: largest, low: {at_least: 2}}]}
  elsewhere: {question: "ImageNet?", section: "4.2", quote: it does, needs: It takes ImageNet.}
"""
"""A file of everything that an experiments file can have, and small."""

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 10**9, 10**18, 2**63, 10**30, 10**400, 0.5, -0.0, 1e-320, 1e308, float("nan"),
    float("inf"), float("-inf"), "", " ", "none", "batch", "true", "1e400", ".nan", "3x100", "9999x99999", "margin",
    "seed", "variant", "norm.name", "optimizer.lr", "[red]", "[/]", "<b>x</b>", "a|b", "`", "```\n", "x\ny", "\x1b[31m",
    "\x9b", "\u202e", "é", "漢字", "\U0001f600", "'; drop table trials; --", "%s", "{}", "\\", "x" * 3000, [], {}, [[]],
    [None], [1, "a"], [1, 1], {"name": "batch"}, {"name": None}, {"a": {"b": {"c": []}}}, ["batch", "none"],
]  # fmt: skip
FAMILIES: list[list[Any]] = [
    [*ESTIMATORS], [*NORMS], [*NONLINEARITIES], [*PROBES], ["scored_accuracy", "trained"], ["margin", "-margin"],
    [*columns_by_name(), "variant"], ["low", "high"], ["at_least", "at_most", "within", "around"], ["all", "any"],
    ["treatment", "control"], ["at", "where"], ["over", "factor", "by"], ["include", "exclude"], [True, False],
]  # fmt: skip
"""Words and names that may stand in each other's place."""
NUMBERS = [0, 1, 2, 3, 6, 10, 30, 60, 100, 1001, 0.001, 0.1, 0.5, 1.5, -1, 1e38]
TEXTS = [
    "\0", "\t", "\n", "\r", "\x1b[2J", "\x85", "\ufeff", "&a [*a]", "*a", "&a", "!!python/name:os.system",
    "!!int ", "<<: ", "---\n", "...\n", "%YAML 1.1\n", "? ", "- ", ": ", "{", "}", "[", "]", '"', "'", "|\n", ">\n",
    "#", "[" * 200, "9" * 5000, "1e999", "\ud800", '"\\ud800"', '"\\U00110000"', '"\\e"', "é", ",", "@", "`", "=", ".",
]  # fmt: skip
URLS = [
    "{folder}/tiny.db", "sqlite:///{folder}/tiny.db", f"postgresql://u:{SECRET}@127.0.0.1:1/x?connect_timeout=1",
    f"postgresql+psycopg://u:{SECRET}@127.0.0.1:1/x", f"postgresql://u:{SECRET}@[::1]:1/x", f"mysql://u:{SECRET}@h/x",
    f"postgresql://127.0.0.1:1/x?user=u&password={SECRET}", "sqlite://", "file:{folder}/tiny.db?mode=ro",
    f"postgresql+asyncpg://u:{SECRET}@127.0.0.1/x", "sqlite:///:memory:", "{folder}", "{folder}/none.db",
]  # fmt: skip
STATEMENTS = [
    "select * from trial_results", "select norm, count(*) from trial_results group by 1", "delete from trials",
    "with recursive c(x) as (select 1 union all select x+1 from c limit 100) select * from c",
    "pragma table_info(trials)",
    "select cast(x'ff00' as text), zeroblob(10), 9e999, -9223372036854775808, null, 'a'", "attach 'x' as y", "vacuum",
    "select * from learning_curves where step > (select avg(step) from learning_curves)", "explain select 1",
    "insert into trials default values", "select hex(randomblob(100)), printf('%s %d', 'a', 1), char(27, 7, 155)",
]  # fmt: skip
WORDS = [
    "select", "from", "where", "group by", "order by", "limit", "union", "join", "with", "recursive", "as", "(", ")",
    ",", ";", "*", "'", '"', "--", "/*", "*/", "?", ":a", "$1", "trials", "trial_results", "experiments", "norm",
    "seed", "1", "9e999", "x'ff'", "pragma", "delete", "drop table", "update", "begin", "commit", "\0", "\x1b", "é",
    "\udcff", "=", "writable_schema", "load_extension('x')", "count(*)", "sum(seed)", "zeroblob(999999999)", "null",
]  # fmt: skip


def experiments_file(rng: random.Random, shipped: str) -> bytes:
    """A damaged experiments file: by its values, or by its text."""
    text = SMALL if rng.random() < 0.7 else _part_of(rng, yaml.safe_load(shipped))
    kind = rng.random()
    if kind < 0.8:
        data = yaml.safe_load(text)
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            (_change_a_value if kind < 0.4 else _exchange_a_value)(rng, data)
        text = yaml.safe_dump(data, allow_unicode=rng.random() < 0.5, sort_keys=False)
        return text.encode("utf-8", "surrogatepass")
    return mutated(rng, text, TEXTS).encode("utf-8", rng.choice(["surrogatepass", "replace"]))


def _part_of(rng: random.Random, file: dict[str, Any]) -> str:
    """One experiment of the shipped file, and its claims."""
    name = rng.choice(list(file["experiments"]))
    claims = {key: claim for key, claim in file["claims"].items() if claim.get("experiment") == name}
    part = {"defaults": file["defaults"], "experiments": {name: file["experiments"][name]}, "claims": claims}
    return yaml.safe_dump(part, sort_keys=False)


def _change_a_value(rng: random.Random, data: Any) -> None:
    """Change one value in nested lists and mappings: put another in its place, take it away, rename or double it."""
    places = [place for place in _places(data) if place[0]]
    holder, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.6:
        holder[key] = deepcopy(rng.choice(ODD))
    elif kind < 0.75:
        del holder[key]
    elif isinstance(holder, dict):
        names = [name for name in [*ODD, *(at for _, at in places)] if not isinstance(name, list | dict)]
        values = [other[at] for other, at in places]
        holder[rng.choice(names) if kind < 0.9 else key] = deepcopy(rng.choice(values))
    else:
        holder.append(deepcopy(rng.choice([holder[key], *ODD])))


def _exchange_a_value(rng: random.Random, data: Any) -> None:
    """Put in the place of one value, or name, what might as well stand there."""
    places = _places(data)
    holder, key = rng.choice(places)
    value = holder[key]
    alike = [other[at] for other, at in places if type(other[at]) is type(value)]
    alike += NUMBERS if isinstance(value, int | float) and not isinstance(value, bool) else []
    for family in FAMILIES:
        alike += 10 * family if value in family else []
        if isinstance(holder, dict) and key in family and rng.random() < 0.5:
            holder[rng.choice(family)] = holder.pop(key)
            return
    holder[key] = deepcopy(rng.choice(alike))


def _places(data: Any) -> list[tuple[Any, Any]]:
    keys = list(data) if isinstance(data, dict) else list(range(len(data))) if isinstance(data, list) else []
    return [(data, key) for key in keys] + [place for key in keys for place in _places(data[key])]


def mutated(rng: random.Random, text: str, pieces: Sequence[str]) -> str:
    """The text with some parts left out, doubled, moved or put in."""
    for _ in range(rng.choice([1, 1, 1, 1, 2, 4])):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([1, 2, 5, 30]))
        part = rng.choice(["", text[start:end] * 2, rng.choice(pieces), rng.choice(pieces), text[end : end + 20]])
        text = text[:start] + part + text[rng.choice([start, end]) :]
    return text


def assignment(rng: random.Random) -> str:
    """What may stand after --set; an argument of a command has no NUL."""
    fields = ["norm", "dropout", "model.hidden", "optimizer", "schedule", "seed", "probes", "dataset", "steps"]
    value = rng.choice([repr(rng.choice(ODD)), str(rng.choice(ODD)), rng.choice(TEXTS)])
    whole = f"{rng.choice(fields)}={value}"
    return (whole if rng.random() < 0.5 else mutated(rng, whole, TEXTS)).replace("\0", "")


def url(rng: random.Random, folder: Path) -> str:
    whole = rng.choice(URLS).replace("{folder}", str(folder))
    return mutated(rng, whole, [*"/:@?#[]%&=", "%00", "%40", "://", "+", "?mode=memory", "\udcff"]).replace("\0", "")


def statement(rng: random.Random) -> str:
    whole = rng.choice(STATEMENTS)
    if rng.random() < 0.3:
        whole = " ".join(rng.choices(WORDS, k=rng.randrange(1, 15)))
    return mutated(rng, whole, [f" {word} " for word in WORDS])


def dataset(rng: random.Random, folder: Path) -> None:
    """Four IDX files of few examples, of which one is damaged."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    damaged = rng.choice(Idx.files)
    for name in Idx.files:
        sizes = (40, 3, 3) if "images" in name else (40,)
        content = bytes(rng.randrange(10) for _ in range(40 * (9 if "images" in name else 1)))
        whole = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + content
        packed = rng.random() < 0.5
        if name == damaged:
            whole = _damaged(rng, whole)
        stored = gzip.compress(whole, 1) if packed else whole
        if name == damaged and packed and rng.random() < 0.5:
            stored = _damaged(rng, stored)
        (folder / (name + ".gz" * packed)).write_bytes(stored)


def _damaged(rng: random.Random, content: bytes) -> bytes:
    whole, changes = bytearray(content), rng.choice([1, 1, 2, 5])
    ways: list[Callable[[int], None]] = [
        lambda at: whole.__setitem__(at, rng.randrange(256)),
        lambda at: whole.__delitem__(slice(at, None)),
        lambda at: whole.extend(rng.randbytes(rng.choice([1, 100]))),
        lambda at: whole.__setitem__(slice(4, 8), struct.pack(">I", rng.choice([0, 1, 41, 2**20, 2**31, 2**32 - 1]))),
        lambda at: whole.extend(bytes(1 << 22)),
    ]
    for _ in range(changes):
        if whole:
            rng.choice(ways)(rng.randrange(len(whole)))
    return bytes(whole)
