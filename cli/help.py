"""Help on one screen: what a newcomer needs and examples; all of it under --help-all."""

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup

from .examples import EXAMPLES
from .flags import dashed
from .usage import explain_usage_errors

if TYPE_CHECKING:
    import typer._click.core as click
    from typer._click.formatting import HelpFormatter

WHOLE = "--help-all"
WIDEST = 120
"""Columns of a help, where the terminal has them."""
FLAG_COLUMNS = 40
COMMON = frozenset(
    {
        *("samples", "sampling__temperature", "sampling__max_tokens", "role", "gates__min_edit", "gates__max_edit", "rules", "ppl__strategy", "ppl__k"),
        *("kind", "per_prompt", "limit", "source__split", "source__columns", "source__limit", "root", "device", "base_url"),
        *("objective", "learning_rate", "beta", "epochs", "max_tokens", "max_near_identical", "max_longer", "min_rows"),
    }
)
"""Of the flags that are fields of a class, those that --help shows; of the others it shows all."""
FOLDED = frozenset({"install_completion", "show_completion"})


class HelpfulCommand(TyperCommand):
    """A command that explains itself."""

    def parse_args(self, ctx: "click.Context", args: list[str]) -> list[str]:
        """Reads the arguments, and how much help is asked for."""
        _note(ctx, args)
        with explain_usage_errors():
            return super().parse_args(ctx, args)

    def format_help(self, ctx: "click.Context", formatter: "HelpFormatter") -> None:
        """Usage, what it does, its arguments and flags, and examples."""
        _write_help(self, ctx, formatter)


class HelpfulGroup(TyperGroup):
    """A group that lists its commands."""

    def parse_args(self, ctx: "click.Context", args: list[str]) -> list[str]:
        """Reads the arguments, and how much help is asked for."""
        _note(ctx, args)
        with explain_usage_errors():
            return super().parse_args(ctx, args)

    def format_help(self, ctx: "click.Context", formatter: "HelpFormatter") -> None:
        """Usage, what it is for, its commands by panel, and its own flags."""
        _write_help(self, ctx, formatter)


def explain(app: typer.Typer, words: str = "") -> None:
    """Gives every command of the app its help and its examples."""
    for info in app.registered_commands:
        assert info.callback is not None
        info.cls = HelpfulCommand
        name = info.name or dashed(info.callback.__name__)
        info.epilog = "\n".join(EXAMPLES[f"{words}{name}"])
    for group in app.registered_groups:
        assert group.typer_instance is not None
        explain(group.typer_instance, f"{words}{group.name} ")


def _note(ctx: "click.Context", args: list[str]) -> None:
    ctx.meta[WHOLE] = any(dashed(each) == WHOLE for each in args)


def _write_help(command: "click.Command", ctx: "click.Context", formatter: "HelpFormatter") -> None:
    whole = bool(ctx.meta.get(WHOLE))
    command.format_usage(ctx, formatter)
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    for paragraph in paragraphs if whole else paragraphs[:1]:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(" ".join(paragraph.split()))
    if isinstance(command, TyperGroup):
        _write_commands(command, ctx, formatter, whole=whole)
    panels: dict[str, list[tuple[str, str]]] = {}
    folded = 0
    for each in command.params:
        record = each.get_help_record(ctx)
        if record and not whole and not _is_common(each):
            folded += 1
        elif record:
            panel = "Arguments" if each.param_type_name == "argument" else getattr(each, "rich_help_panel", None) or "Options"
            panels.setdefault(panel, []).append(record)
    panels.setdefault("Options", []).append((f"-h, --help, {WHOLE}", f"This help; all of it{f', {folded} more flags' if folded else ''}."))
    for panel, records in panels.items():
        with formatter.section(panel):
            formatter.write_dl(records, col_max=FLAG_COLUMNS)
    if command.epilog:
        with formatter.section("Examples"):
            for line in command.epilog.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _write_commands(group: TyperGroup, ctx: "click.Context", formatter: "HelpFormatter", *, whole: bool) -> None:
    panels: dict[str, list[tuple[str, str]]] = {}
    commands = list(_commands(group, ctx))
    width = max(len(name) for name, _ in commands)
    room = formatter.width - width - 4
    for name, command in commands:
        told = _first_paragraph(command) if whole else _summary(command, room)
        panels.setdefault(getattr(command, "rich_help_panel", None) or "Commands", []).append((name.ljust(width), told))
    for panel, records in panels.items():
        with formatter.section(panel):
            formatter.write_dl(records)


def _first_paragraph(command: "click.Command") -> str:
    return " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())


def _summary(command: "click.Command", room: int) -> str:
    """The first sentence, or where it is longer than a line what stands before its first colon or semicolon."""
    sentence = re.split(r"\.(?:\s|$)", _first_paragraph(command))[0]
    clause = sentence if len(sentence) <= room else re.split("[:;]", sentence)[0]
    return clause if len(clause) <= room else command.get_short_help_str(room)


def _commands(group: TyperGroup, ctx: "click.Context") -> "Iterator[tuple[str, click.Command]]":
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is not None and not command.hidden:
            yield name, command


def _is_common(parameter: "click.Parameter") -> bool:
    if parameter.name in FOLDED:
        return False
    return getattr(parameter, "rich_help_panel", None) is None or parameter.name in COMMON
