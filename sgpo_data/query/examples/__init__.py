"""Questions about a run that are asked again and again, as SQL."""

from dataclasses import dataclass
from importlib import resources

from sgpo_data.errors import UsageError


@dataclass(frozen=True)
class ExampleQuery:
    """A query that comes along; its file begins with a comment of what it answers and, after a semicolon, what can be set."""

    name: str
    about: str
    query: str


def examples() -> dict[str, ExampleQuery]:
    """All of them, by name."""
    found = {}
    for file in sorted(resources.files(__name__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            name, query = file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")
            found[name] = ExampleQuery(name, query.partition("\n")[0].removeprefix("-- ").rstrip("."), query)
    return found


def example(name: str) -> ExampleQuery:
    """The query of this name.

    Raises UsageError with those there are.
    """
    known = examples()
    if name not in known:
        raise UsageError(f"{name}: no such example; there are {', '.join(known)}")
    return known[name]
