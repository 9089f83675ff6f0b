"""A recipe as ordered steps, each with its fingerprint, known before anything is made."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel

from sgpo_data.errors import DatasetError, HubError, ModelError, RecipeError, SchemaError, StorageError
from sgpo_data.evaluation.options import Evaluate
from sgpo_data.evaluation.planning import planned_evaluation, planned_verdicts
from sgpo_data.evaluation.sets import SETS, QuestionSet, open_set
from sgpo_data.execution import Execution
from sgpo_data.loop.job import Job
from sgpo_data.names import GIVEN, HubRows, without_revision
from sgpo_data.paths import local_path
from sgpo_data.recipe.recipe import FIRST, ORIGIN, PREVIOUS, RECIPE, SELF, START, Phase, PhaseSource, Recipe
from sgpo_data.references.model import Model, find_model, model_folder, recorded_model
from sgpo_data.running.planning import planned
from sgpo_data.running.runner import find_input
from sgpo_data.sources.options import EvaluationReference, Source
from sgpo_data.sources.prompts import PromptsJob
from sgpo_data.sources.source import EvaluationSet, OpenedReference, OpenedSource, open_evaluation_sets, open_more, open_source
from sgpo_data.stages import ModelRole
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.order import model_roles
from sgpo_data.store.input import JobInput
from sgpo_data.store.manifest import ModelRecord
from sgpo_data.training.options import Train
from sgpo_data.training.planning import planned_training


@dataclass(frozen=True)
class Step:
    """One thing to be made, and where the recipe keeps it."""

    phase: str
    round: int
    stage: str
    """As on the command line; `source` for reading prompts, two words for a step of an evaluation."""
    key: str
    """Of the phase, that it stands under."""
    entry: BaseModel
    """What stands there, every default resolved."""
    job: Job
    folder: Path
    """In the store, named by its fingerprint."""
    link: Path
    """What the recipe calls it: `<root>/<recipe>/<phase>-<round>/<table or model>`; answers of an evaluation by whose they are."""


@dataclass
class ReferenceCache:
    """Models and sources that were identified already, which takes reading them once."""

    models: dict[str, Model] = field(default_factory=dict)
    sources: dict[tuple[str, str | None, str, str | None], OpenedSource] = field(default_factory=dict)
    further: dict[tuple[str, tuple[str, ...]], tuple[OpenedReference, ...]] = field(default_factory=dict)
    evaluation: dict[tuple[str, ...], tuple[EvaluationSet, ...]] = field(default_factory=dict)
    sets: dict[str, QuestionSet] = field(default_factory=dict)

    def model(self, reference: str, adapter: str | None = None) -> Model:
        """The model of this reference."""
        key = _key(reference) if adapter is None else f"{_key(reference)}+{_key(adapter)}"
        if key not in self.models:
            model = find_model(reference, adapter)
            self.models |= {key: model, model.record.location: model}
        return self.models[key]

    def source(self, reference: str, options: Source, store: Path) -> OpenedSource:
        """The source, to be read with these options; its evaluation sets are not opened."""
        key = _key(reference), options.config, options.split, options.revision
        if key not in self.sources:
            self.sources[key] = open_source(reference, options.model_copy(update={"decontaminate": (), "more": (), "share": None}), store=store)
        opened = self.sources[key]
        if (reference, options.more) not in self.further:
            self.further[reference, options.more] = open_more(options.more, opened, store)
        return replace(opened, source=options, more=self.further[reference, options.more])

    def evaluation_sets(self, entries: tuple[str, ...], store: Path) -> tuple[EvaluationSet, ...]:
        """The evaluation sets of these entries."""
        if entries not in self.evaluation:
            self.evaluation[entries] = open_evaluation_sets(entries, store)
        return self.evaluation[entries]

    def question_set(self, reference: str, execution: Execution) -> QuestionSet:
        """The questions of this set."""
        if reference not in self.sets:
            questions = open_set(reference, execution)
            self.sets |= {reference: questions, questions.place: questions}
        return self.sets[reference]


def plan_recipe(recipe: Recipe, execution: Execution, *, known: ReferenceCache | None = None) -> list[Step]:
    """Everything the recipe makes, each after what it is made of.

    Reads models and sources as far as their identity needs it; writes nothing but what it fetches into the store: an evaluation's set, files of a bucket.
    Raises RecipeError, DatasetError, ModelError, SchemaError, HubError or StorageError with the place in the recipe.
    """
    planner = _Planner(recipe, execution, known or ReferenceCache())
    for position, phase in enumerate(recipe.phases, 1):
        planner.add(phase, position)
    return planner.steps


class _Planner:
    def __init__(self, recipe: Recipe, execution: Execution, known: ReferenceCache) -> None:
        self.recipe, self.execution, self.known = recipe, execution, known
        self.steps: list[Step] = []
        self.of_phase: dict[str, Model] = {}
        self.of_identity: dict[str, Model] = {}
        with self._placed("model"):
            adapter = None if recipe.adapter is None else recipe.located(recipe.adapter)
            self.initial = self.last = self._seen(known.model(recipe.located(recipe.model), adapter))

    def add(self, phase: Phase, position: int) -> None:
        """Plans all rounds of a phase."""
        first = self.last
        made: list[JobInput] = []
        for number in range(1, phase.rounds + 1):
            start = self._start(phase, first)
            if not phase.evaluates_alone:
                made.append(self._stages(phase, position, number, start))
            out = start
            if phase.train is not None:
                self.last = out = self._train(phase, phase.train, position, number, start=start, first=first, inputs=made[-phase.data_rounds :])
            if phase.evaluate is not None:
                self._evaluate(phase, phase.evaluate, position, number, start=start, model=out)
        self.of_phase[phase.name] = self.last

    def _stages(self, phase: Phase, position: int, number: int, start: Model) -> JobInput:
        given = rewrites = self._input(phase, position, number)
        for stage in phase.stages:
            verdicts = self._verdicts(phase, phase.judge, position, number, rewrites) if phase.judge and isinstance(stage, Filter) else None
            with self._placed(f"phases.{position}.{stage.stage_name}"):
                model, reward_model, *_ = (*(self._model_of(role, phase, start, given) for role in model_roles(type(stage))), None, None)
                job = planned(stage, given, model=model, reward_model=reward_model, verdicts=verdicts)
            given = job.output(self._step(phase, number, stage.stage_name, job.options, job))
            if isinstance(stage, Improve):
                # What another scorer measures, no judge has to read again.
                rewrites = given
        return given

    def _verdicts(self, phase: Phase, judge: str, position: int, number: int, rewrites: JobInput) -> JobInput:
        """What the judge of the phase says of its rewrites: given, or to be asked for."""
        with self._placed(f"phases.{position}.judge"):
            if (given := self._given_verdicts(judge)) is not None:
                return given
            steps = planned_verdicts(phase.verdicts, rewrites, self._named(judge, {}), store=self.execution.store)
        for step in steps:
            folder = self._step(phase, number, step.command, steps[-1].job.options, step.job, link=step.link, key="verdicts")
        return steps[-1].job.output(folder)

    def _given_verdicts(self, judge: str) -> JobInput | None:
        root, reference = self.execution.root, self.recipe.located(judge)
        if judge in (RECIPE, *self.of_phase) or model_folder(reference, root) is not None:
            return None
        return find_input(reference, root) or find_input(str(root / judge), root)

    def _input(self, phase: Phase, position: int, number: int) -> JobInput:
        source = phase.source
        assert source is not None
        reference = self.recipe.located(source.path)
        with self._placed(f"phases.{position}.source.path"):
            given = find_input(reference, self.execution.root) or find_input(str(self.execution.root / source.path), self.execution.root)
            if given is not None:
                _refuse_options(phase, source)
                return given
            if phase.stages and "prompts" not in phase.stages[0].reads:
                raise DatasetError(f"{source.path}: no such dataset; {phase.stages[0].stage_name} reads {' or '.join(phase.stages[0].reads)}")
            sets = tuple(EvaluationReference.parsed(entry).moved(self.recipe.located) for entry in source.decontaminate)
            options = source.options(number, phase.prompts_per_round)
            more = tuple(entry.moved(self.recipe.located) for entry in options.further)
            opened = self.known.source(reference, options.model_copy(update={"decontaminate": sets, "more": more}), self.execution.store)
        with self._placed(f"phases.{position}.source.decontaminate"):
            job = PromptsJob(replace(opened, evaluation=self.known.evaluation_sets(sets, self.execution.store)))
        return job.output(self._step(phase, number, "source", _pinned(source, job.opened), job))

    def _train(self, phase: Phase, train: Train, position: int, number: int, *, start: Model, first: Model, inputs: list[JobInput]) -> Model:
        with self._placed(f"phases.{position}.train"):
            reference = self._reference(train.reference, start, first) if train.needs.compares else None
            allowed = tuple(name for word in train.allow_policies for name in self._policies(word, first, inputs[:-1]))
            options = train.model_copy(update={"allow_policies": tuple(dict.fromkeys(allowed))})
            job = planned_training(options, tuple(inputs), start, reference=reference)
            # What it allows is another model in each round.
            entry = train.model_copy(update={"learning_rate": job.train.learning_rate, "sft_weight": job.train.sft_weight})
        return self._seen(job.output(self._step(phase, number, "train", entry, job)))

    def _evaluate(self, phase: Phase, evaluate: Evaluate, position: int, number: int, *, start: Model, model: Model) -> None:
        with self._placed(f"phases.{position}.evaluate"):
            reference = evaluate.set if evaluate.set in SETS else self.recipe.located(evaluate.set)
            questions = self.known.question_set(reference, self.execution)
            judge = None if evaluate.judge is None else self._named(evaluate.judge, {})
            baseline = None if judge is None else self._baseline(evaluate.baseline, start)
            steps, entry = planned_evaluation(evaluate, questions, model, judge=judge, baseline=baseline, store=self.execution.store)
        for step in steps:
            self._step(phase, number, step.command, entry, step.job, link=step.link, key="evaluate")

    def _baseline(self, word: str, start: Model) -> Model | Path:
        file = local_path(self.recipe.located(word))
        return file if file.is_file() else self._named(word, {START: start})

    def _step(self, phase: Phase, number: int, stage: str, entry: BaseModel, job: Job, *, link: str | None = None, key: str | None = None) -> Path:
        folder = self.execution.store / job.name
        place = self.execution.root / self.recipe.name / f"{phase.name}-{number}" / (link or job.writes)
        self.steps.append(Step(phase.name, number, stage, key or stage, entry, job, folder, place))
        return folder

    def _start(self, phase: Phase, first: Model) -> Model:
        if phase.start_from == RECIPE:
            return self.initial
        return {PREVIOUS: self.last, FIRST: first, **self.of_phase}[phase.start_from]

    def _model_of(self, role: ModelRole, phase: Phase, start: Model, given: JobInput) -> Model | None:
        # A role that is no key of the phase is that of the model which the phase is about.
        word = getattr(phase, role.name, SELF)
        if role.unnamed == "none":
            return None if word is None else self.known.model(self.recipe.located(word))
        return self._origin(given.origin) if word == ORIGIN else self._named(word, {SELF: start})

    def _reference(self, word: str, start: Model, first: Model) -> Model:
        if word == ORIGIN:
            return self._origin(start.origin) or recorded_model(start.origin, flag="train.reference")
        return self._named(word, {START: start, FIRST: first})

    def _named(self, word: str, words: dict[str, Model]) -> Model:
        by_word = {RECIPE: self.initial, **words, **self.of_phase}
        return by_word[word] if word in by_word else self._seen(self.known.model(self.recipe.located(word)))

    def _origin(self, record: ModelRecord | None) -> Model | None:
        """The model of this record, which may still have to be trained; None leaves it to be found where the record says."""
        return None if record is None else self.of_identity.get(record.identity)

    def _policies(self, word: str, first: Model, before: list[JobInput]) -> list[str]:
        if word == GIVEN or ":" in word:
            return [word]
        if word == PREVIOUS:
            return [given.policy.identity for given in before if given.policy is not None]
        return [self._named(word, {FIRST: first}).record.identity]

    def _seen(self, model: Model) -> Model:
        self.of_identity[model.record.identity] = model
        return model

    @contextmanager
    def _placed(self, place: str) -> Iterator[None]:
        try:
            yield
        except (RecipeError, DatasetError, ModelError, SchemaError, HubError, StorageError) as error:
            raise type(error)(f"{self.recipe.path}: {place}: {error}") from error


def _pinned(source: PhaseSource, opened: OpenedSource) -> PhaseSource:
    """The source with its commit, and its evaluation sets with theirs; local paths as they are."""
    entries = map(EvaluationReference.parsed, source.decontaminate)
    sets = tuple(each.pinned if HubRows.parsed(each.opened.identity) else entry.moved(str) for entry, each in zip(entries, opened.evaluation, strict=True))
    # A slice of a round stands in what was opened, and its share in the recipe.
    further = zip(source.further, opened.more, strict=True)
    more = tuple(entry.pinned(hub.commit) if (hub := HubRows.parsed(each.opened.identity)) else entry.moved(str) for entry, each in further)
    hub = HubRows.parsed(opened.identity)
    where = {"path": without_revision(source.path), "revision": hub.commit} if hub else {}
    return source.model_copy(update={"decontaminate": sets, "more": more, **where})


def _refuse_options(phase: Phase, source: PhaseSource) -> None:
    given = [name for name, field in type(source).model_fields.items() if name not in ("path", "shuffle_seed") and getattr(source, name) != field.default]
    if phase.prompts_per_round is not None or given:
        key = "prompts_per_round" if phase.prompts_per_round is not None else f"source.{given[0]}"
        raise RecipeError(f"{source.path}: is a dataset that is read as it stands, so {key} cannot be followed; remove it, or give the raw source")


def _key(reference: str) -> str:
    path = local_path(reference)
    return str(path.resolve()) if path.exists() else reference
