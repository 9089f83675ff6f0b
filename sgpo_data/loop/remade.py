"""The steps that made a dataset, read back from the manifests of it and of all that came before it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from sgpo_data.errors import DatasetError, got
from sgpo_data.evaluation.jobs import AskingJob
from sgpo_data.evaluation.judge.prompt import SHIPPED, JudgePrompt, load_prompt
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.evaluation.planning import recorded_comparisons
from sgpo_data.evaluation.votes import PEOPLE
from sgpo_data.execution import Execution
from sgpo_data.loop.job import Job
from sgpo_data.loop.plan import Step
from sgpo_data.names import HubRows, TrainedModel, endpoint_name
from sgpo_data.references.model import Model
from sgpo_data.running.job import StageJob
from sgpo_data.running.planning import settled_job
from sgpo_data.sources.options import EvaluationReference, Source, SourceReference, option_text
from sgpo_data.sources.prompts import PromptsJob
from sgpo_data.sources.record import Record
from sgpo_data.sources.source import EvaluationSet, OpenedReference, OpenedSource
from sgpo_data.stages import Stage, TableStage
from sgpo_data.stages.improve.templates import Template, load_template
from sgpo_data.stages.order import STAGES
from sgpo_data.store.input import JobInput
from sgpo_data.store.manifest import Identity, InputRecord, Manifest, ModelManifest, ModelRecord
from sgpo_data.training.job import TrainJob
from sgpo_data.training.options import Train

PHASE = "all"
T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class _Recorded:
    """Rows of which only the identity is known here."""

    identity: str

    def records(self, columns: Collection[str]) -> Iterator[Record]:
        """Not asked for: what is read back is printed, not run."""
        raise AssertionError(columns)


def remade(datasets: Sequence[Manifest], models: Sequence[ModelManifest], execution: Execution) -> list[Step]:
    """The steps in an order in which each comes after what it is made of; votes of people are no step, they are read where they lie.

    Raises DatasetError if a manifest holds settings that this version of sgpo-data does not know.
    """
    return _Remaking(datasets, models, execution).steps


class _Remaking:
    def __init__(self, datasets: Sequence[Manifest], models: Sequence[ModelManifest], execution: Execution) -> None:
        self.store = execution.store
        self.of_dataset = {each.fingerprint: each for each in datasets}
        self.of_model = {str(TrainedModel.made(each.fingerprint)): each for each in models}
        self.given: dict[str, JobInput] = {}
        self.models: dict[str, Model] = {}
        self.steps: list[Step] = []
        for fingerprint, each in self.of_dataset.items():
            if each.identity.stage != PEOPLE:
                self._dataset(fingerprint)

    def _dataset(self, fingerprint: str) -> JobInput:
        """The dataset of this fingerprint, with its steps added unless they are there."""
        if fingerprint not in self.given:
            identity = self.of_dataset[fingerprint].identity
            self.given[fingerprint] = self._made(identity)
        return self.given[fingerprint]

    def _made(self, identity: Identity) -> JobInput:
        if identity.stage == "source":
            prompts = self._prompts(identity)
            return prompts.output(self._added(identity.stage, prompts))
        if identity.stage == "comparisons":
            compared = recorded_comparisons(identity, tuple(map(self._input, identity.inputs)))
            return compared.output(self._added("evaluate comparisons", compared))
        job = self._job(identity)
        if isinstance(job.stage, Judge):
            return job.output(self._added("evaluate judge", AskingJob(job, job.stage, job.models)))
        return job.output(self._added(identity.stage, job))

    def _prompts(self, identity: Identity) -> PromptsJob:
        if not identity.inputs:
            raise _unknown(identity, "inputs", "prompts are read from one at least", 0)
        origin, *records = identity.inputs
        fields = dict(_fields(identity))
        read = fields.pop("decontaminate", [])
        more = fields.pop("more", [])
        if not isinstance(more, list):
            raise _unknown(identity, "more", "is no list", more)
        if not isinstance(read, list) or len(more) + len(read) != len(records):
            raise _unknown(identity, "decontaminate", f"is not the list of its {len(records) - len(more)} evaluation sets", read)
        others = tuple(_further(record, each, identity) for record, each in zip(records[: len(more)], more, strict=True))
        records = records[len(more) :]
        sets = tuple(_evaluation_set(record, each, identity) for record, each in zip(records, read, strict=True))
        where = _on_hub(origin)
        source = _validated(
            Source, {**fields, **where, "decontaminate": tuple(each.pinned for each in sets), "more": tuple(each.pinned for each in others)}, identity
        )
        return PromptsJob(OpenedSource(_reference(origin), source, _Recorded(origin.fingerprint), sets, others))

    def _job(self, identity: Identity) -> StageJob:
        kinds: tuple[type[Stage], ...] = (*STAGES, Judge)
        kind = next((stage for stage in kinds if stage.stage_name == identity.stage), None)
        if kind is None:
            raise DatasetError(f"{identity.made_name}: no stage of this version of sgpo-data")
        fields = {name: _template(name, value) for name, value in _fields(identity).items() if name in kind.model_fields}
        verdicts = len(identity.inputs) == 2 and issubclass(kind, TableStage) and kind.takes_verdicts
        if len(identity.inputs) != 1 + verdicts:
            raise _unknown(identity, "inputs", "a stage has one", len(identity.inputs))
        given, *beside = map(self._input, identity.inputs)
        models = {name: self._model(each) for name, each in identity.models.items()}
        try:
            return settled_job(_validated(kind, fields, identity), given, models, verdicts=replace(beside[0], flag="--verdicts") if beside else None)
        except DatasetError as error:
            raise DatasetError(f"{identity.made_name}: {error}; this version of sgpo-data does not know it") from error

    def _input(self, record: InputRecord) -> JobInput:
        if record.fingerprint in self.of_dataset and self.of_dataset[record.fingerprint].identity.stage != PEOPLE:
            return self._dataset(record.fingerprint)
        return JobInput(record, Path(record.reference), None, None)

    def _model(self, record: ModelRecord) -> Model:
        if record.identity not in self.models:
            manifest = self.of_model.get(record.identity)
            self.models[record.identity] = self._foreign(record) if manifest is None else self._trained(manifest)
        return self.models[record.identity]

    def _trained(self, manifest: ModelManifest) -> Model:
        identity = manifest.identity
        train = _validated(Train, dict(_fields(identity)), identity)
        inputs = tuple(self._input(record) for record in identity.inputs)
        roles = {role: self._model(record) for role, record in identity.models.items()}
        if "start" not in roles:
            raise _unknown(identity, "models", "there is no start", list(roles))
        job = TrainJob(train, inputs, roles["start"], roles.get("reference"))
        return job.output(self._added("train", job))

    @staticmethod
    def _foreign(record: ModelRecord) -> Model:
        base, adapter = Path(record.place.base), record.place.adapter
        return Model(base, None if adapter is None else Path(adapter), record, record, config=base, endpoint=endpoint_name(record.place.base))

    def _added(self, stage: str, job: Job) -> Path:
        folder = self.store / job.name
        self.steps.append(Step(PHASE, 1, stage, stage, job.options, job, folder, folder / job.writes))
        return folder


def _evaluation_set(record: InputRecord, read: JsonValue, identity: Identity) -> EvaluationSet:
    """An evaluation set as the entry that reads it again."""
    if not isinstance(read, dict) or not {"name", "shape", "columns"} <= read.keys():
        raise _unknown(identity, "decontaminate", "an evaluation set has name, shape and columns", read)
    columns = read["columns"]
    if not isinstance(columns, list):
        raise _unknown(identity, "decontaminate.columns", "is no list", columns)
    options = {"name": str(read["name"]), **_on_hub(record)}
    options |= {"shape": str(read["shape"])} if read["shape"] != "auto" else {}
    options |= {"columns": ",".join(map(str, columns))} if columns else {}
    entry = EvaluationReference(_reference(record), options)
    fields = {**_on_hub(record), "shape": read["shape"], "columns": columns}
    return EvaluationSet(options["name"], OpenedSource(entry.path, _validated(Source, fields, identity), _Recorded(record.fingerprint)), entry)


def _further(record: InputRecord, read: JsonValue, identity: Identity) -> OpenedReference:
    """A further source as the entry that reads it again."""
    if not isinstance(read, dict) or "name" not in read:
        raise _unknown(identity, "more", "a further source has a name and options", read)
    options = _on_hub(record) | {key: option_text(value) for key, value in read.items() if value not in (None, [], "auto", 0)}
    entry = SourceReference(_reference(record), options)
    try:
        source = entry.source
    except ValueError as error:
        raise _unknown(identity, "more", "is no entry", entry.moved(str)) from error
    return OpenedReference(str(read["name"]), OpenedSource(entry.path, source, _Recorded(record.fingerprint)), entry)


def _on_hub(record: InputRecord) -> dict[str, str]:
    """The options that find a Hub dataset again; none for anything else."""
    hub = HubRows.parsed(record.fingerprint)
    if hub is None:
        return {}
    config = {} if hub.config == "default" else {"config": hub.config}
    return {**config, "split": hub.split, "revision": hub.commit}


def _reference(record: InputRecord) -> str:
    hub = HubRows.parsed(record.fingerprint)
    return record.reference if hub is None else hub.name


def _fields(identity: Identity) -> Mapping[str, JsonValue]:
    if not isinstance(identity.fields, dict):
        raise _unknown(identity, "fields", "is no table", identity.fields)
    return identity.fields


def _unknown(identity: Identity, place: str, what: str, value: JsonValue) -> DatasetError:
    return DatasetError(f"{identity.made_name}: {place}: {what} {got(value)}; this version of sgpo-data does not know it")


def _template(name: str, value: JsonValue) -> object:
    """A template from its text in a manifest, by the name of the shipped one if the texts are equal."""
    if name == "prompt" and isinstance(value, str):
        return next((prompt for prompt in map(load_prompt, SHIPPED) if prompt.text == value), JudgePrompt("recorded", value))
    if not name.endswith("_template") or not isinstance(value, str):
        return value
    shipped = load_template(name.removesuffix("_template"))
    return shipped if shipped.text == value else Template(name, value)


def _validated(kind: type[T], fields: Mapping[str, object], identity: Identity) -> T:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DatasetError(f"{identity.made_name}: {place}: {first['msg']}; this version of sgpo-data does not know it") from error
