"""What a review page saves, written without the page."""

import json
from collections.abc import Mapping
from pathlib import Path

from sgpo_data.evaluation.review import Review


def vote_file(path: Path, shown: Review, reviewer: str, sides: dict[str, str], change: Mapping[str, object] | None = None) -> Path:
    given = [{"item": item, "vote": vote, "seconds": 1.5} for item, vote in sides.items()]
    saved = {"sgpo_votes": 1, "review": shown.digest, "items": shown.most, "seed": shown.seed, "reviewer": reviewer, "votes": given}
    path.write_text(json.dumps(saved | dict(change or {})))
    return path


def votes_for(shown: Review, sides: str) -> dict[str, str]:
    """Votes on the items in their order: a, b or t (equal) of each."""
    found = {}
    for item, side in zip(shown.items, sides, strict=False):
        found[item.id] = "equal" if side == "t" else "first" if item.a_is_first == (side == "a") else "second"
    return found
