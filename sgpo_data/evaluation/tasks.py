"""Tasks of lm-eval on a model of ours: what a model has lost beside what it was trained for."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Protocol

import orjson

from sgpo_data.engines.loading import automatic, check_installed
from sgpo_data.errors import DatasetError, UsageError, first_line, nearest
from sgpo_data.evaluation.grades import Grade, Graded, graded_dataset, grades_folder
from sgpo_data.evaluation.statistics import installed
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model
from sgpo_data.schema import schema
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.files import file_digest
from sgpo_data.store.manifest import MANIFEST, Identity

REVISION = 1
"""Raised when the same run begins to give other grades."""
ENGINES = {"transformers": "hf", "vllm": "vllm"}
"""What lm-eval calls ours."""


@dataclass(frozen=True)
class TaskRun:
    """What is asked of a model, and how: all of it decides the grades."""

    tasks: tuple[str, ...]
    engine: str
    dtype: str
    few_shot: int | None
    """Examples before each question; None for what each task says."""
    limit: int | None
    """Questions of each task, the first ones; None for all."""
    chat: bool
    """Whether questions are put as turns of a chat."""


def tasks(run: TaskRun, model: Model, execution: Execution, *, include: Path | None, batch_size: int, folder: Path | None = None) -> Dataset:
    """The grades of the model's answers, with what lm-eval makes of each task among the facts; made once.

    `include` is a folder of task files beside those that lm-eval has.
    Raises UsageError for a task that there is not or a model at a server, MissingExtraError if lm-eval is not installed, DatasetError if the data of a
    task cannot be read.
    """
    if model.endpoint is not None:
        raise UsageError(f"{model.record.location}: a server does not tell how likely a given text is, which most tasks ask; give a model folder")
    installed("lm_eval", "tasks")
    engine = automatic("generate") if run.engine == "auto" else run.engine
    check_installed(engine)
    digest = _digest(include)
    fields = {**asdict(run), "tasks": list(run.tasks), "engine": engine, "lm_eval": metadata.version("lm-eval"), "include": digest}
    identity = Identity(stage="tasks", revision=REVISION, schema_version=schema("grades").version, fields=fields, inputs=(), models={"policy": model.record})

    place = grades_folder(identity, execution, folder)
    if not (place / MANIFEST).is_file():
        _refuse_unknown(run.tasks, _manager(include, digest).all_tasks)

    def work() -> Graded:
        found = _evaluated(run, engine, model, execution, _manager(include, digest), batch_size)
        return Graded(list(_grades(found, model.record.identity)), dict(_facts(found)), exact=False)

    return graded_dataset(identity, place, work)


class _Manager(Protocol):
    @property
    def all_tasks(self) -> list[str]: ...


@cache
def _manager(include: Path | None, digest: str | None) -> _Manager:
    """lm-eval's, with the task files of this folder as they are; it reads thousands of files of its own, which takes long."""
    manager: _Manager = installed("lm_eval.tasks", "tasks").TaskManager(include_path=None if include is None else str(include))
    return manager


def _refuse_unknown(names: Iterable[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"--tasks: lm-eval has no {name}{nearest(name, _like(name, known))}")


def _like(name: str, known: list[str]) -> list[str]:
    """Some names to offer: lm-eval has thousands."""
    return [each for each in known if each[:2] == name[:2]] or ["hellaswag", "arc_challenge", "gsm8k", "mmlu"]


def _digest(include: Path | None) -> str | None:
    if include is None:
        return None
    if not include.is_dir():
        raise UsageError(f"--include {include}: is no folder; give one of task files")
    files = sorted(path for path in include.rglob("*") if path.is_file())
    return hashlib.sha256("".join(f"{path.relative_to(include)}\0{file_digest(path)}\n" for path in files).encode()).hexdigest()


def _evaluated(run: TaskRun, engine: str, model: Model, execution: Execution, manager: _Manager, batch_size: int) -> Mapping[str, object]:
    arguments: dict[str, object] = {"pretrained": str(model.folder), "dtype": run.dtype, "trust_remote_code": False}
    if engine == "vllm":
        arguments |= {"tensor_parallel_size": execution.tensor_parallel} | ({} if model.adapter is None else {"lora_local_path": str(model.adapter)})
    elif model.adapter is not None:
        arguments["peft"] = str(model.adapter)
    evaluator = installed("lm_eval.evaluator", "tasks")
    try:
        found = evaluator.simple_evaluate(
            model=ENGINES[engine],
            model_args=arguments,
            tasks=list(run.tasks),
            num_fewshot=run.few_shot,
            limit=run.limit,
            batch_size=batch_size,
            device=None if execution.device == "auto" else execution.device,
            apply_chat_template=run.chat,
            task_manager=manager,
        )
    except (OSError, ValueError) as error:
        raise DatasetError(f"tasks {', '.join(run.tasks)}: lm-eval stopped ({first_line(error)}); most tasks read the Hub") from error
    assert isinstance(found, dict)
    return found


def _grades(found: Mapping[str, object], model: str) -> Iterator[Grade]:
    samples = found["samples"]
    assert isinstance(samples, dict)
    for task, answers in samples.items():
        for answer in answers:
            for metric in answer["metrics"]:
                value = answer[metric]
                yield Grade(
                    task=task,
                    item=str(answer["doc_id"]),
                    sample=0,
                    part=0,
                    kind=None,
                    metric=f"{metric},{answer['filter']}",
                    value=float(value) if isinstance(value, int | float) else None,
                    question=str(answer["arguments"][0][0]),
                    answer=orjson.dumps(answer["filtered_resps"], default=str, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
                    prompt_id=None,
                    model=model,
                )


def _facts(found: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """`task metric,filter` and what lm-eval makes of it, its standard error among them."""
    results = found["results"]
    assert isinstance(results, dict)
    for task, metrics in results.items():
        for metric, value in metrics.items():
            if "," in metric and isinstance(value, int | float) and math.isfinite(value):
                yield f"{task} {metric}", float(value)
