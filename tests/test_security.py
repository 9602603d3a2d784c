"""Attacks: on the database through `query`, on passwords, on the terminal and on pages, and on what is imported."""

import ast
import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from bnexp.db.results import Results
from bnexp.db.store import Store
from bnexp.db.url import parse_url, shown
from bnexp.errors import DatabaseError, UsageError
from bnexp.reports.blocks import Code, Grid, Heading, Line, Quote, Row
from bnexp.reports.markdown import render
from bnexp.reports.screen import Screen
from bnexp.text import message, printable, without_passwords
from tests.attacks import changed, invoke
from tests.conftest import TINY, environment

PACKAGE = Path(__file__).parent.parent / "bnexp"
SECRET = "s3cr3t-Pa55"
ENDLESS = "with recursive c(x) as (select 1 union all select x + 1 from c) select "


# The database.


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database of ours, which the attacks leave as it is."""
    path = tmp_path_factory.mktemp("attacked") / "bnexp.db"
    Store(str(path)).close()
    return path


WRITING_SQLITE = """
delete from experiments
insert into claims default values
update trials set status = 'x'
drop table trials
drop view trial_results
alter table trials drop key
with x as (select 1) delete from trials
create table t (x)
create temp table t (x)
create view v as select 1
attach 'evil.db' as evil
detach main
vacuum
vacuum into 'evil.db'
reindex
analyze
savepoint s
begin
commit
pragma writable_schema = 1
pragma writable_schema
pragma journal_mode = delete
pragma user_version = 7
pragma query_only = 0
pragma foreign_keys = 0
pragma trusted_schema = 1
pragma temp_store_directory = '/tmp'
select load_extension('evil')
select fts3_tokenizer('simple')
select writefile('evil.db', 'x')
select 1; delete from experiments
explain delete from trials
""".strip().splitlines()


@pytest.mark.parametrize("sql", WRITING_SQLITE)
def test_query_cannot_write_sqlite(database: Path, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(database.parent)
    before = database.read_bytes()
    assert invoke("query", sql, "--db", database).code == 2
    assert database.read_bytes() == before
    assert {path.name for path in database.parent.iterdir()} <= {"bnexp.db", "bnexp.db-shm", "bnexp.db-wal"}


def test_query_may_describe_a_sqlite_database(database: Path) -> None:
    for sql in ("pragma table_info(trials)", "pragma journal_mode", "explain query plan select * from trials"):
        assert invoke("query", sql, "--db", database).code == 0


WRITING_POSTGRESQL = """
delete from claims
commit; delete from claims
select 1; commit; delete from claims
with d as (delete from claims returning 1) select * from d
merge into claims using claims c on false when not matched then do nothing
truncate claims
drop table claims cascade
create table t (x int)
select * into t from claims
select * from claims for update
select nextval('claims_id_seq')
select lo_create(1)
select query_to_xml('delete from claims', true, true, '')
copy claims to program 'touch evil'
copy (select 1) to stdout
select 1) to stdout --
do $$ begin delete from claims; end $$
call x()
prepare p as delete from claims
declare x cursor for select 1
close bnexp_query
begin
set transaction read write
set default_transaction_read_only = off
select set_config('transaction_read_only', 'off', false)
select set_config('transaction_read_only', 'off', true)
explain analyze delete from claims
explain analyze with d as (delete from claims returning 1) select * from d
explain select 1; delete from claims
explain select 1; commit; delete from claims
show server_version; commit; delete from claims
show server_version; delete from claims
show x'; delete from claims; --
lock table claims
grant all on claims to public
alter system set work_mem = 1
refresh materialized view x
vacuum
listen x
notify x
reset all
discard all
""".strip().splitlines()


def test_query_cannot_write_postgresql(postgresql: str) -> None:
    store = Store(postgresql)
    store.lock_claims([("key", "kept", {})])
    results = Results(postgresql)
    for sql in WRITING_POSTGRESQL:
        with pytest.raises(UsageError), results.query(sql) as answer:
            list(answer.rows)
            pytest.fail(sql)
    # The server takes this one for reading. It is never committed.
    with results.query("explain analyze create table t as select 1") as answer:
        assert list(answer.rows)
    with results.query("select name, to_regclass('t') from claims") as answer:
        assert list(answer.rows) == [("kept", None)]
    with store.engine.connect() as connection:
        assert connection.execute(text("show default_transaction_read_only")).scalar() == "off"
    results.close()
    store.close()


def test_query_reads_postgresql(postgresql: str) -> None:
    Store(postgresql).close()
    results = Results(postgresql)
    expected = {
        "select 1": [(1,)],
        "-- a comment\n(select 'a%' || '%s');": [("a%%s",)],
        "values (1), (2)": [(1,), (2,)],
        "table claims": [],
        "with a as (select 7 as x) select x from a": [(7,)],
        "show transaction_read_only": [("on",)],
        "select count(*) from generate_series(1, 2500)": [(2500,)],
    }
    for sql, rows in expected.items():
        with results.query(sql) as answer:
            assert list(answer.rows) == rows
    with results.query("select * from generate_series(1, 2500)") as answer:
        assert [row[0] for row in answer.rows] == list(range(1, 2501))
    for wrong in ("selec", "select nonsense", "select 1/0", "select $1", "", "--", "select '\udcff'", "select"):
        with pytest.raises(UsageError), results.query(wrong) as answer:
            list(answer.rows)
    endless = (
        f"{ENDLESS}count(*) from c",
        f"{ENDLESS}x from c",
        "select pg_sleep(60)",
        "explain analyze select pg_sleep(60)",
    )
    for sql in (*endless, "select set_config('statement_timeout', '0', true), pg_sleep(60)"):
        with pytest.raises(DatabaseError, match="no answer within"), results.query(sql, 0.3) as answer:
            for _ in answer.rows:
                pass
    results.close()


def test_an_endless_statement_ends_in_time(database: Path) -> None:
    for sql, form in ((f"{ENDLESS}count(*) from c", "table"), (f"{ENDLESS}x from c where x < 0", "csv")):
        began = time.monotonic()
        ended = invoke("query", sql, "--db", database, "--timeout", "0.3", "--format", form)
        assert ended.code == 1 and "no answer within 0.3 s" in ended.err
        assert time.monotonic() - began < 5


def _has_open(process: int, path: Path) -> bool:
    with suppress(OSError):  # of a file that it has closed meanwhile
        return any(file.readlink() == path for file in Path(f"/proc/{process}/fd").iterdir())
    return False


def test_ctrl_c_ends_a_statement(database: Path) -> None:
    command = [sys.executable, "-m", "bnexp", "query", f"{ENDLESS}count(*) from c", "--db", str(database)]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not _has_open(process.pid, database):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err


def test_answers_are_bounded_but_for_csv(database: Path) -> None:
    many = "with recursive c(x) as (select 1 union all select x + 1 from c limit 100001) select x from c"
    for form in ("table", "json"):
        ended = invoke("query", many, "--db", database, "--format", form)
        assert ended.code == 2 and "--format csv" in ended.err and ended.out == ""
    assert len(invoke("query", many, "--db", database, "--format", "csv").out.splitlines()) == 100_002
    assert invoke("query", "select zeroblob(20000000)", "--db", database).code == 2


def test_what_a_statement_says_is_written_once_and_whole(database: Path) -> None:
    sql = "select x'00ff' as blob, 9e999 as inf, 9223372036854775807 as big, null as none, 'a|b' as text"
    [row] = json.loads(invoke("query", sql, "--db", database, "--format", "json").out)
    assert row == {"blob": "00ff", "inf": "inf", "big": 2**63 - 1, "none": None, "text": "a|b"}
    assert "00ff" in invoke("query", sql, "--db", database).out
    twice = invoke("query", "select 1 as a, 2 as a", "--db", database, "--format", "json")
    assert twice.code == 2 and "two columns are called 'a'" in twice.err
    assert invoke("query", "select 1 as a, 2 as a", "--db", database, "--format", "csv").out == "a,a\n1,2\n"


@pytest.mark.parametrize(
    "sql", ["", " ", ";", "/* */", "selec", "select nonsense", "select ?", "select '\udcff'", "select 1; select 2"]
)
def test_statements_that_are_none_are_refused(database: Path, sql: str) -> None:
    assert invoke("query", "--db", database, "--", sql).code == 2


DAMAGE = {
    "text": ("update alembic_version set version_num = x'00ff'", ()),
    "dates": ("update experiments set last_run_at = 'yesterday'", ()),
    "names": ("update experiments set name = cast(x'ff' as text)", ()),
}


@pytest.mark.parametrize("damage", ["cut", "zeros", *DAMAGE])
def test_a_damaged_database_is_a_database_error(tiny: Path, tmp_path: Path, damage: str) -> None:
    path = changed(tiny / "bnexp.db", tmp_path / "bnexp.db", *([DAMAGE[damage]] if damage in DAMAGE else []))
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:5000])
    elif damage == "zeros":
        path.write_bytes(content[:8192] + bytes(40_000) + content[48_192:])
    ends = [invoke(*command, "--db", path) for command in (["status"], ["report", "--file", tiny / "experiments.yaml"])]
    assert all(ended.code == 1 and str(path) in ended.err for ended in ends)


# Passwords.


URLS = [
    f"postgresql://u:{SECRET}@127.0.0.1:1/x",
    f"postgresql+psycopg://u:{SECRET}@127.0.0.1:notaport/x",
    f"postgresql://u:{SECRET}@127.0.0.1:1/x?connect_timeout=soon",
    f"postgresql://u:{SECRET}@127.0.0.1:1/x?nonsense=1",
    f"postgresql://u:{SECRET}@127.0..1:1/x",
    f"postgresql://u:{SECRET}@127.0.0.1:1/x\udcff",
    f"postgresql://127.0.0.1:1/x?user=u&password={SECRET}&connect_timeout=1",
    f"postgresql://127.0.0.1:1/x?sslmode=verify-full&sslpassword={SECRET}",
    f"postgresql://u:a@{SECRET}@127.0.0.1:1/x",
    f"postgresql://u:a@b/{SECRET}@127.0.0.1:1/x",
    f"postgresql://u:%00{SECRET}@127.0.0.1:1/x",
    f"postgresql:/u:{SECRET}@127.0.0.1/x",
    f"postgresql+nosuch://u:{SECRET}@127.0.0.1/x",
    f"postgresql+a+b://u:{SECRET}@127.0.0.1/x",
    f"mysql://u:{SECRET}@127.0.0.1/x",
    f"nosuch://u:{SECRET}@127.0.0.1/x",
    f"sqlite://u:{SECRET}@/x.db",
    f"sqlite:///x.db?password={SECRET}",
    f"file://u:{SECRET}@x",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("command", ["status", "query", "plan"])
def test_no_password_is_printed(url: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = {"status": [], "query": ["select 1"], "plan": ["grid"]}[command]
    ended = invoke(command, *arguments, "--db", url)
    assert ended.code in (1, 2)
    assert SECRET not in ended.out + ended.err
    assert not list(tmp_path.iterdir()), "nothing was made of it"


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", ":memory:", "", "sqlite:///file:x?mode=memory&uri=true"]
)
def test_a_database_that_would_be_gone_at_once_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--db"):
        Store(url)


def test_a_url_is_shown_without_its_password() -> None:
    url = parse_url(f"postgresql://u:{SECRET}@host/x?sslmode=disable&password={SECRET}")
    assert shown(url) == "postgresql://u@host/x"
    socket = parse_url(f"postgresql://u:{SECRET}@/x?host=/run/p%20g&port=5433&connect_timeout=9")
    assert shown(socket) == "postgresql://u@/x?host=/run/p+g&port=5433"
    assert parse_url(shown(socket)).query["host"] == "/run/p g"
    assert without_passwords(f"at x://u:p@{SECRET}@h/y, a://b and c@d") == "at x://u:***@h/y, a://b and c@d"
    assert without_passwords("x://user@host/name") == "x://user@host/name"


def test_a_stopped_run_shows_and_stores_no_password(postgresql: str, tmp_path: Path) -> None:
    """The server trusts everybody, so that any password opens it."""
    url = make_url(postgresql).set(password=SECRET).render_as_string(hide_password=False)
    (tmp_path / "experiments.yaml").write_text(TINY.replace("steps: 60", "steps: 100000"))
    other = url.replace("/test_", "/other_")  # of two, the last is meant
    command = [sys.executable, "-m", "bnexp", "run", "tiny", "--workers", "1", "--db", other, f"--db={url}"]
    process = subprocess.Popen(
        command, env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    engine = create_engine(url)
    wait_for(lambda: "running" in scalars(engine, "select status from trials"))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "Stopped" in out and "u" in out
    assert SECRET not in out and "--db=postgresql+psycopg://postgres:***@" in " ".join(out.split())
    tables = scalars(engine, "select tablename::text from pg_tables where schemaname = 'public'")
    assert "attempts" in tables
    for table in tables:
        assert not any(SECRET in row for row in scalars(engine, f"select t::text from {table} t")), table
    engine.dispose()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text(errors="ignore")]


def scalars(engine: object, sql: str) -> list[str]:
    with engine.connect() as connection:  # type: ignore[attr-defined]
        exists = connection.execute(text("select to_regclass('trials')")).scalar()
        return list(connection.execute(text(sql)).scalars()) if exists else []


def wait_for(condition: object) -> None:
    until = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.1)


# Names from files and databases.

EVIL = "'; drop table trials; -- [red]x[/] [/] <b onclick=x> a|b `c` \\[d] &amp; [e](javascript:f)"
ESCAPES = "\x1b]0;title\x07\x1b[31m\x9b2J\u202ered"


@pytest.fixture
def evil(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an experiment of a variant of a hostile name, as if it had been run."""
    name = json.dumps(EVIL)
    arms = "{treatment: {norm: batch}, control: {norm: none}}"
    file = TINY.replace(arms, f"{{treatment: {{variant: {name}}}, control: {{variant: b}}}}")
    variants = f"    variants: {{{name}: {{norm: batch}}, b: {{norm: none}}}}\n    factors:\n"
    file = file.replace("    factors:\n      norm: [none, batch]\n", variants)
    file = file.replace("Two arms, small enough to train in a second", name)
    (tmp_path / "experiments.yaml").write_text(file.replace('a "quote" [bold]with markup[/bold]', name))
    rename = "update experiment_trials set variant = ? where trial_id in (select id from trials where norm = ?)"
    about = "update experiments set about = ?"
    changed(
        tiny / "bnexp.db", tmp_path / "bnexp.db", (rename, (EVIL, "batch")), (rename, ("b", "none")), (about, (EVIL,))
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_markup_in_names_is_text(evil: Path) -> None:
    assert f"tiny  {EVIL}" in invoke("plan", "tiny").out
    assert EVIL in " ".join(invoke("report", "--claim", "better").out.split())
    assert EVIL in invoke("query", "select variant from experiment_results").out
    for command in (["status"], ["claims"], ["claims", "better"], ["report"], ["report", "--format", "markdown"]):
        assert invoke(*command).code == 0


def test_the_sql_of_a_claim_is_quoted(evil: Path) -> None:
    sql = json.loads(invoke("report", "--claim", "better", "--format", "json").out)["sql"]
    assert "drop table" in sql
    rows = json.loads(invoke("query", sql, "--format", "json").out)
    assert {row["variant"] for row in rows} == {EVIL, "b"}


def test_a_page_of_markdown_has_no_html_of_ours(evil: Path) -> None:
    page = invoke("report", "--claim", "better", "--format", "markdown").out
    prose = "".join(page.split("```")[::2])
    assert "onclick" in prose and "<b" not in prose.replace("\\<b", "")
    assert "](javascript" not in prose.replace("\\](javascript", "")


def test_blocks_become_harmless_markdown() -> None:
    hostile = "<script>x</script> [a](javascript:b) ![c](d) &lt;i&gt; e|f\n# g"
    page = render(
        [
            Heading(hostile),
            Line(hostile),
            Line("- no list"),
            Line("1. no list"),
            Line("~~~"),
            Quote(hostile),
            Code("select '```\n<script>'", "sql"),
            Grid(["`a|b`", hostile], [Row([hostile, "[+1, -2]"])]),
        ]
    )
    outside = page.split("````")[0] + page.split("````")[2]
    for raw in ("<script", "](javascript", "![c", "&lt;", "\n# g", "\n- ", "\n1. ", "\n~~~"):
        assert raw not in outside.replace(f"\\{raw.strip()}", ""), raw
    assert "````sql\nselect '```\n<script>'\n````" in page
    table = [line for line in page.splitlines() if line.startswith("| ")]
    assert [line.replace("\\|", "").count("|") for line in table] == [3, 3, 3]
    assert "[+1, -2]" in table[2]


@pytest.fixture
def foreign(tiny: Path, tmp_path: Path) -> Path:
    """A database from somewhere, in whose texts are escape sequences."""
    return changed(
        tiny / "bnexp.db",
        tmp_path / "foreign.db",
        ("update experiments set about = ?, overrides = ?", (ESCAPES, ESCAPES)),
        ("update experiment_trials set variant = ?, arm = ?", (ESCAPES, ESCAPES)),
        ("update attempts set host = ?, device = ?, torch_version = ?", (ESCAPES, ESCAPES, ESCAPES)),
        ("update trials set nonlinearity = ?", (ESCAPES,)),
    )


def test_escape_sequences_of_a_foreign_database_do_not_reach_the_terminal(foreign: Path, tiny: Path) -> None:
    file = ("--file", tiny / "experiments.yaml")
    key = json.loads(invoke("query", "select trial_key from trial_results", "--db", foreign, "--format", "json").out)[0]
    commands = [["status"], ["show", key["trial_key"]], ["report", *file], ["report", "--claim", "better", *file]]
    commands += [[*command, "--format", form] for command in commands[2:] for form in ("markdown", "json")]
    commands += [
        ["query", "select distinct variant, nonlinearity from experiment_results", "--format", f]
        for f in ("table", "json")
    ]
    commands += [["query", f"select 1 as '{ESCAPES}'"], ["query", f"select nonsense_{ESCAPES}"]]
    for command in commands:
        out = invoke(*command, "--db", foreign).out
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out), command
        if command[0] != "report" and "nonsense" not in command[-1]:
            assert "\\x1b]0;title" in out or "\\u001b]0;title" in out, command
    exact = invoke("query", "select variant from experiment_results limit 1", "--db", foreign, "--format", "csv").out
    assert ESCAPES in exact, "a file gets exactly what is stored"


