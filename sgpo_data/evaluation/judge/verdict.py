"""What a judge's answer says: one of five verdicts or none, from probabilities where there are some, else from its text."""

import re
from dataclasses import dataclass
from typing import Literal

Reading = Literal["label", "grade"]
Verdict = Literal["first_much", "first", "tie", "second", "second_much"]

SCORES: dict[Verdict, float] = {"first_much": 1.0, "first": 1.0, "tie": 0.5, "second": 0.0, "second_much": 0.0}
"""What the first answer gets."""
GRADES: dict[str, Verdict] = {
    "A>>B": "first_much",
    "B<<A": "first_much",
    "A>B": "first",
    "B<A": "first",
    "A=B": "tie",
    "B=A": "tie",
    "B>A": "second",
    "A<B": "second",
    "B>>A": "second_much",
    "A<<B": "second_much",
}
_GRADE = re.compile(r"\[\[([AB<>=]+)\]\]")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a judge's answer says."""

    verdict: Verdict | None
    first_score: float | None
    first_probability: float | None = None
    label_probability: float | None = None


NOTHING = Reply(None, None)


def read_grade(text: str) -> Reply:
    """The one verdict in double brackets; none if there is no such verdict, or there are different ones."""
    found = set(_GRADE.findall(text))
    verdict = GRADES.get(found.pop()) if len(found) == 1 else None
    return NOTHING if verdict is None else Reply(verdict, SCORES[verdict])


def read_label(text: str, labels: tuple[str, str]) -> Reply:
    """The label that is all of the text, whatever marks stand around it."""
    word = re.sub(r"^\W+|\W+$", "", text)
    if word not in labels:
        return NOTHING
    verdict: Verdict = "first" if word == labels[0] else "second"
    return Reply(verdict, SCORES[verdict])


def read_probabilities(first: float, second: float, *, least: float) -> Reply:
    """The likelier of two labels, with its share of both; none if both together are less likely than `least`."""
    both = first + second
    if both <= 0 or both < least:
        return Reply(None, None, label_probability=both)
    share = first / both
    verdict: Verdict = "first" if first > second else "second" if first < second else "tie"
    return Reply(verdict, share, first_probability=share, label_probability=both)
