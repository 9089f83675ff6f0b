"""Who wrote the pairs of a training: the model that it starts from, or one that is allowed."""

from collections.abc import Iterable, Sequence

from sgpo_data.connection import connected
from sgpo_data.errors import RecipeError
from sgpo_data.names import GIVEN
from sgpo_data.store.dataset import Dataset, open_dataset
from sgpo_data.store.input import JobInput
from sgpo_data.store.state import state
from sgpo_data.training.options import Train


def refuse_other_policies(train: Train, start: str, datasets: Sequence[Dataset]) -> None:
    """Nothing if every pair was written by the model that training starts from, or by one that is allowed.

    Raises RecipeError with the identities found and their rows.
    """
    counts: dict[str, int] = {}
    for dataset in datasets:
        with connected() as con:
            found = dataset.relation(con).aggregate(f"coalesce(policy, '{GIVEN}') AS author, count(*) AS rows", "author").order("author").fetchall()
        for author, rows in found:
            counts[str(author)] = counts.get(str(author), 0) + int(rows)
    others = {author: counts[author] for author in _others(train, start, counts)}
    if others:
        listed = ", ".join(f"{rows} by {author}" for author, rows in others.items())
        raise RecipeError(
            f"train: {sum(others.values())} of {sum(counts.values())} pairs are not by the model that training starts from, {start}: "
            f"{listed}; make pairs with it, or say that these are meant: {_told(others)}"
        )


def refuse_other_authors(train: Train, start: str, inputs: Sequence[JobInput]) -> None:
    """As `refuse_other_policies`, for pairs that are still to be made too: all of those are by the policy of their lineage, or given.

    Raises RecipeError with the identities.
    """
    made = [given for given in inputs if state(given.folder) == "made"]
    refuse_other_policies(train, start, [open_dataset(given.folder) for given in made])
    others = _others(train, start, [GIVEN if given.policy is None else given.policy.identity for given in inputs if given not in made])
    if others:
        raise RecipeError(
            f"train: the pairs will be by {', '.join(others)}, not by the model that training starts from, {start}; "
            f"make pairs with it, or say that these are meant: {_told(others)}"
        )


def _others(train: Train, start: str, authors: Iterable[str]) -> list[str]:
    return [author for author in dict.fromkeys(authors) if author != start and author not in train.allow_policies]


def _told(authors: Iterable[str]) -> str:
    return " ".join(f"--allow-policies {author}" for author in authors)
