"""sgpo filter --what-if: where rows would go with other values, one line for each."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from sgpo_data.stages.filter.filter import Filter

if TYPE_CHECKING:
    from sgpo_data.running.what_if import FilterOutcome


def print_what_if(stage: Filter, reference: str, asked: Sequence[str], *, verdicts: str | None, root: Path, as_json: bool) -> None:
    """A table with a line for each combination of values: the rows, those each rule drops, those kept.

    Raises UsageError if a key or value is none of filter's, DatasetError if there is no such dataset.
    """
    from sgpo_data.references.dataset import existing
    from sgpo_data.running.what_if import alternatives, what_if

    judged = None if verdicts is None else existing(verdicts, root)
    found = what_if(existing(reference, root), alternatives(stage, asked), verdicts=judged)
    if as_json:
        print(orjson.dumps([_summary(each) for each in found]).decode())
        return
    rules = [name for name in dict.fromkeys(name for each in found for name in each.outcomes) if any(each.outcomes.get(name) for each in found)]
    lines = [[*found[0].alternative.values, "rows", *(rule for rule in rules if rule != "kept"), "kept", "share"]]
    for each in found:
        counts = [each.outcomes.get(rule, 0) for rule in rules if rule != "kept"]
        kept = each.outcomes["kept"]
        share = f"{100 * kept / each.rows:.1f} %" if each.rows else "-"
        lines.append([*each.alternative.values.values(), *map(str, (each.rows, *counts, kept)), share])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    for each in found:
        for warning in each.warnings:
            print(f"{' '.join(f'{key}={value}' for key, value in each.alternative.values.items())}: {warning}", file=sys.stderr)


def _summary(each: "FilterOutcome") -> dict[str, object]:
    return {"values": each.alternative.values, "rows": each.rows, "outcomes": each.outcomes, "facts": each.facts, "warnings": each.warnings}
