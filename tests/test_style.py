"""Claims about names: a reader who meets one knows which thing it is."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = [path for folder in ("sgpo_data", "cli") for path in sorted((ROOT / folder).rglob("*.py"))]
PARTICIPLES = {"Asked", "Found", "Given", "Known", "Made", "Met", "Ran", "Said", "Shown", "Told"}


def classes() -> dict[str, list[str]]:
    """Where each class stands, by its name."""
    found = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(path.relative_to(ROOT)))
    return found


def test_a_name_is_that_of_one_class() -> None:
    assert len(classes()) > 200
    assert {name: files for name, files in classes().items() if len(files) > 1} == {}


def test_no_class_is_named_by_a_participle() -> None:
    assert PARTICIPLES.isdisjoint(classes())


def test_cannot_is_one_word() -> None:
    texts = [*FILES, *(path for kind in ("*.md", "*.sql", "*.toml") for folder in ("docs", "schemas", "recipes") for path in (ROOT / folder).rglob(kind))]
    texts += [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    places = [str(path.relative_to(ROOT)) for path in texts if re.search(r"\bcan not\b", path.read_text(encoding="utf-8"), flags=re.IGNORECASE)]
    assert places == []
