"""sgpo evaluate ifeval: how many instructions a model's answers follow."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sgpo_data.execution import ROOT, Execution

from .references import typed

if TYPE_CHECKING:
    from sgpo_data.evaluation.grades import Share
    from sgpo_data.evaluation.ifeval import IfevalResult


def add_ifeval(group: typer.Typer) -> None:
    """Adds the command."""
    group.command("ifeval")(ifeval)


def ifeval(
    answers: Annotated[str, typer.Argument(metavar="ANSWERS", help="Answers to IFEval: responses, or a response file; - reads it from standard input.")],
    set_: Annotated[str, typer.Option("--set", metavar="SET", help="Its questions: ifeval (from the Hub), or a file in its layout.")] = "ifeval",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the grades; the store if not given.")] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell how many instructions of IFEval the answers follow: strictly and loosely, by prompt and by instruction.

    The checkers are those of the authors, as lm-eval carries them. Each verdict is a row of grades; an empty or missing answer follows nothing.
    Intervals are 95 %, by a bootstrap over prompts.
    """
    from sgpo_data.evaluation.ifeval import ifeval as graded
    from sgpo_data.evaluation.ifeval import ifeval_result
    from sgpo_data.evaluation.recorded import recorded
    from sgpo_data.evaluation.sets import open_set
    from sgpo_data.paths import local_path

    execution = Execution(root=root)
    made = graded(open_set(set_, execution), recorded(typed(answers), root), execution, None if out is None else local_path(out))
    result = ifeval_result(made)
    if as_json:
        print(orjson.dumps({"reference": made.reference, **asdict(result)}).decode())
        return
    for line in _lines(result):
        print(line)
    print(made.reference)


def _lines(result: "IfevalResult") -> Iterator[str]:
    width = max(len(name) for name in (*result.kinds, "instructions"))
    yield f"{'':{width}}  {'strict':26}  loose"
    for name, shares in (("prompts", result.prompts), ("instructions", result.instructions), *result.kinds.items()):
        yield f"{name:{width}}  {_share(shares['strict']):26}  {_share(shares['loose'])}"


def _share(of: "Share") -> str:
    interval = "" if of.low is None or of.high is None else f" ({of.low:.1%} to {of.high:.1%})"
    return f"{of.share:.1%}{interval}"
