"""The stages as functions: `seed`, `improve`, `score_ppl`, `filter` and `pair`."""

from collections.abc import Mapping
from contextlib import closing
from os import PathLike, fspath
from typing import Unpack

from sgpo_data.execution import Execution
from sgpo_data.notebook.frames import Data, reference_of
from sgpo_data.notebook.keywords import takes, told_apart, validated
from sgpo_data.notebook.options import FilterOptions, ImproveOptions, PairOptions, ScorePplOptions, SeedOptions, SourceOptions
from sgpo_data.sources.options import Source
from sgpo_data.stages import Stage
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.improve.templates import TEMPLATE_FIELDS, load_template
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.score_ppl import ScorePpl
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import Dataset

Place = str | PathLike[str]


@takes(Seed, Execution)
def seed(
    data: Data,
    *,
    model: Place,
    adapter: Place | None = None,
    out: Place | None = None,
    source: SourceOptions | None = None,
    **options: Unpack[SeedOptions],
) -> Dataset:
    """Responses: what the model answers to every prompt, one row per prompt and sample.

    `data` is a raw source (file, folder, Hub dataset, table in memory), read as `source` says, or a dataset of prompts. `out` is a folder or a place on the
    Hub, the store if not given. What is made is kept; the same call goes on after a stop. Raises what the command prints.
    """
    return _made(Seed, data, {"model": model, "adapter": adapter}, out, source, options)


@takes(Improve, Execution)
def improve(data: Data, *, model: Place | None = None, adapter: Place | None = None, out: Place | None = None, **options: Unpack[ImproveOptions]) -> Dataset:
    """Improved: every response of a dataset rewritten, with the reference in sight (refine) or without (improve).

    The model is that of the input if none is named. Else as `seed`.
    """
    return _made(Improve, data, {"model": model, "adapter": adapter}, out, None, options)


@takes(ScorePpl, Execution)
def score_ppl(
    data: Data,
    *,
    scorer: Place | None = None,
    adapter: Place | None = None,
    reward_model: Place | None = None,
    out: Place | None = None,
    **options: Unpack[ScorePplOptions],
) -> Dataset:
    """Scored: the likelihood of response, improved and reference under one model, and the texts measured against each other.

    The scorer is the model that the lineage began with if none is named. Else as `seed`.
    """
    return _made(ScorePpl, data, {"model": scorer, "adapter": adapter, "reward_model": reward_model}, out, None, options)


@takes(Filter, Execution)
def filter(data: Data, *, out: Place | None = None, **options: Unpack[FilterOptions]) -> Dataset:
    """Filtered: every row of a scored dataset, with what drops it in `dropped_by`, null for a row that is kept."""
    return _made(Filter, data, {}, out, None, options)


@takes(Pair, Execution)
def pair(data: Data, *, out: Place | None = None, source: SourceOptions | None = None, **options: Unpack[PairOptions]) -> Dataset:
    """Pairs or examples of a filtered dataset, of responses, or of prompts: what a model is trained on.

    `data` may be a raw source too, as for `seed`: preferences that somebody else made.
    """
    return _made(Pair, data, {}, out, source, options)


def _made(
    stage: type[Stage],
    data: Data,
    models: Mapping[str, Place | None],
    out: Place | None,
    source: SourceOptions | None,
    options: Mapping[str, object],
) -> Dataset:
    """The dataset that the command of this stage would make."""
    from sgpo_data.publishing.output import make_at
    from sgpo_data.references.dataset import existing
    from sgpo_data.running.engines import Engines, open_model
    from sgpo_data.running.runner import job_of

    name = stage.stage_name
    own, how = told_apart(options, stage, Execution, place=name)
    execution = validated(Execution, how, place=name)
    named = {role: None if place is None else fspath(place) for role, place in models.items()}
    job = job_of(
        validated(stage, _with_templates(own), place=name),
        reference_of(data, execution.root),
        model=named.get("model"),
        adapter=named.get("adapter"),
        reward_model=named.get("reward_model"),
        source=validated(Source, source or {}, place=f"{name}: source"),
        execution=execution,
    )
    with closing(Engines(execution, open_model=open_model)) as engines:
        made = make_at(job, None if out is None else fspath(out), execution, engines=engines)
    return existing(made.reference, execution.root)


def _with_templates(given: Mapping[str, object]) -> dict[str, object]:
    return {key: load_template(value) if key in TEMPLATE_FIELDS and isinstance(value, str) else value for key, value in given.items()}
