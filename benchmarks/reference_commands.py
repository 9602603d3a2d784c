"""The commands of bnexp as Markdown: what each does, its usage, options with defaults, and examples."""

import inspect
import re

import click

from benchmarks.pages import table
from bnexp.cli import main
from bnexp.cli.commands import EXIT_CODES, paths

VARIABLES = {
    "BNEXP_DB": "The results database, where `--db` names none.",
    "BNEXP_DATA": "A folder with datasets, looked into after `--data-dir`.",
    "BNEXP_CHECKPOINTS": "Where unfinished training and kept files are, where `--checkpoints` names no folder.",
    "BNEXP_CONVOLUTION": "How convolutions are computed, for all shapes: `loop`, `patches` or `grouped`.",
    "RAY_ADDRESS": "The head of the Ray cluster that `--executor ray` uses, such as `10.0.0.1:6379`.",
    "MKL_CBWR": "Set to `AUTO` unless it is set: the same sums whatever the memory's alignment.",
}
"""Of the environment; a test compares them with the sources."""


def render() -> str:
    """The whole part."""
    codes = table([["exit code", "meaning"], *([str(code), about] for code, about in EXIT_CODES.items())])
    variables = table([["variable", "meaning"], *([f"`{name}`", about] for name, about in VARIABLES.items())])
    named = "\n".join(f"- [`bnexp {path}`](#bnexp-{path.replace(' ', '-')}): {_short(path)}" for path in _leaves())
    parts = [named, "### Exit codes", codes, "### The environment", variables]
    return "\n\n".join([*parts, *map(_command, _leaves())])


def _leaves() -> list[str]:
    return [path for path in paths(main) if not isinstance(_found(path), click.Group)]


def _found(path: str) -> click.Command:
    command: click.Command = main
    for word in path.split():
        assert isinstance(command, click.Group)
        command = command.commands[word]
    return command


def _short(path: str) -> str:
    return _text(_found(path)).partition("\n\n")[0].replace("\n", " ")


def _text(command: click.Command) -> str:
    """What its help says, Markdown."""
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    return re.sub(r"^  (?=\S)", "    ", text, flags=re.MULTILINE)


def _command(path: str) -> str:
    command = _found(path)
    context = click.Context(command, info_name=f"bnexp {path}")
    usage = " ".join([f"bnexp {path}", *command.collect_usage_pieces(context)])
    options = [option for option in command.params if isinstance(option, click.Option)]
    parts = [f"### bnexp {path}", _text(command), f"    {usage}"]
    if options:
        parts.append(table([["option", "default", "meaning"], *map(_option, options)]))
    examples = getattr(command, "examples", ())
    width = max(len(line) for line, _ in examples)
    parts.append("\n".join(f"    {line:{width}}    # {about}" for line, about in examples))
    return "\n\n".join(parts)


def _option(option: click.Option) -> list[str]:
    """Its name and what it takes; its default; what it means. Where the default takes words, its help has them."""
    words, _, told = (option.help or "").partition("  [default: ")
    choices = option.type.choices if isinstance(option.type, click.Choice) else None
    value = "" if option.is_flag else option.metavar or ("\\|".join(choices) if choices else option.type.name.upper())
    value = value.replace("\\|", "|").replace("|", "\\|")
    default = told.removesuffix("]")
    if not default and option.show_default:
        default = f"`{option.default}`"
    limits = option.type._describe_range() if isinstance(option.type, click.IntRange | click.FloatRange) else ""
    return [
        " ".join(filter(None, [f"`{option.opts[0]}`", f"`{value}`" if value else ""])),
        default,
        " ".join(filter(None, [words, f"({limits})" if limits else ""])),
    ]
