"""Where a prepared folder goes, and under which name."""

import os
from pathlib import Path

from bnexp import registry
from bnexp.errors import UsageError


def place(folder: Path, name: str | None, data_dir: Path | None) -> tuple[str, Path]:
    """The dataset's name, imagefolder/NAME, and the folder that it stands in under `data_dir`, else $BNEXP_DATA. NAME
    is that of `folder` unless told. Raises UsageError where there is no place for it, or a name cannot be one."""
    dataset = f"imagefolder/{folder.resolve().name if name is None else name}"
    if not registry.is_prepared(dataset):
        raise UsageError(
            f"--name: {dataset.partition('/')[2]!r} cannot be a dataset's name; it takes letters, digits, - and _, "
            "with single dots between them"
        )
    if data_dir is None:
        named = os.environ.get("BNEXP_DATA")
        if not named:
            raise UsageError("--data-dir: say where prepared pictures go, here or with $BNEXP_DATA")
        data_dir = Path(named)
    if data_dir.exists() and not data_dir.is_dir():
        raise UsageError(f"$BNEXP_DATA: {data_dir} is no folder")
    return dataset, data_dir / dataset
