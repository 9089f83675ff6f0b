"""What a check says: a number, its bound, a verdict and what to change."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Bound:
    """Where a number begins to be a warning and a failure; a number on a bound passes it."""

    warn: float
    fail: float | None
    """None if it never fails."""
    least: bool = True
    """Whether the number is to be at least that, not at most."""

    def verdict(self, number: float) -> Verdict:
        """What a number is by it."""
        sign = 1 if self.least else -1
        if self.fail is not None and sign * number < sign * self.fail:
            return "fail"
        return "warn" if sign * number < sign * self.warn else "pass"

    def text(self, *, percent: bool) -> str:
        """As it is printed behind the number."""
        word = "below" if self.least else "above"
        fails = "" if self.fail is None else f", fails {word} {_number(self.fail, percent=percent)}"
        return f"warns {word} {_number(self.warn, percent=percent)}{fails}"


@dataclass(frozen=True)
class Check:
    """One line of preflight."""

    name: str
    verdict: Verdict
    value: str
    """The number as it is printed, or what was seen; of a skipped check, why."""
    bound: str = ""
    advice: str = ""
    """What to change, unless it passes."""
    number: float | None = None


def share(name: str, part: float, whole: int, bound: Bound, advice: str, *, of: str) -> Check:
    """A check of a share; skipped where there is nothing to take a share of."""
    if not whole:
        return skipped(name, f"there are no {of}")
    number = part / whole
    return Check(name, bound.verdict(number), f"{number:.0%} of {whole} {of}", bound.text(percent=True), advice, number)


def measured(name: str, number: float, unit: str, bound: Bound, advice: str) -> Check:
    """A check of a plain number."""
    return Check(name, bound.verdict(number), f"{number:.2f} {unit}".rstrip(), bound.text(percent=False), advice, number)


def skipped(name: str, why: str) -> Check:
    """A check that cannot be made, and why."""
    return Check(name, "skip", why)


def _number(number: float, *, percent: bool) -> str:
    return f"{number:.0%}" if percent else f"{number:.2f}"