def test_a_screen_keeps_its_own_colours(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.text import Text

    Screen(force_terminal=True, color_system="standard").print(Text("\x1b[5mx", "red"))
    assert capsys.readouterr().out == "\x1b[31m\\x1b[5mx\x1b[0m\n"


def test_messages_are_printable_and_short() -> None:
    assert printable("a\tb\n\x00\x1b\x7f\x85\ud800é漢") == "a\tb\n\\x00\\x1b\\x7f\\x85\\ud800é漢"
    assert len(message("9" * 100_000)) < 2000


# What is imported and called.

FORBIDDEN_MODULES = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "tarfile", "zipfile",
}  # fmt: skip
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "unpack_archive", "unsafe_load", "full_load", "system", "popen",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_unpickles_unpacks_or_evaluates(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {name.partition(".")[0] for name in named} & FORBIDDEN_MODULES, named
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            attribute = called.rpartition(".")[2]
            assert attribute not in FORBIDDEN_CALLS or called == "re.compile", called
            assert called not in ("torch.load", "yaml.load", "yaml.safe_load"), f"{called}: by bnexp.yamlfile only"
            assert not any(word.arg in ("allow_pickle", "shell") for word in node.keywords), called


def test_yaml_is_read_by_a_safe_loader(tmp_path: Path) -> None:
    import yaml

    from bnexp import yamlfile

    assert issubclass(yamlfile._Loader, yaml.SafeLoader)
    made = tmp_path / "evil"
    for value in (
        f"!!python/object/apply:os.mkdir ['{made}']",
        f"!!python/object/new:os.mkdir ['{made}']",
        "!!python/name:os.mkdir ''",
    ):
        (tmp_path / "experiments.yaml").write_text(f"experiments: {{a: {{about: {value}}}}}")
        assert "cannot be read as !!python" in invoke("plan", "a", "--file", tmp_path / "experiments.yaml").err
        assert "cannot be read as !!python" in invoke("plan", "grid", "--set", f"norm={value}").err
    assert not made.exists()
