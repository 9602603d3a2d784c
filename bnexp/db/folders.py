"""Where the folders of a database are: that of checkpoints, and that of what is kept of finished trials."""

import hashlib
import os
from pathlib import Path

from sqlalchemy.engine import URL

from bnexp.db.url import place


def folder_of(url: URL, what: str, root: Path | None = None) -> Path:
    """The database's own folder of `what`: under `root` if given, else beside a file, and in the user's cache for a
    database on a server."""
    where = place(url)
    if url.get_backend_name() == "sqlite" and root is None:
        return Path(f"{where}.{what}")
    name = hashlib.sha256(where.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bnexp"
    return ((cache if root is None else root) / f"{name}.{what}").absolute()
