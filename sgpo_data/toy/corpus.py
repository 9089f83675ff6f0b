"""What the toy world gives to learn from: prompts with references, chats, and the text the base model was made of."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sgpo_data.rows import Message
from sgpo_data.stages.improve.templates import load_template
from sgpo_data.toy.answers import Answer, repaired, write
from sgpo_data.toy.tasks import Task, details, draw, follow_up, request

SYSTEM = "You write lists."
OBEDIENCE: Mapping[str, float] = {
    "kind": 0.9, "count": 0.6, "separator": 0.25, "include": 0.3, "mark": 0.3, "opening": 0.2, "closing": 0.2,
}  # fmt: skip
"""How often the base model's own texts meet each constraint: the half-good answers it learns to give. The last five are about what luck gives."""

LOOSE_REFERENCES = 0.6
"""The share of rewriting exercises whose reference is itself no good answer, so that what is to be repaired stands in the request alone."""
LOOSENESS: Mapping[str, float] = {"kind": 0.2, "count": 0.5, "separator": 0.5, "include": 0.5, "mark": 0.5, "opening": 0.5, "closing": 0.5}
"""How often such a reference breaks each constraint."""


@dataclass(frozen=True)
class ToyPrompt:
    """A conversation that waits for an answer, and one good answer to it."""

    task: Task
    messages: list[Message]
    reference: Answer


@dataclass(frozen=True)
class Example:
    """One text to learn from: a conversation, and the turn that follows."""

    prompt: list[Message]
    completion: str


def prompts(seed: str | int) -> Iterator[ToyPrompt]:
    """Prompts without end: some with a system turn, some with an earlier round of the conversation."""
    rng = random.Random(f"prompts {seed}")
    while True:
        yield _prompt(rng)


def chats(seed: str | int) -> Iterator[list[Message]]:
    """Conversations of two to four rounds without end, each answer a good one."""
    rng = random.Random(f"chats {seed}")
    while True:
        task = draw(rng)
        messages = [*_opening_turns(task, rng), _turn("assistant", write(task, rng).text)]
        for _ in range(rng.randint(1, 3)):
            task, text = follow_up(task, rng)
            messages += [_turn("user", text), _turn("assistant", write(task, rng).text)]
        yield messages


def pretraining(seed: str | int) -> Iterator[Example]:
    """The base model's texts without end: half-good answers, and drafts rewritten with a reference in sight."""
    rng = random.Random(f"pretraining {seed}")
    refine = load_template("refine")
    while True:
        prompt = _prompt(rng)
        if rng.random() < 0.2:
            yield Example(prompt=prompt.messages, completion=write(prompt.task, rng, broken=_half_broken(prompt.task, rng)).text)
            continue
        draft = write(prompt.task, rng, broken=rng.choice((_half_broken, _hardly_broken, _hardly_broken))(prompt.task, rng))
        shown, good = prompt.reference, prompt.reference
        if rng.random() < LOOSE_REFERENCES:
            shown = write(prompt.task, rng, broken=_drawn(prompt.task, LOOSENESS, rng))
            good = repaired(shown, prompt.task, prompt.reference)
        rewrite = repaired(draft, prompt.task, good)
        yield Example(prompt=refine.render(prompt.messages, response=draft.text, reference=shown.text), completion=rewrite.text)


def _half_broken(task: Task, rng: random.Random) -> frozenset[str]:
    return _drawn(task, {name: 1 - share for name, share in OBEDIENCE.items()}, rng)


def _drawn(task: Task, shares: Mapping[str, float], rng: random.Random) -> frozenset[str]:
    return frozenset(name for name in task.constraints if rng.random() < shares[name])


def _hardly_broken(task: Task, rng: random.Random) -> frozenset[str]:
    """None to two constraints, more often those about the items, which are the hardest to see broken."""
    names = [*task.constraints, *(name for name in task.constraints if name in ("kind", "count", "include"))]
    return frozenset(rng.sample(names, rng.choice((0, 1, 1, 2, 2))))


def _prompt(rng: random.Random) -> ToyPrompt:
    task = draw(rng)
    messages = _opening_turns(task, rng)
    if rng.random() < 0.1:
        answer = write(task, rng).text
        task, text = follow_up(task, rng)
        messages = [*messages, _turn("assistant", answer), _turn("user", text)]
    return ToyPrompt(task=task, messages=messages, reference=write(task, rng))


def _opening_turns(task: Task, rng: random.Random) -> list[Message]:
    """One user turn; in every tenth conversation a system turn before it, with the details if there are any."""
    if rng.random() > 0.1:
        return [_turn("user", request(task, rng))]
    bare = replace(task, include=None, mark=None, opening=None, closing=None)
    return [_turn("system", " ".join([SYSTEM, *details(task, rng)])), _turn("user", request(bare, rng))]


def _turn(role: str, content: str) -> Message:
    return Message(role=role, content=content)
