"""The architecture, read from the imports: downward only, and no torch where a fast start is promised."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bnexp"

LAYERS = [
    ["__main__"],
    ["cli"],
    ["battery"],
    ["stages"],
    ["runner", "verify", "judging"],
    ["enrolling", "training"],
    ["executors"],
    ["provenance", "artifacts"],
    ["reports", "starting"],
    ["fileschema"],
    ["claims", "comparison"],
    ["engine"],
    ["models"],
    ["data"],
    ["db", "random"],
    ["experiments", "replacement"],
    ["design"],
    ["paper", "fieldschema"],
    ["settings", "identity"],
    ["config", "yamlfile", "columns", "table"],
    ["options"],
    ["normalizers"],
    ["marks", "installed"],
    ["registry"],
    ["own"],
    ["records", "errors", "files", "text", "budget", "stopping", "unread"],
]
HEIGHT = {name: -number for number, names in enumerate(LAYERS) for name in names}
WITHOUT_TORCH = [
    "cli",
    "battery",
    "stages",
    "runner",
    "judging",
    "enrolling",
    "training",
    "artifacts",
    "verify",
    "reports",
    "starting",
    "fileschema",
    "comparison",
    "claims",
    "db",
    "experiments",
    "replacement",
    "design",
    "paper",
    "fieldschema",
    "settings",
    "identity",
    "config",
    "options",
    "normalizers",
    "marks",
    "yamlfile",
    "columns",
    "table",
    "budget",
    "own",
    "installed",
    "unread",
]


def modules() -> list[Path]:
    """Every module but the package itself and the migrations."""
    found = [path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts]
    return [path for path in found if path != PACKAGE / "__init__.py"]


def part(path: Path) -> str:
    """The layer's name: the first folder or module under the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Modules that `path` imports when it runs, those inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", modules(), ids=str)
def test_imports_go_downward(path: Path) -> None:
    own = part(path)
    for module in imports(path):
        pieces = module.split(".")
        if pieces[0] == "bnexp" and len(pieces) > 1 and pieces[1] in HEIGHT and pieces[1] != own:
            assert HEIGHT[pieces[1]] < HEIGHT[own], f"{own} imports {module}"


def test_every_module_has_a_layer() -> None:
    assert {part(path) for path in modules()} == set(HEIGHT)


def test_no_torch_is_imported() -> None:
    paths = [path for path in modules() if part(path) in WITHOUT_TORCH]
    dotted = [".".join(("bnexp", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in paths]
    assert len(dotted) > 100
    script = f"import importlib, sys\nfor module in {[name.removesuffix('.__init__') for name in dotted]!r}:\n"
    script += "    importlib.import_module(module)\n    assert 'torch' not in sys.modules, module"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_engine_knows_no_database() -> None:
    for name in ("engine", "models", "data", "random"):
        for path in modules():
            if part(path) == name:
                assert not any(module.startswith(("bnexp.db", "sqlalchemy")) for module in imports(path)), path


def test_status_and_query_import_little() -> None:
    script = "import sys, bnexp.db.results, bnexp.reports.screens\n"
    script += "assert not {'torch', 'numpy', 'sqlalchemy.orm', 'bnexp.claims.model'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_help_imports_little() -> None:
    script = "import sys, bnexp.cli; assert not {'torch', 'sqlalchemy', 'pydantic', 'numpy', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
