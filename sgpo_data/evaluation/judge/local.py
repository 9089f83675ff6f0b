"""The probabilities of labels from a model in this process, which scores them in place of writing."""

import math
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from sgpo_data.engines import GenerateRequest, Generation, Key, Scored, Scorer, ScoreRequest
from sgpo_data.engines.loading import Loading
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model
from sgpo_data.running.engines import Engines, OpenedModel, OpenModel


class LabelScorer:
    """Answers each request with the likeliest of its labels and the probabilities of all, exactly: nothing is sampled."""

    def __init__(self, model: OpenedModel, scorer: Scorer) -> None:
        self._model, self._scorer = model, scorer

    @property
    def accelerator(self) -> str | None:
        """What the model runs on."""
        return self._model.accelerator

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        """As `Generator.generate`; every request has labels."""
        labels: dict[Key, tuple[str, ...]] = {}

        def scored() -> Iterator[ScoreRequest]:
            for request in requests:
                if request is not None:
                    labels[request.key] = request.labels
                    # No end of turn follows a label: it is the first token of what the judge would write.
                    yield ScoreRequest((*request.key, "judge"), request.messages, request.labels, cut=frozenset(range(len(request.labels))))

        for result in self._scorer.score(scored()):
            yield _generation(result, labels.pop(result.key[:2]))

    def close(self) -> None:
        """Frees the memory of the model."""
        self._model.close()


@contextmanager
def judging(judge: Judge, engines: Engines) -> Iterator[Engines]:
    """Engines for this judge: where its verdict is a label, models that can score do so."""
    if judge.reading != "label":
        yield engines
        return
    with closing(engines.within(_scoring_labels)) as scoring:
        yield scoring


def _scoring_labels(open_model: OpenModel) -> OpenModel:
    """Opens the same models, those that can score as `LabelScorer`."""

    def opened(loading: Loading, model: Model, how: Execution) -> OpenedModel:
        engine = open_model(loading, model, how)
        return LabelScorer(engine, engine) if isinstance(engine, Scorer) else engine

    return opened


def _generation(result: Scored, labels: tuple[str, ...]) -> Generation:
    key, nlls = result.key[:2], [each.nll for each in result.likelihoods]
    known = [nll for nll in nlls if nll is not None]
    if len(known) < len(nlls):
        return Generation(key, text=None, finish="too_long", nll=None, tokens=None)
    likeliest = min(range(len(known)), key=known.__getitem__)
    probabilities = tuple(math.exp(-nll) for nll in known)
    return Generation(key, text=labels[likeliest], finish="stop", nll=known[likeliest], tokens=result.likelihoods[likeliest].tokens, labels=probabilities)
