"""sgpo evaluate: how good a model is, by public sets, judges and people."""

import typer

from .evaluate_answers import add_answers
from .evaluate_ifeval import add_ifeval
from .evaluate_judge import add_judge
from .evaluate_people import add_people
from .evaluate_tasks import add_tasks
from .help import HelpfulGroup


def add_evaluate(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(
        cls=HelpfulGroup, no_args_is_help=True, help="Evaluate a model: its answers to public sets, and what judges, people and programs say of them."
    )
    add_answers(group)
    add_judge(group)
    add_people(group)
    add_ifeval(group)
    add_tasks(group)
    app.add_typer(group, name="evaluate", rich_help_panel="Evaluate")
