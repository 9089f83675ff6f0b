"""A model that is a function of its request: quick, exact, and counted."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from pathlib import Path

from sgpo_data.engines import GenerateRequest, Generation, Key, Likelihood, Scored, ScoreRequest
from sgpo_data.running.engines import OpenModel


class FakeModel:
    """Answers with the words of the request and its seed, out of order; fails after `fail_after` answers if that is given."""

    accelerator = None

    def __init__(self, *, window: int = 8, fail_after: int | None = None) -> None:
        self.window = window
        self.fail_after = fail_after
        self.asked: list[Key] = []
        self.given = 0
        self.closed = False

    def generate(self, requests: Iterable[GenerateRequest | None]) -> Iterator[Generation]:
        waiting = iter(requests)
        while batch := [request for request in takewhile(lambda request: request is not None, islice(waiting, self.window)) if request]:
            self.asked += [request.key for request in batch]
            for request in reversed(batch):
                self._count()
                text = f"{request.messages[-1]['content']} / {request.seed}"
                yield Generation(request.key, text, "stop", nll=len(text) / 10, tokens=len(text))

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Scored]:
        waiting = iter(requests)
        while batch := list(islice(waiting, self.window)):
            self.asked += [request.key[:2] for request in batch]
            for request in reversed(batch):
                self._count()
                yield Scored(request.key, tuple(Likelihood(nll=len(answer) / 10, tokens=len(answer) + 1) for answer in request.answers))

    def close(self) -> None:
        self.closed = True

    def _count(self) -> None:
        if self.given == self.fail_after:
            raise ConnectionAbortedError("the model is gone")
        self.given += 1


def model_folder(folder: Path) -> Path:
    """A folder that is taken for a model; nothing in it can be loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 512, "dtype": "float32"}))
    return folder


def opens(model: FakeModel) -> OpenModel:
    """Loads this model, whatever is asked for."""
    return lambda *_: model
