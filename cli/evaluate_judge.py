"""sgpo evaluate judge: which of two models' answers a judge prefers; sgpo evaluate verdicts: the same of verdicts that are there."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from sgpo_data.evaluation.judge.prompt import load_prompt, reading_of
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.evaluation.judge.verdict import Reading
from sgpo_data.execution import ROOT, Execution

from .flags import built, parameters
from .how import ANSWERS, execution_parameters
from .opener import opener

if TYPE_CHECKING:
    from sgpo_data.evaluation.judging import Judged

MAX_TOKENS = "sampling__max_tokens"
OWN = ("prompt", "reading", "labels")
"""Flags that follow the prompt unless they are given."""


def add_judge(group: typer.Typer) -> None:
    """Adds both commands."""
    group.command("judge")(_command())
    group.command("verdicts")(verdicts)


def verdicts(
    reference: Annotated[str, typer.Argument(metavar="EVALUATIONS", help="What sgpo evaluate judge wrote.")],
    other: Annotated[str | None, typer.Argument(metavar="[OTHER]", help="Another judge's, to tell how far they agree.")] = None,
    model: Annotated[str | None, typer.Option(help="Model from whose side it is told.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
) -> None:
    """Tell what the verdicts of a judge come to; of two judges, how far they agree. Exit 3 if they say nothing of the models."""
    from sgpo_data.evaluation.judging import recorded_verdicts

    from .printing.verdicts import print_agreement, print_judged

    found = recorded_verdicts(reference, root, model=model)
    if other is None:
        print_judged(found, as_json=as_json)
        found.refuse_useless()
    else:
        print_agreement(found, recorded_verdicts(other, root, model=model), as_json=as_json)


def _command() -> Callable[..., None]:
    def judge(context: typer.Context, model: str, baseline: str | None, *, as_json: bool, **given: object) -> None:
        """Have a judge say which of two models' answers are better: each pair in both orders; exit 3 if its verdicts say nothing of the models.

        Answers are matched by their prompts. Without BASELINE, MODEL is a dataset whose rewrites are held against its responses. Every verdict is a row of
        table evaluations; a run that was stopped asks for those that are missing.
        """
        # Arrow takes a while to import: --help does without.
        from sgpo_data.evaluation.comparisons import compared
        from sgpo_data.evaluation.judging import check_installed, judged
        from sgpo_data.evaluation.recorded import recorded, rewritten
        from sgpo_data.evaluation.sets import open_set
        from sgpo_data.paths import local_path
        from sgpo_data.references.dataset import existing
        from sgpo_data.references.model import find_model
        from sgpo_data.running.engines import Engines

        from .printing.verdicts import print_judged

        check_installed()
        execution, stage = built(Execution, given), _stage(given)
        found = find_model(str(given["judge"]))
        root = execution.root
        questions = None if given["set_"] is None else open_set(str(given["set_"]), execution)
        ours, theirs = rewritten(existing(model, root), model) if baseline is None else (recorded(model, root), recorded(baseline, root))
        pair = compared(ours, theirs, execution, questions=questions)
        with closing(Engines(execution, open_model=opener(context))) as engines:
            made = judged(pair, stage, found, execution, engines=engines, out=local_path(str(given["out"])) if given["out"] else None)
        _write_files(made, given)
        print_judged(made, as_json=as_json)
        made.refuse_useless()

    judge.__signature__ = inspect.Signature(_parameters())  # type: ignore[attr-defined]
    return judge


def _stage(given: Mapping[str, object]) -> Judge:
    """The judge that the flags describe; what a prompt that ships here brings along stands unless a flag says otherwise."""
    name = str(given["prompt"])
    reading, tokens = reading_of(name, cast("Reading | None", given["reading"]))
    fields: dict[str, object] = {**given, "prompt": load_prompt(name), "reading": reading}
    if given[MAX_TOKENS] is None:
        fields[MAX_TOKENS] = tokens
    if not given["labels"]:
        del fields["labels"]
    return built(Judge, fields)


def _write_files(made: "Judged", given: Mapping[str, object]) -> None:
    from sgpo_data.evaluation.judgement_files import write_alpaca_eval, write_arena_hard

    if given["alpaca_eval"]:
        write_alpaca_eval(made, Path(str(given["alpaca_eval"])))
    if given["arena_hard"]:
        write_arena_hard(made, Path(str(given["arena_hard"])))


def _parameters() -> list[inspect.Parameter]:
    keyword, positional = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    what = "Official file of answers (AlpacaEval, Arena-Hard, IFEval), or a dataset with responses."
    fields = Judge.model_fields
    flags: dict[str, tuple[object, object]] = {
        "judge": (Annotated[str, typer.Option(help=Judge.model_role.help)], ...),
        "prompt": (Annotated[str, typer.Option(help=fields["prompt"].description)], "label"),
        "reading": (Annotated[Reading | None, typer.Option(help=fields["reading"].description)], None),
        "labels": (Annotated[list[str], typer.Option(help=f"{fields['labels'].description} Give the flag twice.")], []),
        "set_": (Annotated[str | None, typer.Option("--set", metavar="SET", help="The set, for the categories of its questions.")], None),
        "out": (Annotated[str | None, typer.Option("--out", "-o", help="Folder for the verdicts; the store if not given.")], None),
        "alpaca_eval": (Annotated[str | None, typer.Option(metavar="FILE", help="Write AlpacaEval's annotations too.")], None),
        "arena_hard": (Annotated[str | None, typer.Option(metavar="FOLDER", help="Write Arena-Hard's model_judgment file too.")], None),
        "as_json": (Annotated[bool, typer.Option("--json", help="Print one JSON object.")], False),
    }
    own = [
        inspect.Parameter("context", positional, annotation=typer.Context),
        inspect.Parameter("model", positional, annotation=Annotated[str, typer.Argument(metavar="MODEL", help=what)]),
        inspect.Parameter("baseline", positional, annotation=Annotated[str | None, typer.Argument(metavar="[BASELINE]", help="The same.")], default=None),
    ]
    own += [
        inspect.Parameter(name, keyword, annotation=kind, default=inspect.Parameter.empty if default is ... else default)
        for name, (kind, default) in flags.items()
    ]
    asked = [each for each in parameters(Judge, panel="How the judge is asked") if each.name not in OWN]
    # How long a verdict may be is the prompt's to say.
    asked = [each.replace(default=None, annotation=_optional(each.annotation)) if each.name == MAX_TOKENS else each for each in asked]
    return [*own, *asked, *execution_parameters(ANSWERS)]


def _optional(annotation: object) -> object:
    """The same flag, which may be left out."""
    kind, option = get_args(annotation)
    return Annotated[kind | None, option]
