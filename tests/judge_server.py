"""A judge at the server of the tests, whose verdict is a function of the two answers in the prompt."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chat_server import Body, ChatServer, completion, serving

Says = Callable[[str, str], str | float | None]
"""From the first and the second answer: a text, the probability of the first, or None to hang."""

ANSWERS = re.compile(r"### (?:Answer of model x|Answer A)\n(.*?)\n\n### (?:Answer of model y|Answer B)\n(.*?)(?:\n\n### Verdict|\Z)", re.DOTALL)


@dataclass(frozen=True)
class JudgeServer:
    """The server, seen as a judge."""

    server: ChatServer

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def asked(self) -> Counter[tuple[str, str]]:
        """How often each two answers were shown in this order."""
        found: Counter[tuple[str, str]] = Counter()
        for prompt, times in self.server.asked.items():
            found[answers(prompt)] += times
        return found


def answers(prompt: str) -> tuple[str, str]:
    """Those that a prompt shows, the first one first."""
    found = ANSWERS.search(prompt)
    assert found is not None, prompt
    return found[1], found[2]


def verdict(body: Body, said: str | float, mass: float) -> Body:
    """A completion; a probability comes as log-probabilities of x and y, whose sum is `mass`."""
    text = said if isinstance(said, str) else "x" if said > 0.5 else "y"
    if isinstance(said, str):
        return completion(body, text, (), finish="stop")
    tokens = {" x": said * mass, "y": (1 - said) * mass, "The": 1 - mass}
    top = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in tokens.items() if p > 0]
    return completion(body, text, [{"token": text, "logprob": -0.1, "bytes": None, "top_logprobs": top}], finish="stop")


@contextmanager
def judging(says: Says, *, mass: float = 0.98, seconds: float = 0.0) -> Iterator[JudgeServer]:
    def fault(text: str, before: int) -> str | None:
        return "hang" if text != "models" and says(*answers(text)) is None else None

    def complete(body: Body, text: str, finish: str) -> Body:
        said = says(*answers(text))
        assert said is not None
        return verdict(body, said, mass)

    with serving(fault, complete=complete, seconds=seconds) as server:
        yield JudgeServer(server)
