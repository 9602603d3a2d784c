"""The command line: parse, call, print. Everything slow to import is imported where it is used."""

import click

import bnexp
from bnexp.cli import completing
from bnexp.cli.databases import db
from bnexp.cli.datasets import data
from bnexp.cli.options import Commands
from bnexp.cli.plotting import plot
from bnexp.cli.reading import list_claims, query, report, show, status
from bnexp.cli.training import plan, run, verify


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(bnexp.__version__, prog_name="bnexp")
def main() -> None:
    """Test the claims of the Batch Normalization paper (Ioffe and Szegedy, 2015) on this machine.

    \b
      bnexp run grid      train every trial of the grid that is missing
      bnexp report        what the results say of each claim
      bnexp query "select norm, seed, scored_accuracy from trial_results"
    """


@main.command()
@click.argument("shell", type=click.Choice(completing.SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what SHELL runs to complete commands, experiments and fields.

    \b
      eval "$(bnexp completion bash)"             in ~/.bashrc
      eval "$(bnexp completion zsh)"              in ~/.zshrc
      bnexp completion fish | source              in ~/.config/fish/config.fish
    """
    click.echo(completing.script(ctx.find_root().command, shell))


for command in (run, plan, status, report, list_claims, plot, query, show, verify, data, db):
    main.add_command(command)
