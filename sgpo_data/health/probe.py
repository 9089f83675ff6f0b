"""What a model makes of pairs and held-out prompts: the likelihood of answers, and answers of its own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sgpo_data.engines import GenerateRequest, Sampling, ScoreRequest
from sgpo_data.engines.loading import WeightsLoading, weights_loading
from sgpo_data.engines.opening import scorer_of
from sgpo_data.references.model import Model
from sgpo_data.rows import Message
from sgpo_data.running.engines import Engines
from sgpo_data.stages import row_seed
from sgpo_data.store.guard import SampledAnswers
from sgpo_data.text.measures import repeats
from sgpo_data.text.words import words

LONGEST = 256
"""Tokens of an answer that is sampled here, at most: enough for lengths and loops to show."""

Conversation = tuple[list[Message], tuple[str, ...]]
AnswerNll = tuple[float, int]
"""Nats and tokens."""


@dataclass(frozen=True)
class HeldOutPrompt:
    """A prompt that no training has seen."""

    prompt_id: str
    messages: list[Message]
    reference: str | None


@dataclass(frozen=True)
class ModelAnswer:
    """One sampled answer."""

    text: str
    tokens: int
    cut: bool


@dataclass(frozen=True)
class Probe:
    """Asks one model after another, each loaded once."""

    engines: Engines
    sampling: Sampling

    def likelihoods(self, model: Model, rows: Sequence[Conversation]) -> list[tuple[AnswerNll, ...]]:
        """Of every answer; a row that does not fit the context counts no nats and no token."""
        scorer = scorer_of(self.engines.opened(probe_loading(model), model))
        requests = (ScoreRequest((str(number), 0, ""), messages, answers) for number, (messages, answers) in enumerate(rows))
        likelihoods: Mapping[int, tuple[AnswerNll, ...]] = {
            int(scored.key[0]): tuple((each.nll, each.tokens) for each in scored.likelihoods if each.nll is not None) for scored in scorer.score(requests)
        }
        return [likelihoods[at] if len(likelihoods[at]) == len(answers) else ((0.0, 0),) * len(answers) for at, (_, answers) in enumerate(rows)]

    def answers(self, model: Model, prompts: Sequence[HeldOutPrompt]) -> dict[str, ModelAnswer]:
        """One to each prompt, by its id; a prompt that cannot be answered is left out."""
        sampling = self.sampling.model_copy(update={"max_tokens": min(self.sampling.max_tokens, LONGEST)})
        requests = [GenerateRequest((each.prompt_id, 0), each.messages, row_seed(sampling.seed, "guard", (each.prompt_id, 0)), sampling) for each in prompts]
        results = self.engines.opened(probe_loading(model), model).generate(requests)
        return {result.key[0]: ModelAnswer(result.text, result.tokens or 0, result.finish == "length") for result in results if result.text is not None}


def sampled_sums(answers: Iterable[ModelAnswer]) -> SampledAnswers:
    """Lengths and repetition of some answers."""
    both = [(answer, words(answer.text)) for answer in answers]
    return SampledAnswers(
        answers=len(both),
        tokens=sum(answer.tokens for answer, _ in both),
        grams=sum(max(len(text) - 3, 0) for _, text in both),
        repeated_grams=sum(repeats(text) for _, text in both),
        cut=sum(answer.cut for answer, _ in both),
    )


def probe_loading(model: Model) -> WeightsLoading:
    """How a model is loaded to be asked."""
    # The engine that both scores and samples, so that a model is loaded once for all that is asked of it.
    return weights_loading("transformers", "auto", None, model.config, work="score")
