"""score-ppl: the scorer measures how likely every answer is, a reward model how good, and words how far the texts are apart."""

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from sgpo_data.engines import Key, Likelihood, Rewarder, RewardRequest, Scorer, ScoreRequest
from sgpo_data.rows import Row
from sgpo_data.stages import ModelRole, ScoringStage, row_key
from sgpo_data.stages.improve.templates import Template, wording_of
from sgpo_data.text.measures import measures
from sgpo_data.text.wording import TemplateWording


class ScorePpl(ScoringStage):
    """Measure how likely each text is to one model: response, improved and reference; and the texts against each other.

    With a reward model, a transformers sequence classifier of one label, also how good response and improved are to it: filter's strategy margin
    reads that. It is loaded beside the scorer.
    """

    stage_name: ClassVar[str] = "score-ppl"
    revision: ClassVar[int] = 4
    reads: ClassVar[tuple[str, ...]] = ("improved",)
    makes: ClassVar[tuple[str, ...]] = ("scored",)
    outcome: ClassVar[str] = "CASE WHEN improved_nll IS NULL THEN 'unscored' ELSE 'scored' END"
    model_role: ClassVar[ModelRole] = ModelRole(
        "scorer", "--scorer", "Model folder, or org/name@revision; the one the lineage began with if not given.", unnamed="origin"
    )
    reward_role: ClassVar[ModelRole] = ModelRole(
        "reward_model",
        "--reward-model",
        "Sequence classifier that rewards answers, a folder or org/name@revision, for filter's strategy margin; none if not given.",
        unnamed="none",
    )

    def settled(self, row: Row, author: str) -> Row | None:
        """The finished row if it has no answer of a model: then nothing is measured, the reference neither."""
        return None if row["response"] is not None or row["improved"] is not None else _scored(row, {}, author, wording_of(()))

    def rows(self, rows: Iterable[Row], scorer: Scorer, author: str, templates: tuple[Template, ...] = ()) -> Iterator[Row]:
        """Every row with its likelihoods and text measures, in any order; without `templates`, residue is that of those that ship here."""
        wording = wording_of(templates)
        waiting: dict[Key, tuple[Row, dict[str, Likelihood]]] = {}

        def requests() -> Iterator[ScoreRequest]:
            for row in rows:
                waiting[row_key(row)] = (row, {})
                yield from _requests(row)

        for result in scorer.score(requests()):
            key, context = result.key[:2], result.key[2]
            row, found = waiting[key]
            found.update(zip(_answers(row, context), result.likelihoods, strict=True))
            if len(found) == sum(len(request.answers) for request in _requests(row)):
                del waiting[key]
                yield _scored(row, found, author, wording)

    def rewarded(self, rows: Iterable[Row], rewarder: Rewarder, author: str) -> Iterator[Row]:
        """Every row with its rewards, in any order; `author` is the identity of the reward model."""
        waiting: dict[Key, Row] = {}

        def requests() -> Iterator[RewardRequest]:
            for row in rows:
                waiting[row_key(row)] = row
                yield RewardRequest(row_key(row), row["messages"], tuple(_rewarded_texts(row).values()))

        for result in rewarder.reward(requests()):
            row = waiting.pop(result.key)
            found = dict(zip(_rewarded_texts(row), result.rewards, strict=True))
            yield {**row, "response_reward": found.get("response"), "improved_reward": found.get("improved"), "reward_model": author}


def _rewarded_texts(row: Row) -> dict[str, str]:
    """The texts to be rewarded, by the name of their column."""
    return {name: text for name, text in (("response", row["response"]), ("improved", row["improved"])) if text is not None}


def _answers(row: Row, context: str) -> dict[str, str]:
    """The texts to be scored in this context, by the column their likelihood goes to."""
    if context == "improver":
        texts = {"improved_nll_given_draft": row["improved"]}
    else:
        texts = {"response_nll": row["response"], "improved_nll": row["improved"], "reference_nll": row["reference"]}
    return {column: text for column, text in texts.items() if text is not None}


def _requests(row: Row) -> Iterator[ScoreRequest]:
    for context, messages in (("policy", row["messages"]), ("improver", row["improver_prompt"])):
        answers = _answers(row, context)
        if messages is not None and answers:
            cut = frozenset(place for place, column in enumerate(answers) if _finish(row, column) == "length")
            yield ScoreRequest((*row_key(row), context), messages, tuple(answers.values()), cut)


def _finish(row: Row, column: str) -> str | None:
    """How the text of this likelihood ended; a reference is whole."""
    return None if column == "reference_nll" else row["finish"] if column == "response_nll" else row["improved_finish"]


def _scored(row: Row, found: Mapping[str, Likelihood], scorer: str, wording: TemplateWording) -> Row:
    def nll(column: str) -> float | None:
        return found[column].nll if column in found else None

    def tokens(column: str) -> int | None:
        return found[column].tokens if column in found else None

    return {
        **row,
        "response_nll": nll("response_nll"),
        "response_tokens": tokens("response_nll"),
        "improved_nll": nll("improved_nll"),
        "improved_tokens": tokens("improved_nll"),
        "reference_nll": nll("reference_nll"),
        "reference_tokens": tokens("reference_nll"),
        "improved_nll_given_draft": nll("improved_nll_given_draft"),
        "scorer": scorer,
        **measures(row["response"], row["improved"], row["reference"], prompt=[turn["content"] for turn in row["messages"]], wording=wording),
        "response_reward": None,
        "improved_reward": None,
        "reward_model": None,
    }
