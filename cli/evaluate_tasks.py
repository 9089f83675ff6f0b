"""sgpo evaluate tasks: what a model has lost, by tasks of lm-eval."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Literal

import orjson
import typer

from sgpo_data.errors import UsageError
from sgpo_data.execution import ROOT, Execution


def add_tasks(group: typer.Typer) -> None:
    """Adds the command."""
    group.command("tasks")(tasks)


def tasks(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model folder, or org/name@revision.")],
    names: Annotated[str, typer.Option("--tasks", metavar="NAME,NAME", help="Tasks of lm-eval, or of the task files in --include.")],
    adapter: Annotated[str | None, typer.Option(help="LoRA adapter over the model.")] = None,
    engine: Annotated[Literal["auto", "transformers", "vllm"], typer.Option(help="What runs the model.")] = "auto",
    dtype: Annotated[Literal["auto", "float32", "bfloat16", "float16"], typer.Option(help="Of the weights; auto: that of the checkpoint.")] = "auto",
    few_shot: Annotated[int | None, typer.Option(min=0, help="Examples before each question; what each task says if not given.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each task, the first ones.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Put questions as turns of a chat, by the template of the model.")] = False,
    include: Annotated[Path | None, typer.Option(help="Folder of task files of your own.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions computed at once.")] = 8,
    device: Annotated[str, typer.Option(help="Where the model runs: auto, cpu, cuda or cuda:N.")] = "auto",
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs that share the model; for engine vllm.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the grades; the store if not given.")] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run tasks of lm-eval on a model: run them before and after training, and see what was lost.

    Its numbers are lm-eval's own; each question's is a row of grades. Tasks read their data from the Hub, unless their files name others.
    """
    from sgpo_data.evaluation.tasks import TaskRun
    from sgpo_data.evaluation.tasks import tasks as graded
    from sgpo_data.paths import local_path
    from sgpo_data.references.model import find_model

    wanted = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not wanted:
        raise UsageError("--tasks: names no task; give some, as in --tasks hellaswag,gsm8k")
    run = TaskRun(wanted, engine, dtype, few_shot, limit, chat)
    execution = Execution(root=root, device=device, tensor_parallel=tensor_parallel)
    places = [None if place is None else local_path(place) for place in (include, out)]
    # lm-eval prints, and standard output is for the data.
    with contextlib.redirect_stdout(sys.stderr):
        made = graded(run, find_model(model, adapter), execution, include=places[0], batch_size=batch_size, folder=places[1])
    facts = made.manifest.facts
    if as_json:
        print(orjson.dumps({"reference": made.reference, "results": facts}).decode())
        return
    for name, value in facts.items():
        if "_stderr," not in name:
            error = facts.get(name.replace(",", "_stderr,", 1))
            print(f"{name}  {value:.4f}{'' if error is None else f' ± {error:.4f}'}")
    print(made.reference)
