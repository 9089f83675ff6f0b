"""The grade of an answer: the share of the request's constraints that it meets."""

import re
from collections.abc import Sequence

from sgpo_data.rows import Message
from sgpo_data.toy.tasks import Task, parse
from sgpo_data.toy.words import KIND_OF, SEPARATORS

_BODY = re.compile(r"^[^:]*:\s*(.*?)\s*(?:[.!\n]|$)", re.DOTALL)
_BETWEEN = re.compile(r"\s*([,;])\s*|\s+([-/])\s+")


def grade(messages: Sequence[Message], answer: str) -> float:
    """The share of constraints met, in [0, 1].

    Raises DatasetError if the messages are no request of the toy world.
    """
    task = parse(messages)
    return 1 - len(_failed(task, answer)) / len(task.constraints)


def failed(messages: Sequence[Message], answer: str) -> tuple[str, ...]:
    """The names of the constraints that the answer breaks."""
    return _failed(parse(messages), answer)


def _failed(task: Task, answer: str) -> tuple[str, ...]:
    """The list stands between the first colon and the first full stop; without a colon there is no list.

    `count` asks for as many different items of the kind as the request, numbered from 1.
    """
    match = _BODY.match(answer)
    body = match[1] if match else ""
    numbers, _, marked = zip(*(item.partition(" ") for item in _BETWEEN.sub("\n", body).split("\n")), strict=True)
    items = [item.removesuffix("*") for item in marked]
    ours = {item for item in items if KIND_OF.get(item) == task.kind}
    between = {"".join(found) for found in _BETWEEN.findall(body)}
    met = {
        "kind": bool(items) and all(KIND_OF.get(item) == task.kind for item in items),
        "count": numbers == tuple(str(number) for number in range(1, task.count + 1)) and len(ours) == task.count,
        "separator": task.separator is not None and between == {SEPARATORS[task.separator].strip()},
        "include": task.include in items,
        "mark": [index for index, item in enumerate(marked) if item.endswith("*")] == [0 if task.mark == "first" else len(items) - 1],
        "opening": task.opening is not None and answer.lstrip().startswith(task.opening),
        "closing": task.closing is not None and answer.rstrip(" .!\n").endswith(task.closing),
    }
    return tuple(name for name in task.constraints if not met[name])
