"""sgpo evaluate answers: what a model answers to a public set, in the official file."""

import inspect
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Annotated

import orjson
import typer

from sgpo_data.execution import Execution
from sgpo_data.stages.seed import Seed

from .flags import built, parameters
from .how import ANSWERS, execution_parameters
from .opener import opener

OUT = "File to write, or a folder (or what ends in /) to write NAME.json in; without it the answers lie in the store alone."
ONE_EACH = ("samples",)
"""A file has one answer to each question."""


def add_answers(group: typer.Typer) -> None:
    """Adds the command, with the flags of a seed."""
    group.command("answers")(_command())


def _command() -> Callable[..., None]:
    def answers(
        context: typer.Context, model: str, *, set_: str, out: str | None, adapter: str | None, name: str | None, as_json: bool, **given: object
    ) -> None:
        """Answer a public set with a model; write the file that its official tools read.

        The questions are asked word for word, in their order, as a seed is: what is made lies in the store, and a run that was stopped goes on from there.
        """
        # Arrow takes a while to import: --help does without.
        from sgpo_data.evaluation.answer_files import generator_name, write_answers
        from sgpo_data.evaluation.answers import answers as make_answers
        from sgpo_data.evaluation.sets import open_set
        from sgpo_data.paths import local_path
        from sgpo_data.references.model import find_model
        from sgpo_data.running.engines import Engines

        execution, seed = built(Execution, given), built(Seed, given)
        found = find_model(model, adapter)
        with closing(Engines(execution, open_model=opener(context))) as engines:
            made = make_answers(open_set(set_, execution), seed, found, execution, engines=engines)
        generator = name or generator_name(found)
        path = made.datasets[-1].folder if out is None else write_answers(made, local_path(out), generator=generator, is_folder=out.endswith("/"))
        missing = made.missing
        if missing:
            reasons = ", ".join(f"{count} {reason}" for reason, count in missing.items())
            print(f"{path}: {sum(missing.values())} of {len(made.turns)} questions have no whole answer ({reasons})", file=sys.stderr)
        if as_json:
            datasets = [str(each.folder) for each in made.datasets]
            own = {"file": None if out is None else str(path), "generator": generator, "questions": len(made.turns), "unfinished": missing}
            print(orjson.dumps({**own, "responses": datasets}).decode())
        else:
            print(path)

    keyword, positional = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    sets = "alpaca_eval, arena_hard, ifeval or mt_bench (from the Hub), or a file in the layout of one, here or at hf://datasets/org/name@revision/path."
    which = "Model folder, org/name@revision, or openai:NAME at a server."
    own = [
        inspect.Parameter("context", positional, annotation=typer.Context),
        inspect.Parameter("model", positional, annotation=Annotated[str, typer.Argument(metavar="MODEL", help=which)]),
        inspect.Parameter("set_", keyword, annotation=Annotated[str, typer.Option("--set", metavar="SET", help=sets)]),
        inspect.Parameter("out", keyword, annotation=Annotated[str | None, typer.Option("--out", "-o", help=OUT)], default=None),
        inspect.Parameter("adapter", keyword, annotation=Annotated[str | None, typer.Option(help="LoRA adapter over the model.")], default=None),
        inspect.Parameter("name", keyword, annotation=Annotated[str | None, typer.Option(help="What the model is called in the file.")], default=None),
        inspect.Parameter("as_json", keyword, annotation=Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")], default=False),
    ]
    asked = [each for each in parameters(Seed, panel="What is asked (as in sgpo seed)") if each.name not in ONE_EACH]
    answers.__signature__ = inspect.Signature([*own, *asked, *execution_parameters(ANSWERS)])  # type: ignore[attr-defined]
    return answers
