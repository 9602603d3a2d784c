"""Commands about datasets."""

from pathlib import Path

import click

from bnexp.cli.options import DATA_DIR, Commands


@click.group(cls=Commands)
def data() -> None:
    """Datasets: what there is, and how to get the rest."""


@data.command("list")
@DATA_DIR
def list_datasets(data_dir: Path | None) -> None:
    """Show every dataset, where it was found, or how to get it."""
    from bnexp.data.dataset import sources
    from bnexp.reports.screens import show_datasets

    show_datasets(sources(data_dir))
