"""An experiments file to begin with."""

from pathlib import Path

from bnexp.errors import UsageError
from bnexp.fileschema import schema_text

START = Path(__file__).parent / "start.yaml"
"""The file that is written."""
SCHEMA = "experiments.schema.json"
"""What its first line names: the JSON Schema, in the same folder."""


def start(path: Path) -> list[Path]:
    """Write the file at `path`, and the schema beside it unless one is there; returns what was written.

    Raises UsageError where there is a file at `path`, or none can be written."""
    _write_new(path, START.read_text(encoding="utf-8"))
    schema = path.with_name(SCHEMA)
    if schema.exists() or schema.is_symlink():
        return [path]
    _write_new(schema, schema_text())
    return [path, schema]


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path}: is there already, and stays as it is; name another file") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
