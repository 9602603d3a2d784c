"""`bnexp db upgrade`: an older file becomes one of this schema, and nothing else becomes anything."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from bnexp.db import connection
from bnexp.db.connection import upgrade
from bnexp.db.results import Results
from bnexp.db.schema import REVISION
from bnexp.db.url import parse_url
from bnexp.errors import DatabaseError
from tests.conftest import Bnexp

OLD = Path(__file__).parent / "databases" / "0003.db"


def test_an_older_file_is_upgraded_once(tmp_path: Path, bnexp: Bnexp) -> None:
    shutil.copy(OLD, tmp_path / "my results.db")
    refused = bnexp("status", "--db", "my results.db", cwd=tmp_path)
    advice = (
        f"its schema is revision 0003, this bnexp reads {REVISION}; `bnexp db upgrade --db 'my results.db'` upgrades"
    )
    assert refused.code == 1 and advice in refused.err
    first, second = (bnexp("db", "upgrade", "--db", "my results.db", cwd=tmp_path) for _ in range(2))
    assert (first.code, first.out) == (0, f"upgraded from revision 0003 to {REVISION}\n")
    assert second.code == 0 and second.out.startswith("nothing to do")
    assert bnexp("status", "--db", "my results.db", cwd=tmp_path).code == 0


def test_there_is_nothing_to_upgrade(tmp_path: Path, bnexp: Bnexp) -> None:
    missing = bnexp("db", "upgrade", cwd=tmp_path)
    assert missing.code == 2 and "no database at bnexp.db" in missing.err
    assert list(tmp_path.iterdir()) == []
    with sqlite3.connect(tmp_path / "bnexp.db") as opened:
        opened.execute("create table mine (x)")
    foreign = bnexp("db", "upgrade", cwd=tmp_path)
    assert foreign.code == 1 and "not a bnexp database" in foreign.err
    with sqlite3.connect(tmp_path / "bnexp.db") as opened:
        opened.execute("create table alembic_version as select 'v3.0.0.d' as version_num")
    foreign = bnexp("db", "upgrade", cwd=tmp_path)
    assert foreign.code == 1 and "not a bnexp database" in foreign.err
    (tmp_path / "bnexp.db").write_bytes(OLD.read_bytes()[:50_000])
    damaged = bnexp("db", "upgrade", cwd=tmp_path)
    assert damaged.code == 1 and "database disk image is malformed" in damaged.err


def test_a_newer_file_is_left_alone(tmp_path: Path, bnexp: Bnexp) -> None:
    shutil.copy(OLD, tmp_path / "bnexp.db")
    with sqlite3.connect(tmp_path / "bnexp.db") as opened:
        opened.execute("update alembic_version set version_num = '9999'")
    ended = bnexp("db", "upgrade", cwd=tmp_path)
    newer = f"written by a newer bnexp (schema 9999; this one reads {REVISION}): pip install --upgrade bnexp"
    assert ended.code == 1 and newer in ended.err


def test_on_postgresql(postgresql: str) -> None:
    with pytest.raises(DatabaseError, match="not a bnexp database"):
        upgrade(parse_url(postgresql))
    engine = create_engine(postgresql)
    with engine.begin() as opened:
        config = Config()
        config.set_main_option("script_location", str(Path(connection.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = opened
        command.upgrade(config, "0003")
        opened.execute(text("insert into claims (key, name, definition, locked_at) values ('k', 'n', '{}', now())"))
    with pytest.raises(DatabaseError, match=r"revision 0003.*`bnexp db upgrade --db .*` upgrades it"):
        Results(postgresql)
    assert [upgrade(parse_url(postgresql)) for _ in range(2)] == ["0003", REVISION]
    results = Results(postgresql)
    with results.query("select key from claims") as answer:
        assert [tuple(row) for row in answer.rows] == [("k",)]
    results.close()
    engine.dispose()
