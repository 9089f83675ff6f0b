"""A command for each stage alone, with flags derived from its class."""

import inspect
from collections.abc import Callable
from contextlib import closing
from typing import Annotated

import typer

from sgpo_data.errors import UsageError
from sgpo_data.execution import Execution
from sgpo_data.sources.options import Source
from sgpo_data.stages import RowStage, Stage
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.score_ppl import ScorePpl
from sgpo_data.stages.seed import Seed

from .flags import built, parameters
from .opener import opener
from .references import typed

STAGES: tuple[type[Stage], ...] = (Seed, Improve, ScorePpl, Filter, Pair)


def add_stages(app: typer.Typer) -> None:
    """Adds one command per stage, in their order."""
    for stage in STAGES:
        app.command(stage.stage_name, help=inspect.getdoc(stage), rich_help_panel="Stages")(_command(stage))


def _command(stage: type[Stage]) -> Callable[..., None]:
    def command(context: typer.Context, **given: object) -> None:
        # DuckDB and Arrow take a while to import: --help does without.
        from sgpo_data.publishing.output import made_at
        from sgpo_data.running.engines import Engines
        from sgpo_data.running.runner import job_of

        from .printing.output import print_made
        from .printing.what_if import print_what_if

        reference, out, model, adapter = given["reference"], given.get("out"), given.get("model"), given.get("adapter")
        execution = built(Execution, given)
        asked = given.get("what_if")
        if isinstance(asked, list) and asked:
            if out:
                raise UsageError(f"--out: --what-if writes nothing (got {out}); leave one out")
            print_what_if(built(Filter, given), typed(str(reference)), asked, root=execution.root, as_json=bool(given["json"]))
            return
        job = job_of(
            built(stage, given),
            typed(str(reference)),
            model=str(model) if model else None,
            adapter=str(adapter) if adapter else None,
            reward_model=str(given["reward_model"]) if given.get("reward_model") else None,
            source=built(Source, given, prefix="source."),
            execution=execution,
        )
        with closing(Engines(execution, open_model=opener(context))) as engines:
            made = made_at(job, str(out) if out else None, execution, engines=engines)
        print_made(made, as_json=bool(given["json"]))

    called = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    signature = [called, *_common(stage), *parameters(stage, panel="What is made (recipe keys)")]
    if "prompts" in stage.reads:
        signature += parameters(Source, panel="How a raw source is read", prefix="source.")
    signature += parameters(Execution, panel="How it is run")
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    return command


def _common(stage: type[Stage]) -> list[inspect.Parameter]:
    reads = "A raw source (file, folder, Hub dataset) or a dataset" if "prompts" in stage.reads else "A dataset"
    found: dict[str, tuple[object, object]] = {
        "reference": (Annotated[str, typer.Argument(metavar="INPUT", help=f"{reads}; - reads the reference from standard input.")], ...),
        "out": (
            Annotated[str | None, typer.Option("--out", "-o", help="Folder, or hf://datasets/org/name@branch/path; the store if not given.")],
            None,
        ),
        "json": (Annotated[bool, typer.Option("--json", help="Print a summary as JSON in place of the reference.")], False),
    }
    if issubclass(stage, RowStage):
        flag = "--scorer" if stage.model_role == "scorer" else "--model"
        absent = {"policy": "", "improver": "; that of the input if not given", "scorer": "; the one the lineage began with if not given"}
        kinds = "Model folder, or org/name@revision" if stage.model_role == "scorer" else "Model folder, org/name@revision, or openai:NAME at a server"
        found["model"] = (Annotated[str | None, typer.Option(flag, help=f"{kinds}{absent[stage.model_role]}.")], None)
        found["adapter"] = (Annotated[str | None, typer.Option("--adapter", help="LoRA adapter over the model.")], None)
    if stage is ScorePpl:
        text = "Sequence classifier that rewards answers, a folder or org/name@revision, for filter's strategy margin; none if not given."
        found["reward_model"] = (Annotated[str | None, typer.Option("--reward-model", help=text)], None)
    if stage is Filter:
        text = "Write nothing; print where the rows would go with each of these values. Several keys: each combination."
        found["what_if"] = (Annotated[list[str], typer.Option("--what-if", metavar="KEY=VALUE,VALUE", help=text)], [])
    positional, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(
            name, positional if default is ... else keyword, annotation=annotation, default=inspect.Parameter.empty if default is ... else default
        )
        for name, (annotation, default) in found.items()
    ]
