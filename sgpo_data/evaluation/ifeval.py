"""IFEval: which instructions of a prompt an answer follows, by the checkers that its authors published, as lm-eval carries them."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

from pydantic import JsonValue

from sgpo_data.errors import DatasetError, MissingExtraError, ModelError, SchemaError, first_line, got
from sgpo_data.evaluation.grades import Grade, Graded, Share, graded_dataset, grades_folder, share
from sgpo_data.evaluation.recorded import Recorded
from sgpo_data.evaluation.sets import Question, QuestionSet
from sgpo_data.evaluation.statistics import installed
from sgpo_data.execution import Execution
from sgpo_data.rows import Message
from sgpo_data.schema import schema
from sgpo_data.sources.source import prompt_id
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import Identity, InputRecord

REVISION = 1
"""Raised when the same answers begin to give other grades."""
METRICS = ("strict", "loose")
CHECKERS = "lm_eval.tasks.ifeval"
SENTENCES = "tokenizers/punkt_tab"


@dataclass(frozen=True)
class IfevalResult:
    """The four numbers of the paper (arXiv 2311.07911), and those of each kind of instruction, by metric."""

    prompts: Mapping[str, Share]
    """Answers that follow all instructions."""
    instructions: Mapping[str, Share]
    kinds: Mapping[str, Mapping[str, Share]]
    """By kind of instruction, by metric."""


@dataclass(frozen=True)
class _Asked:
    """What a checker reads of a question."""

    key: str
    instruction_id_list: list[str]
    prompt: str
    kwargs: list[dict[str, object]]


def ifeval(questions: QuestionSet, answers: Recorded, execution: Execution, folder: Path | None = None) -> Dataset:
    """The grades of these answers, instruction by instruction; made once.

    Raises SchemaError if the set is not IFEval's, DatasetError if a question is not among the answers, MissingExtraError or ModelError if a checker or
    what it reads is not installed.
    """
    if questions.layout != "ifeval":
        raise SchemaError(f"{questions.place}: is a set of {questions.layout}; give the questions of IFEval, which have instruction_id_list and kwargs")
    checkers = _checkers()
    asked = [_asked(question, questions.place) for question in questions.questions]
    identity = ifeval_identity(questions, answers.record, answers.name)
    return graded_dataset(identity, grades_folder(identity, execution, folder), lambda: Graded(list(_grades(checkers, asked, answers)), {}, exact=True))


def ifeval_identity(questions: QuestionSet, answers: InputRecord, model: str) -> Identity:
    """All that decides the grades of these answers of this model.

    Raises MissingExtraError if the checkers are not installed.
    """
    try:
        checkers = f"lm-eval {metadata.version('lm-eval')}"
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError("ifeval", "lm-eval") from error
    records = (answers, InputRecord(reference=questions.place, table=None, fingerprint=f"file:{questions.digest}"))
    # The checkers of another version may find otherwise.
    fields: dict[str, JsonValue] = {"checkers": checkers, "model": model}
    return Identity(stage="ifeval", revision=REVISION, schema_version=schema("grades").version, fields=fields, inputs=records, models={})


def ifeval_result(dataset: Dataset) -> IfevalResult:
    """The numbers of the grades."""
    rows = dataset.scan().select("item", "sample", "kind", "metric", "value").collect().iter_rows()
    parts: dict[str, dict[tuple[str, int], list[tuple[str, bool]]]] = {metric: {} for metric in METRICS}
    for item, sample, kind, metric, value in rows:
        parts[metric].setdefault((item, sample), []).append((kind, value == 1))
    kinds = sorted({kind for each in parts["strict"].values() for kind, _ in each})
    return IfevalResult(
        prompts={metric: share([[all(met for _, met in each)] for each in parts[metric].values()]) for metric in METRICS},
        instructions={metric: share([[met for _, met in each] for each in parts[metric].values()]) for metric in METRICS},
        kinds={
            kind: {metric: share([of for each in parts[metric].values() if (of := [met for name, met in each if name == kind])]) for metric in METRICS}
            for kind in kinds
        },
    )


def _checkers() -> ModuleType:
    nltk, langdetect = installed("nltk", "ifeval"), installed("langdetect", "ifeval")
    try:
        nltk.data.find(SENTENCES)
    except LookupError as error:
        # Looked for here, since the checkers would fetch it without a word.
        raise ModelError("punkt_tab: the sentence model of nltk is not on this machine; run: python -m nltk.downloader punkt_tab") from error
    # It guesses a language by chance otherwise.
    langdetect.DetectorFactory.seed = 0
    return installed(f"{CHECKERS}.utils", "ifeval")


def _asked(question: Question, place: str) -> _Asked:
    names, values = question.row.get("instruction_id_list"), question.row.get("kwargs")
    known = installed(f"{CHECKERS}.instructions_registry", "ifeval").INSTRUCTION_DICT
    if not isinstance(names, list) or not names or not isinstance(values, list) or len(names) != len(values):
        raise SchemaError(f"{place}: question {question.id}: instruction_id_list and kwargs are no two lists of the same length {got(names)}")
    strange = next((name for name in names if name not in known), None)
    if strange is not None:
        raise SchemaError(f"{place}: question {question.id}: no checker for the instruction {strange}; lm-eval {metadata.version('lm-eval')} has {len(known)}")
    return _Asked(question.id, [str(name) for name in names], question.turns[0], [dict(value) if isinstance(value, dict) else {} for value in values])


def _grades(checkers: ModuleType, asked: Sequence[_Asked], answers: Recorded) -> Iterator[Grade]:
    by_prompt: dict[str, list[int]] = {}
    for name, sample in answers.by_key:
        by_prompt.setdefault(name, []).append(sample)
    missing = [each for each in asked if _prompt(each) not in by_prompt]
    if missing:
        raise DatasetError(
            f"{answers.record.reference}: {len(missing)} of {len(asked)} questions of IFEval are not in it, the first: {missing[0].key}; "
            "answer them with sgpo evaluate answers --set ifeval"
        )
    for each in asked:
        for sample in sorted(by_prompt[_prompt(each)]):
            yield from _of_one(checkers, each, _prompt(each), sample, answers)


@contextmanager
def _drawn_alike(key: str) -> Iterator[None]:
    """What a checker draws by chance is the same for the same question: one that asks for the letter # (1122) is checked for a letter that is drawn."""
    state = random.getstate()
    random.seed(f"ifeval/{key}")
    try:
        yield
    finally:
        random.setstate(state)


def _prompt(asked: _Asked) -> str:
    return prompt_id([Message(role="user", content=asked.prompt)])


def _of_one(checkers: ModuleType, asked: _Asked, prompt: str, sample: int, answers: Recorded) -> Iterator[Grade]:
    text = answers.by_key[prompt, sample].text
    for metric in METRICS:
        try:
            with _drawn_alike(asked.key):
                followed = getattr(checkers, f"test_instruction_following_{metric}")(asked, text or "").follow_instruction_list
        except (ValueError, TypeError, KeyError) as error:
            raise SchemaError(f"question {asked.key}: its kwargs are not what its checker takes ({first_line(error)}); mend the set") from error
        for part, (kind, met) in enumerate(zip(asked.instruction_id_list, followed, strict=True)):
            yield Grade(
                task="ifeval",
                item=asked.key,
                sample=sample,
                part=part,
                kind=kind,
                metric=metric,
                value=float(met),
                question=asked.prompt,
                answer=text,
                prompt_id=prompt,
                model=answers.name,
            )
