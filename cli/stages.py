"""A command for each stage alone, with flags derived from its class."""

import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from sgpo_data.errors import UsageError
from sgpo_data.execution import Execution
from sgpo_data.names import remote
from sgpo_data.sources.options import Source
from sgpo_data.stages import RowStage, Stage
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.improve.templates import TEMPLATE_FIELDS, load_template
from sgpo_data.stages.order import STAGES, model_roles
from sgpo_data.store.share import PartRange

from .flags import built, parameters
from .how import PANEL, ROWS, TABLES, execution_parameters
from .opener import opener
from .references import refuse_missing, typed

if TYPE_CHECKING:
    from sgpo_data.running.engines import OpenModel
    from sgpo_data.running.job import StageJob

log = logging.getLogger(__name__)


def add_stages(app: typer.Typer) -> None:
    """Adds one command per stage, in their order."""
    for stage in STAGES:
        app.command(stage.stage_name, help=inspect.getdoc(stage), rich_help_panel="Stages")(_command(stage))


def _command(stage: type[Stage]) -> Callable[..., None]:
    def command(context: typer.Context, **given: object) -> None:
        # DuckDB and Arrow take a while to import: --help does without.
        from sgpo_data.publishing.output import make_at
        from sgpo_data.running.engines import Engines
        from sgpo_data.running.runner import job_of

        from .printing.output import print_made
        from .printing.what_if import print_what_if

        reference, out, model, adapter = given["reference"], given.get("out"), given.get("model"), given.get("adapter")
        verdicts = str(given["verdicts"]) if given.get("verdicts") else None
        execution = built(Execution, given)
        asked = given.get("what_if")
        if isinstance(asked, list) and asked:
            if out:
                raise UsageError(f"--out: --what-if writes nothing (got {out}); leave one out")
            print_what_if(built(Filter, given), typed(str(reference)), asked, verdicts=verdicts, root=execution.root, as_json=bool(given["json"]))
            return
        parts = PartRange.parsed(str(given["part_range"])) if given.get("part_range") else None
        wanted, source = built(stage, _with_templates(given)), built(Source, given, prefix="source.")
        reference = typed(str(reference))
        refuse_missing([reference], str(model) if model else None, execution.root, raw="prompts" in stage.reads)
        job = job_of(
            wanted,
            reference,
            model=str(model) if model else None,
            adapter=str(adapter) if adapter else None,
            reward_model=str(given["reward_model"]) if given.get("reward_model") else None,
            verdicts=verdicts,
            source=source,
            execution=execution,
        )
        if parts is not None:
            if execution.ray is not None:
                raise UsageError(f"--ray: a cluster shares the parts out itself (got --part-range {parts}); leave one out")
            _make_share(job, parts, out, execution, open_model=opener(context), as_json=bool(given["json"]))
            return
        with closing(Engines(execution, open_model=opener(context))) as engines:
            made = make_at(job, str(out) if out else None, execution, engines=engines)
        print_made(made, as_json=bool(given["json"]))

    called = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    signature = [called, *_common(stage), *parameters(stage, panel="What is made (recipe keys)")]
    if "prompts" in stage.reads:
        signature += parameters(Source, panel="How a raw source is read", prefix="source.")
    signature += execution_parameters(ROWS if issubclass(stage, RowStage) else TABLES)
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    return command


def _make_share(job: "StageJob", parts: PartRange, out: object, execution: Execution, *, open_model: "OpenModel", as_json: bool) -> None:
    """Makes the share, and prints the reference if the dataset is whole with it."""
    from sgpo_data.paths import local_path
    from sgpo_data.publishing.output import StageOutput
    from sgpo_data.running.engines import Engines
    from sgpo_data.running.rowwise import RowJob

    from .printing.output import print_made

    assert isinstance(job, RowJob)
    if out and remote(str(out)):
        raise UsageError(f"-o {out}: processes share a folder that all of them see; leave -o out, and when all is made run it with -o and without --part-range")
    folder = local_path(str(out)) if out else execution.store / job.name
    with closing(Engines(execution, open_model=open_model)) as engines:
        dataset = job.make_share(parts, folder, execution, engines)
    if dataset is None:
        log.info("%s: share %s is made; the last share to be made finishes it, or: sgpo finish %s", folder, parts, folder)
    else:
        print_made(StageOutput(dataset.manifest, str(dataset.folder)), as_json=as_json)


def _with_templates(given: Mapping[str, object]) -> dict[str, object]:
    """The flags, with each template that is named by one read."""
    return {key: load_template(value) if key in TEMPLATE_FIELDS and isinstance(value, str) else value for key, value in given.items()}


def _common(stage: type[Stage]) -> list[inspect.Parameter]:
    reads = "A raw source (file, folder, Hub dataset) or a dataset" if "prompts" in stage.reads else "A dataset"
    found: dict[str, tuple[object, object]] = {
        "reference": (Annotated[str, typer.Argument(metavar="INPUT", help=f"{reads}; - reads the reference from standard input.")], ...),
        "out": (
            Annotated[str | None, typer.Option("--out", "-o", help="Folder, hf://datasets/org/name@branch/path or s3://bucket/path; the store if not given.")],
            None,
        ),
        "json": (Annotated[bool, typer.Option("--json", help="Print a summary as JSON in place of the reference.")], False),
    }
    # Variables are named by the arguments of job_of, whatever the part of the model is called.
    for name, role in zip(("model", "reward_model"), model_roles(stage), strict=False):
        found[name] = (Annotated[str | None, typer.Option(role.flag, help=role.help)], None)
        if name == "model":
            found["adapter"] = (Annotated[str | None, typer.Option("--adapter", help="LoRA adapter over the model.")], None)
    if issubclass(stage, RowStage):
        text = "Make every N-th part, from the I-th on (1/N to N/N), while other processes make theirs; the last one in finishes the dataset."
        found["part_range"] = (Annotated[str | None, typer.Option("--part-range", metavar="I/N", help=text, rich_help_panel=PANEL)], None)
    if stage is Filter:
        text = "Evaluations of its rewrites, as sgpo evaluate judge or people wrote them: they are its rewards, for ppl.strategy margin and rules."
        found["verdicts"] = (Annotated[str | None, typer.Option("--verdicts", metavar="EVALUATIONS", help=text)], None)
        text = "Write nothing; print where the rows would go with each of these values. Several keys: each combination."
        found["what_if"] = (Annotated[list[str], typer.Option("--what-if", metavar="KEY=VALUE,VALUE", help=text)], [])
    positional, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(
            name, positional if default is ... else keyword, annotation=annotation, default=inspect.Parameter.empty if default is ... else default
        )
        for name, (annotation, default) in found.items()
    ]
