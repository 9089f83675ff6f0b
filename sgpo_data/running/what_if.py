"""What filtering would give with other values of its keys, without writing anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ValidationError

from sgpo_data.errors import SchemaError, UsageError, nearest
from sgpo_data.running.deciding import deciding
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.store.dataset import Dataset

MOST = 200
"""Combinations of values beyond which nobody reads the table."""


@dataclass(frozen=True)
class Alternative:
    """Filtering with other values than the recipe's."""

    values: Mapping[str, str]
    """By key, as they were asked for."""
    stage: Filter


@dataclass(frozen=True)
class FilterOutcome:
    """What filtering with these values gives: the same as running it does."""

    alternative: Alternative
    outcomes: Mapping[str, int]
    """Rows that each rule is the first to drop, in the order of the rules, then those kept; all rules are there."""
    facts: Mapping[str, float]
    warnings: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Of the table."""
        return sum(self.outcomes.values())


def alternatives(stage: Filter, asked: Sequence[str]) -> list[Alternative]:
    """Each combination of the values in `key=value,value`, the values of the last key changing fastest; the rest is as in `stage`.

    Raises UsageError if a key or a value is none of filter's.
    """
    lists = dict(_values(each) for each in asked)
    if len(lists) < len(asked):
        raise UsageError(f"--what-if: a key is there twice; write {next(iter(lists))}=value,value once")
    combinations = [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    if len(combinations) > MOST:
        raise UsageError(f"--what-if: {len(combinations)} combinations; ask for at most {MOST}")
    return [Alternative(values, _changed(stage, values)) for values in combinations]


def what_if(dataset: Dataset, asked: Sequence[Alternative], *, verdicts: Dataset | None = None) -> list[FilterOutcome]:
    """What filtering this dataset gives with each of them, by these verdicts if there are some.

    Raises SchemaError if it is not what filter reads, RecipeError where filtering would.
    """
    if dataset.table not in Filter.reads:
        raise SchemaError(f"{dataset.folder}: holds {dataset.table}; filter reads {' or '.join(Filter.reads)}")
    with TemporaryDirectory(prefix="sgpo-") as spill:
        return [_outcome(dataset, verdicts, each, Path(spill)) for each in asked]


def _outcome(dataset: Dataset, verdicts: Dataset | None, asked: Alternative, spill: Path) -> FilterOutcome:
    with deciding(dataset, spill, verdicts=verdicts) as con:
        decided = asked.stage.table(con, dataset.table)
        counts = dict(decided.rows.aggregate(f"{Filter.outcome} AS outcome, count(*) AS rows", "outcome").fetchall())
    outcomes = {name: int(counts.get(name, 0)) for name in (*asked.stage.rule_names, "kept")}
    return FilterOutcome(asked, outcomes, decided.facts, decided.warnings)


def _values(asked: str) -> tuple[str, list[str]]:
    key, sign, values = asked.partition("=")
    key, found = key.strip().replace("-", "_"), [value.strip() for value in values.split(",")]
    if not sign or not all(found):
        raise UsageError(f"--what-if {asked}: is no key=value,value, such as ppl.k=1.0,1.5,3")
    known = list(_keys(Filter))
    if key not in known:
        raise UsageError(f"--what-if {asked}: filter has no key {key}{nearest(key, known)}")
    return key, found


def _changed(stage: Filter, values: Mapping[str, str]) -> Filter:
    fields = stage.model_dump()
    for key, value in values.items():
        *outer, last = key.split(".")
        table = fields
        for name in outer:
            table = table[name]
        table[last] = value
    try:
        return Filter.model_validate(fields)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']} (got {fault['input']})" for fault in error.errors())
        raise UsageError(f"--what-if {' '.join(f'{key}={value}' for key, value in values.items())}: {faults}") from error


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Keys that hold one value, as a recipe spells them."""
    found = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += _keys(field.annotation, f"{prefix}{name}.")
        elif name != "rules":
            found.append(f"{prefix}{name}")
    return found
