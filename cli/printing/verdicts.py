"""How the numbers of an evaluation are printed."""

import orjson

from sgpo_data.evaluation.judge_agreement import agreement
from sgpo_data.evaluation.judging import Judged
from sgpo_data.evaluation.results import Rate

from .printable import printable

NAME = 26
"""Columns of what a number is called."""


def print_judged(judged: Judged, *, as_json: bool) -> None:
    """The numbers and, last, the reference of the verdicts; or all as one JSON object."""
    if as_json:
        arena = judged.arena_hard
        rates = None if arena is None else {"score": _rate_dict(arena.score), "style_controlled": _rate_dict(arena.style_controlled)}
        whole = {"reference": str(judged.dataset.folder), **judged.results.as_dict(), "arena_hard": rates, "unmatched": dict(judged.unmatched)}
        print(orjson.dumps({**whole, "created": judged.dataset.manifest.created, "faults": judged.faults}).decode())
        return
    for line in lines(judged):
        print(line)
    print(judged.dataset.folder)


def print_agreement(one: Judged, other: Judged, *, as_json: bool) -> None:
    """How far two judges agree."""
    found = agreement(one.rows, other.rows)
    judges = (one.results.judge, other.results.judge)
    if as_json:
        print(orjson.dumps({"judges": judges, "comparisons": found.comparisons, "same": found.same, "kappa": found.kappa}).decode())
        return
    kappa = "-" if found.kappa is None else f"{found.kappa:.2f}"
    print(printable(f"{judges[0]} and {judges[1]} name the same winner in {_share(found.same)} of {found.comparisons} comparisons, kappa {kappa}"))


def lines(judged: Judged) -> list[str]:
    """One line per number."""
    found, arena, created = judged.results, judged.arena_hard, judged.dataset.manifest.created
    head = printable(f"{found.model} against {found.baseline}, judged by {found.judge} on {created:%Y-%m-%d}")
    verdicts = ", ".join(f"{count} {name}" for name, count in found.verdicts.items())
    rows = [
        ("comparisons", f"{found.comparisons}, of which {found.judged} have a verdict in both orders"),
        ("verdicts", verdicts),
        ("win rate", f"{_rate(found.win_rate)}   {found.wins} won, {found.ties} tied, {found.losses} lost"),
        ("length-adjusted win rate", _share(found.length_adjusted_win_rate)),
        ("first answer preferred", _share(found.first_preferred)),
        ("same winner in both orders", _share(found.consistent)),
    ]
    if arena is not None:
        rows += [("Arena-Hard score", _rate(arena.score)), ("  at equal style", _rate(arena.style_controlled))]
    rows += [(f"only {name} answered", str(count)) for name, count in judged.unmatched.items()]
    return [head, *(f"  {printable(name):<{NAME}}  {told}" for name, told in rows)]


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "-"
    return _share(rate.value) if rate.low is None or rate.high is None else f"{_share(rate.value)} ({100 * rate.low:.1f} to {100 * rate.high:.1f})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _rate_dict(rate: Rate) -> dict[str, float | None]:
    return {"value": rate.value, "low": rate.low, "high": rate.high}
