"""SQLite connections that can only read, whatever file they opened and whatever they are asked."""

import sqlite3
from typing import Any

ACTIONS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_TRANSACTION,
}
DESCRIBING_PRAGMAS = {
    "table_list", "table_info", "table_xinfo", "index_list", "index_info", "index_xinfo", "foreign_key_list",
    "foreign_key_check", "integrity_check", "quick_check",
}  # fmt: skip
"""They take a name or a number, and change nothing."""
TELLING_PRAGMAS = {
    "application_id", "collation_list", "compile_options", "data_version", "database_list", "encoding", "foreign_keys",
    "freelist_count", "function_list", "journal_mode", "page_count", "page_size", "schema_version", "user_version",
}  # fmt: skip
"""They tell something, as long as nothing is set."""
FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"}


def deny_writing(connection: sqlite3.Connection, _record: Any = None) -> None:
    """Refuse everything but reading, the attaching of other files included, which read-only mode allows; and do not
    trust functions that the file's own views and triggers name."""
    connection.execute("pragma trusted_schema = off")
    connection.set_authorizer(_judge)


def _judge(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA:
        allowed = first in DESCRIBING_PRAGMAS or (first in TELLING_PRAGMAS and second is None)
    elif action == sqlite3.SQLITE_FUNCTION:
        allowed = second not in FORBIDDEN_FUNCTIONS
    else:
        allowed = action in ACTIONS
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
