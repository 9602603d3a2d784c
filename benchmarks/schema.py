"""docs/schema.md's tables of what stands in a database: of views and tables, each column with its type and meaning, as
`bnexp.db.views`, the tables and the configuration say.

python benchmarks/schema.py            # writes them between the markers in docs/schema.md
python benchmarks/schema.py --check    # exits 1 where docs/schema.md says something else
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from sqlalchemy import JSON, create_engine
from sqlalchemy import inspect as look_at

from benchmarks.pages import Part, table
from bnexp.config import TrialConfig
from bnexp.db import views
from bnexp.db.schema import migrate
from bnexp.db.tables import Base, TrialRow
from bnexp.db.views import COMPUTED, VIEWS, View
from bnexp.marks import Fields, Mark
from bnexp.options import COMPONENTS
from bnexp.table import Field

PART = Part("docs/schema.md", "schema", "schema.py")


def render() -> str:
    """The public views, then the tables behind them."""
    columns = columns_of_views()
    return "\n\n".join(["## Views", *_views(columns), "## Tables", *_tables(columns)])


def columns_of_views() -> dict[str, list[str]]:
    """The columns of each view, as the migrations make them."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
    made = {name: [str(column["name"]) for column in look_at(engine).get_columns(name)] for name in VIEWS}
    engine.dispose()
    return made


def _views(columns: Mapping[str, list[str]]) -> Iterator[str]:
    for number, (name, view) in enumerate(VIEWS.items()):
        whole = next((other for other in [*VIEWS][:number] if set(columns[other]) <= set(columns[name])), None)
        own = [column for column in columns[name] if whole is None or column not in columns[whole]]
        also = f" It has the columns of `{whole}`, and:" if whole else ""
        yield f"### {name}\n\n{view.about}{also}"
        yield _grid([[f"`{each}`", _of_view(name, each), _meaning_in(view, each)] for each in own])


def _of_view(view: str, name: str) -> str:
    found = views.source(VIEWS[view], name)
    return _type(views.field(view, name), found is not None and _is_json(*found))


def _meaning_in(view: View, name: str) -> str:
    found = views.source(view, name)
    return COMPUTED[name].about if found is None else meaning(*found)


def _tables(columns: Mapping[str, list[str]]) -> Iterator[str]:
    """Every table, without what a view shows of it under the same name."""
    rows = {mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers}
    for name, row in sorted(rows.items()):
        shown = {
            column: f"`{view}`"
            for view, names in columns.items()
            for column in names
            if views.source(VIEWS[view], column) == (row, column)
        }
        others = ", ".join(dict.fromkeys(shown.values()))
        also = f" Its other columns stand in {others}." if others else ""
        yield f"### {name}\n\n{inspect.getdoc(row)}{also}"
        yield _grid([_column(row, column.name) for column in row.__table__.columns if column.name not in shown])


def _column(row: type[Base], name: str) -> list[str]:
    column = row.__table__.columns[name]
    keys = "".join(f" It is `{key.target_fullname}`." for key in column.foreign_keys)
    kind = views.KINDS.get(column.type.python_type, "text")
    return [f"`{name}`", _type(Field(kind, bool(column.nullable)), _is_json(row, name)), meaning(row, name) + keys]


def _is_json(row: type[Base], name: str) -> bool:
    return isinstance(row.__table__.columns[name].type, JSON)


def _type(field: Field, is_json: bool) -> str:
    return ("JSON" if is_json else field.kind) + " or NULL" * field.nullable


def _grid(rows: list[list[str]]) -> str:
    return table([["column", "type", "meaning"], *([cell.replace("|", "\\|") for cell in row] for row in rows)])


def meaning(row: type[Base], name: str) -> str:
    """What a table's column is. Raises KeyError where nothing says so."""
    said = [_of_configuration()[name]] if row is TrialRow and name in _of_configuration() else []
    said += [_docstrings(row)[name]] if name in _docstrings(row) or not said else []
    return " ".join(said)


@cache
def _of_configuration() -> dict[str, str]:
    """What the fields of a configuration are, by their columns. Several may share one, such as those of normalizers."""
    groups: list[tuple[str, type[Fields]]] = [("", TrialConfig)]
    groups += [(f"{name}.", options) for name, group in COMPONENTS.items() for options in group]
    found: dict[str, dict[str, str]] = {}
    for prefix, fields in groups:
        for name, field in fields.model_fields.items():
            for mark in (mark for mark in field.metadata if isinstance(mark, Mark)):
                heading = f"the field `{f'{prefix}{name}'.removesuffix('.name')}` ({mark.unit})."
                about = " ".join((field.description or "").split())
                of_column = found.setdefault(mark.column, {})
                of_column[heading] = max(about, of_column.get(heading, ""), key=len)
    told = {column: [f"{heading} {about}".strip() for heading, about in of.items()] for column, of in found.items()}
    return {column: "T" + " Or ".join(words)[1:] for column, words in told.items()}


@cache
def _docstrings(row: type[Base]) -> dict[str, str]:
    """What stands below each of a table's columns in the source."""
    [defined] = ast.parse(inspect.getsource(row)).body
    assert isinstance(defined, ast.ClassDef)
    return {
        column.target.id: " ".join(said.value.value.split())
        for column, said in pairwise(defined.body)
        if isinstance(column, ast.AnnAssign)
        and isinstance(column.target, ast.Name)
        and isinstance(said, ast.Expr)
        and isinstance(said.value, ast.Constant)
        and isinstance(said.value.value, str)
    }


if __name__ == "__main__":
    PART.main(__doc__, render)
