"""Whole recipes and what comes after them, as functions: `run`, `evaluate` and `publish`."""

from collections.abc import Callable
from contextlib import closing
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, cast, overload

from sgpo_data.evaluation.judge.local import judging
from sgpo_data.evaluation.judge.prompt import load_prompt, reading_of
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.evaluation.judge.verdict import Reading
from sgpo_data.execution import ROOT, Execution
from sgpo_data.health.options import Guards
from sgpo_data.notebook.frames import Data, reference_of
from sgpo_data.notebook.keywords import takes, told_apart, validated
from sgpo_data.notebook.options import JudgeOptions, PublishOptions, RunOptions
from sgpo_data.store.dataset import Dataset

if TYPE_CHECKING:
    from sgpo_data.evaluation.judging import Judged
    from sgpo_data.loop.loop import Changes, StepResult
    from sgpo_data.publishing.publish import PublishedVersion, VersionPreview

Place = str | PathLike[str]


@takes(Guards, Execution)
def run(recipe: Place, *, confirm: "Callable[[Changes], bool] | None" = None, keep_going: bool = False, **options: Unpack[RunOptions]) -> "list[StepResult]":
    """Everything a recipe makes, made now as far as it is not made already; the same call takes up what a stop has left.

    If what the last run made with a model would be made anew, `confirm` is asked first; without it that is refused. Around every training its pairs and its
    model are looked at, and an alarm stops the run; with `keep_going` it warns.
    Raises RecipeError if the recipe has faults or the change is not confirmed, GateError at an alarm, DatasetError if another process runs it, whatever a
    stage raises.
    """
    from sgpo_data.health.guards import TrainingGuard
    from sgpo_data.loop.loop import run_recipe
    from sgpo_data.recipe.file import read_recipe
    from sgpo_data.running.engines import open_model

    bounds, how = told_apart(options, Guards, Execution, place="run")
    execution, path = validated(Execution, how, place="run"), Path(recipe)
    guard = TrainingGuard(read_recipe(path), execution, validated(Guards, bounds, place="run"), keep_going)
    return run_recipe(path, execution, confirm=confirm, open_model=open_model, guard=guard)


@takes(Judge, Execution)
def evaluate(
    model: Data, baseline: "Data | None" = None, *, judge: Place, set: str | None = None, out: Place | None = None, **options: Unpack[JudgeOptions]
) -> "Judged":
    """What a judge says of two models' answers, each pair in both orders: `.results` has win rate, interval and trust, `.dataset` every verdict.

    `model` and `baseline` are official files of answers, or datasets with responses; without `baseline`, `model` is a dataset whose rewrites are held
    against its responses. `set` names the questions, for their categories. What was asked is kept. `.faults` says why the verdicts tell nothing, if so.
    """
    from sgpo_data.evaluation.comparisons import compared
    from sgpo_data.evaluation.judging import check_installed, judged
    from sgpo_data.evaluation.recorded import recorded, rewritten
    from sgpo_data.evaluation.sets import open_set
    from sgpo_data.references.dataset import existing
    from sgpo_data.references.model import find_model
    from sgpo_data.running.engines import Engines, open_model

    check_installed()
    own, how = told_apart(options, Judge, Execution, place="evaluate")
    execution, stage = validated(Execution, how, place="evaluate"), _judge(own)
    found = find_model(fspath(judge))
    questions = None if set is None else open_set(set, execution)
    names = [reference_of(each, execution.root) for each in ((model,) if baseline is None else (model, baseline))]
    ours, theirs = rewritten(existing(names[0], execution.root), names[0]) if baseline is None else (recorded(each, execution.root) for each in names)
    pair = compared(ours, theirs, execution, questions=questions)
    with closing(Engines(execution, open_model=open_model)) as opened, judging(stage, opened) as engines:
        return judged(pair, stage, found, execution, engines=engines, out=None if out is None else Path(out))


@overload
def publish(
    *references: str | PathLike[str] | Dataset, repository: str, tag: str, dry_run: Literal[False] = False, **options: Unpack[PublishOptions]
) -> "PublishedVersion": ...
@overload
def publish(
    *references: str | PathLike[str] | Dataset, repository: str, tag: str, dry_run: Literal[True], **options: Unpack[PublishOptions]
) -> "VersionPreview": ...
def publish(
    *references: str | PathLike[str] | Dataset,
    repository: str,
    tag: str,
    run: str | None = None,
    branch: str = "main",
    private: bool = True,
    license: str | None = None,
    root: Place | None = None,
    allow_secrets: bool = False,
    dry_run: bool = False,
) -> "PublishedVersion | VersionPreview":
    """Datasets, each a config named by its table or by `name=reference`, or one model trained here, as one version on the Hub: `.reference` is its commit.

    `run` adds the last round of a run with its recipe. The same version again does nothing; a tag that holds something else is refused. The login is that of
    HF_TOKEN or of `hf auth login`. With `dry_run` nothing is changed: `.changes` is what would be uploaded, kept and deleted, `.upload_bytes` how much is sent.
    """
    from sgpo_data.publishing.choice import chosen
    from sgpo_data.publishing.publish import preview
    from sgpo_data.publishing.publish import publish as published

    place = ROOT if root is None else Path(root)
    names = [reference_of(each, place) for each in references]
    version = chosen(names, repository, tag=tag, run=run, license=license, root=place, allow_secrets=allow_secrets)
    return preview(version, branch=branch) if dry_run else published(version, branch=branch, private=private)


def _judge(given: dict[str, object]) -> Judge:
    """The judge of these fields; what the prompt brings along stands unless they say otherwise."""
    name = str(given.get("prompt", "label"))
    reading, tokens = reading_of(name, cast("Reading | None", given.get("reading")))
    sampling = {**Judge().sampling.model_dump(), "max_tokens": tokens, **cast("dict[str, object]", given.get("sampling", {}))}
    return validated(Judge, {**given, "prompt": load_prompt(name), "reading": reading, "sampling": sampling}, place="evaluate")
