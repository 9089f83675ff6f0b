"""sgpo evaluate people: which of two answers people find better, blind, on one HTML page, and what their votes come to."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sgpo_data.errors import UsageError
from sgpo_data.execution import ROOT, Execution

from .references import typed

if TYPE_CHECKING:
    from sgpo_data.evaluation.answer_pairs import AnswerPairs
    from sgpo_data.evaluation.people import PeopleResult, ReviewAgreement, WinRate

PAGE = Path("review.html")


def add_people(group: typer.Typer) -> None:
    """Adds the command."""
    group.command("people")(people)


def people(
    references: Annotated[
        list[str],
        typer.Argument(metavar="A [B]", help="Two models' answers: responses, or official answer files. Or one dataset: improved, scored or filtered."),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML file to write [review.html]; with --votes, the folder of the evaluations.")] = None,
    items: Annotated[int, typer.Option(min=1, help="Most comparisons on the page.")] = 100,
    seed: Annotated[int, typer.Option(help="Draws the comparisons, their order and their sides.")] = 0,
    votes: Annotated[list[Path] | None, typer.Option(help="A file that the page saved; again for each further person. Prints what the votes come to.")] = None,
    judge: Annotated[str | None, typer.Option(help="With --votes: evaluations of a judge on the same answers, to hold against the people's.")] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds what was made.")] = ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let people say which of two answers is better: one HTML page that asks, and what the votes of several people come to.

    The page shows two answers side by side, in an order and on sides that tell nothing of who wrote them. It fetches nothing, keeps the votes in the
    browser, and saves them as a file. Of one dataset, improved is held against response; of filtered rows, kept and dropped ones in equal numbers, so
    that the votes tell whether the filter keeps what people prefer.

    With --votes the same answers and the files make rows of evaluations, and the numbers: win rate of A with its interval (95 %, bootstrap over
    comparisons, a tie counts half), Krippendorff's alpha among people, agreement with the judge and with the filter.
    """
    from sgpo_data.evaluation.answer_pairs import answer_pairs

    if judge is not None and not votes:
        raise UsageError(f"--judge {judge}: is held against votes; give the files with --votes")
    found = answer_pairs(tuple(typed(reference) for reference in references), root)
    if votes:
        _count(found, votes, judge, root, out, as_json=as_json)
    else:
        _ask(found, out or PAGE, items, seed, as_json=as_json)


def _ask(found: "AnswerPairs", out: Path, items: int, seed: int, *, as_json: bool) -> None:
    from sgpo_data.evaluation.review import review
    from sgpo_data.evaluation.review_page import review_page
    from sgpo_data.paths import local_path
    from sgpo_data.store.files import write_text
    from sgpo_data.store.manifest import MANIFEST

    out = local_path(out)
    if out.is_dir() or (out.parent / MANIFEST).exists():
        raise UsageError(f"-o {out}: is {'a folder' if out.is_dir() else 'inside of a dataset'}; give another file")
    made = review(found, items=items, seed=seed)
    write_text(out, review_page(made))
    if as_json:
        told = {"page": str(out), "review": made.digest, "items": len(made.items), "comparable": len(found.pairs), "left_out": dict(found.left_out)}
        print(orjson.dumps(told).decode())
        return
    typer.echo(f"{len(made.items)} of {len(found.pairs)} comparisons{_left_out(found)}", err=True)
    print(out)


def _left_out(found: "AnswerPairs") -> str:
    return f"; left out: {', '.join(f'{count} {reason}' for reason, count in found.left_out.items())}" if found.left_out else ""


def _count(found: "AnswerPairs", votes: list[Path], judge: str | None, root: Path, out: Path | None, *, as_json: bool) -> None:
    from sgpo_data.evaluation.people import people_result
    from sgpo_data.evaluation.votes import evaluations, read_votes
    from sgpo_data.paths import local_path
    from sgpo_data.references.dataset import existing

    voted = read_votes(list(map(local_path, votes)), found)
    result = people_result(voted, None if judge is None else existing(judge, root))
    made = evaluations(voted, Execution(root=root), None if out is None else local_path(out))
    if as_json:
        print(orjson.dumps({"reference": made.reference, "a": found.a, "b": found.b, **asdict(result)}).decode())
        return
    for line in _lines(found, result):
        print(line)
    print(made.reference)


def _lines(found: "AnswerPairs", result: "PeopleResult") -> Iterator[str]:
    yield f"a: {found.a}"
    yield f"b: {found.b}"
    yield f"people: {len(result.people)}, {result.win_rate.votes} votes on {result.win_rate.items} comparisons, {result.win_rate.ties} of them equal"
    yield f"win rate of a: {_rate(result.win_rate)}"
    for name, rate in result.by_group.items():
        yield f"  where the filter has {name} the row: {_rate(rate)}"
    yield f"the answer shown first wins: {result.first_rate:.1%}"
    yield f"agreement among people: {_agreement(result.among_people)}"
    for name, agreement in (("the judge", result.with_judge), ("the filter", result.with_filter)):
        if agreement is not None:
            yield f"agreement of people with {name}: {_agreement(agreement)}"


def _rate(rate: "WinRate") -> str:
    interval = "" if rate.low is None or rate.high is None else f" ({rate.low:.1%} to {rate.high:.1%})"
    return f"{rate.rate:.1%}{interval}, {rate.items} comparisons"


def _agreement(found: "ReviewAgreement") -> str:
    share = "" if found.share is None else f"{found.share:.1%} the same side, "
    return f"{share}alpha {'not defined' if found.alpha is None else f'{found.alpha:.3f}'}, {found.items} comparisons"
