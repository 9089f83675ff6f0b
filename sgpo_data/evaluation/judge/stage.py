"""judge: a model says which of two answers is better, each pair in both orders."""

from collections.abc import Iterator
from typing import ClassVar, NotRequired, TypedDict, cast

from pydantic import Field, JsonValue

from sgpo_data.engines import GenerateRequest, Generation, Sampling
from sgpo_data.evaluation.judge.prompt import JudgePrompt, load_prompt
from sgpo_data.evaluation.judge.verdict import NOTHING, Reading, Reply, Verdict, read_grade, read_label, read_probabilities
from sgpo_data.rows import Finish, Message, Row
from sgpo_data.stages import ENGINE_MODEL, GeneratingStage, ModelRole, row_key, row_seed

LABELS = ("x", "y")
"""What the prompt `label` calls the two models."""


class Comparison(TypedDict):
    """A row of `comparisons`, and of `evaluations` with what is not required."""

    prompt_id: str
    sample: int
    messages: list[Message]
    question: str
    category: str | None
    first: str
    second: str
    first_answer: str
    second_answer: str
    judge: NotRequired[str]
    judgement: NotRequired[str | None]
    judgement_finish: NotRequired[Finish]
    first_probability: NotRequired[float | None]
    label_probability: NotRequired[float | None]
    verdict: NotRequired[Verdict | None]
    first_score: NotRequired[float | None]


class Judge(GeneratingStage):
    """Say which of two answers to the same prompt is better: each pair in both orders, one row per verdict."""

    stage_name: ClassVar[str] = "judge"
    revision: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("comparisons",)
    outcome: ClassVar[str] = (
        "CASE WHEN verdict IS NOT NULL THEN verdict WHEN judgement_finish IN ('too_long', 'refused', 'timeout') THEN judgement_finish ELSE 'unparsed' END"
    )
    model_role: ClassVar[ModelRole] = ModelRole("judge", "--judge", f"{ENGINE_MODEL}.", unnamed="none")

    prompt: JudgePrompt = Field(load_prompt("label"), description="What the judge is asked: label, grade, or a file.")
    reading: Reading = Field("label", description="How the verdict is read: label, from the probabilities of two names; grade, from [[A>B]] in the text.")
    labels: tuple[str, str] = Field(LABELS, description="What the prompt calls the first and the second model, where the verdict is a label.")
    least_probability: float = Field(0.1, ge=0, le=1, description="Probability that both labels need together to be a verdict.")
    sampling: Sampling = Sampling(temperature=0, top_p=1, max_tokens=16)

    @property
    def writes(self) -> str:
        """The table it makes."""
        return "evaluations"

    def rows_made(self, rows: int) -> int:
        """Two for each: one per order."""
        return 2 * rows

    def identity(self) -> JsonValue:
        """The fields, with the text of the prompt; what its file is called does not count."""
        return {**self.model_dump(mode="json"), "prompt": self.prompt.text}

    def items(self, row: Row) -> Iterator[Row]:
        """Both orders."""
        given = cast(Comparison, row)
        yield cast(Row, {**given, "sample": given["sample"] * 2})
        turned = {"first": given["second"], "second": given["first"], "first_answer": given["second_answer"], "second_answer": given["first_answer"]}
        yield cast(Row, {**given, **turned, "sample": given["sample"] * 2 + 1})

    def request(self, row: Row) -> GenerateRequest:
        """The prompt with both answers; no answer in time is a verdict that is missing, and stops no other."""
        key, given = row_key(row), cast(Comparison, row)
        messages = self.prompt.render(given["messages"], first_answer=given["first_answer"], second_answer=given["second_answer"])
        labels = self.labels if self.reading == "label" else ()
        seed = row_seed(self.sampling.seed, self.stage_name, key)
        return GenerateRequest(key, messages, seed, self.sampling, labels=labels, may_time_out=True)

    def answered(self, row: Row, answer: Generation, author: str) -> Row:
        """The row with the verdict; an answer that was cut, or says none, is none."""
        reply = self._read(answer)
        own = {
            "judge": author,
            "judgement": answer.text,
            "judgement_finish": answer.finish,
            "first_probability": reply.first_probability,
            "label_probability": reply.label_probability,
            "verdict": reply.verdict,
            "first_score": reply.first_score,
        }
        return cast(Row, {**row, **own})

    def _read(self, answer: Generation) -> Reply:
        if answer.text is None:
            return NOTHING
        if self.reading == "grade":
            return read_grade(answer.text)
        if answer.labels is None:
            return read_label(answer.text, self.labels)
        first, second = answer.labels
        return read_probabilities(first, second, least=self.least_probability)
