"""The command line: parse, call, print. Everything slow to import is imported where it is used."""

import click

import bnexp
from bnexp.cli import completing
from bnexp.cli.commands import Choice, Command, Commands
from bnexp.cli.databases import db
from bnexp.cli.datasets import data
from bnexp.cli.exporting import export
from bnexp.cli.files import init, schema
from bnexp.cli.plotting import plot
from bnexp.cli.reading import list_claims, query, report, show, status
from bnexp.cli.testing import battery
from bnexp.cli.training import plan, run, verify


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    examples=[
        ("bnexp run grid", "train what is missing of the grid"),
        ("bnexp report", "what the results say of each claim"),
        ("bnexp init", "an experiments file of your own"),
        ("bnexp query 'select norm, seed, scored_accuracy from trial_results'", "any number, by SQL"),
    ],
)
@click.version_option(bnexp.__version__, prog_name="bnexp")
def main() -> None:
    """Test the claims of the Batch Normalization paper (Ioffe and Szegedy, 2015) on this machine.

    `bnexp COMMAND --help` tells of each command, with examples.
    """


@click.command(
    cls=Command,
    examples=[
        ('eval "$(bnexp completion bash)"', "in ~/.bashrc"),
        ('eval "$(bnexp completion zsh)"', "in ~/.zshrc, behind compinit"),
        ("bnexp completion fish | source", "in ~/.config/fish/config.fish"),
    ],
)
@click.argument("shell", type=Choice(completing.SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what SHELL runs to complete what is typed.

    Commands, options, experiments, claims, trial keys and fields with their values.
    """
    click.echo(completing.script(ctx.find_root().command, shell))


for command in (
    run,
    battery,
    plan,
    status,
    report,
    list_claims,
    plot,
    query,
    show,
    export,
    verify,
    init,
    schema,
    data,
    db,
    completion,
):
    main.add_command(command)
