"""The evaluation of a model as steps, each with its fingerprint, known before anything is asked."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from sgpo_data.errors import RecipeError
from sgpo_data.evaluation.answers import questions_identity, write_questions
from sgpo_data.evaluation.comparisons import Pairing, write_comparisons
from sgpo_data.evaluation.ifeval import ifeval, ifeval_identity
from sgpo_data.evaluation.jobs import AskingJob, ProgramJob
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.evaluation.options import Evaluate, Questions
from sgpo_data.evaluation.recorded import AnswersOf, Recorded, recorded, rewritten, rewritten_of
from sgpo_data.evaluation.sets import QuestionSet
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model
from sgpo_data.references.run import ANSWERS, BASELINE_ANSWERS, QUESTIONS, REWRITES, VERDICTS
from sgpo_data.running.planning import planned
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import Dataset, open_dataset
from sgpo_data.store.input import JobInput
from sgpo_data.store.manifest import Identity


@dataclass(frozen=True)
class EvaluationStep:
    """One table of an evaluation."""

    command: str
    """As on the command line; `evaluate questions` and `evaluate comparisons` are read by the command that follows."""
    link: str
    job: ProgramJob | AskingJob


class AnswerFlags(Questions, Seed):
    """Flags of `sgpo evaluate answers`."""


class _NoFlags(BaseModel):
    """Nothing to be said."""


@dataclass(frozen=True)
class _Side:
    """Answers that are there or will be."""

    answers: AnswersOf
    input: JobInput


def planned_evaluation(
    options: Evaluate, questions: QuestionSet, model: Model, *, judge: Model | None, baseline: Model | Path | None, store: Path
) -> tuple[list[EvaluationStep], Evaluate]:
    """The steps in order, and the options with nothing left to be guessed.

    `baseline` is a model that answers too, or an official file of answers. Raises RecipeError if model and baseline are the same, or if the set is asked in
    several turns; MissingExtraError if the checkers of IFEval are not installed; what planning a seed raises.
    """
    if any(len(each.turns) > 1 for each in questions.questions):
        raise RecipeError(f"set: {questions.place} is asked in several turns, and a phase asks one; take sgpo evaluate answers, or another set")
    steps = [_questions(questions)]
    given = steps[0].job.output(store / steps[0].job.name)
    ours = _answers(options, questions, given, model, ANSWERS)
    steps.append(ours)
    seed = ours.job.job.stage if isinstance(ours.job, AskingJob) else options.answers
    whole = options.model_copy(update={"answers": seed, "set": questions.place if "://" in questions.place else options.set})
    side = _made(ours, model, store)
    if questions.layout == "ifeval":
        steps.append(_grades(questions, side, model))
    if judge is None or baseline is None:
        return steps, whole
    if isinstance(baseline, Path):
        other = _recorded(baseline, store)
    elif baseline.record.identity == model.record.identity:
        raise RecipeError(f"baseline: is the model that is evaluated, {model.record.identity}; name another one")
    else:
        steps.append(_answers(options, questions, given, baseline, BASELINE_ANSWERS))
        other = _made(steps[-1], baseline, store)
    pairing = Pairing(side.answers, other.answers)
    compared = ProgramJob(
        pairing.identity,
        "comparisons",
        (side.input, other.input),
        _NoFlags(),
        inlined=True,
        rows=len(questions.questions),
        work=lambda folder, execution: write_comparisons(pairing, *_both(side, other, execution.root), folder),
    )
    comparisons, verdicts = _judged(compared, options.verdicts, judge, store, links=("comparisons", "evaluations"))
    judging = verdicts.job.job.stage if isinstance(verdicts.job, AskingJob) else options.verdicts
    return [*steps, comparisons, verdicts], whole.model_copy(update={"verdicts": judging})


def _questions(questions: QuestionSet) -> EvaluationStep:
    identity = questions_identity(questions, turn=0, before=())
    job = ProgramJob(
        identity,
        "prompts",
        (),
        Questions(set=questions.place),
        inlined=True,
        rows=len(questions.questions),
        work=lambda folder, _: write_questions(questions, identity, folder),
    )
    return EvaluationStep("evaluate questions", QUESTIONS, job)


def _answers(options: Evaluate, questions: QuestionSet, given: JobInput, model: Model, link: str) -> EvaluationStep:
    job = planned(options.answers, given, model=model)
    flags = AnswerFlags.model_validate({**dict(job.stage), "set": questions.place})
    return EvaluationStep("evaluate answers", link, AskingJob(job, flags, (("", model),)))


def _made(step: EvaluationStep, model: Model, store: Path) -> _Side:
    output = step.job.output(store / step.job.name)
    return _Side(AnswersOf(model.record.identity, output.record), output)


def _recorded(path: Path, store: Path) -> _Side:
    found = recorded(str(path), store.parent)
    return _Side(found, JobInput(found.record, path, None, None))


def _grades(questions: QuestionSet, side: _Side, model: Model) -> EvaluationStep:
    identity = ifeval_identity(questions, side.input.record, model.record.identity)
    job = ProgramJob(
        identity,
        "grades",
        (side.input,),
        Questions(set=questions.place),
        inlined=False,
        rows=None,
        work=lambda folder, execution: ifeval(questions, recorded(side.answers.place, execution.root), execution, folder),
    )
    return EvaluationStep("evaluate ifeval", "grades", job)


def planned_verdicts(judge: Judge, rows: JobInput, model: Model, *, store: Path) -> tuple[EvaluationStep, EvaluationStep]:
    """The steps in which a model judges the rewrites of a dataset, which need not be made yet, against their responses.

    Raises what planning a stage raises.
    """
    pairing = Pairing(*rewritten_of(rows.record))
    compared = ProgramJob(
        pairing.identity,
        "comparisons",
        (rows,),
        _NoFlags(),
        inlined=True,
        rows=None,
        work=lambda folder, _: write_comparisons(pairing, *rewritten(open_dataset(rows.folder), rows.record.reference), folder),
        by_row=True,
    )
    return _judged(compared, judge, model, store, links=(REWRITES, VERDICTS))


def recorded_comparisons(identity: Identity, inputs: tuple[JobInput, ...]) -> ProgramJob:
    """The comparisons of a manifest, to be named by the command of their judge and not to be made here."""

    def work(folder: Path, execution: Execution) -> Dataset:
        raise AssertionError(folder)

    return ProgramJob(identity, "comparisons", inputs, _NoFlags(), inlined=True, rows=None, work=work)


def _judged(compared: ProgramJob, judge: Judge, model: Model, store: Path, *, links: tuple[str, str]) -> tuple[EvaluationStep, EvaluationStep]:
    job = planned(judge, compared.output(store / compared.name), model=model)
    verdicts = AskingJob(job, job.stage, job.models)
    return EvaluationStep("evaluate comparisons", links[0], compared), EvaluationStep("evaluate judge", links[1], verdicts)


def _both(ours: _Side, theirs: _Side, root: Path) -> tuple[Recorded, Recorded]:
    return recorded(ours.answers.place, root), recorded(theirs.answers.place, root)
