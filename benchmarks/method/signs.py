"""How well what the guards measure tells which pairs are better and which training gains: `python benchmarks/method/signs.py WORK`."""

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

from result import document, table

from method.cells import Cell
from method.experiment import results
from sgpo_data.execution import Execution
from sgpo_data.health.guards import TrainingGuard
from sgpo_data.health.options import Guards
from sgpo_data.loop.plan import plan_recipe
from sgpo_data.recipe.file import read_recipe
from sgpo_data.running.engines import Engines
from sgpo_data.store.guard import GuardRecord, guard_record

SIGNS: Mapping[str, str] = {"pair_gap": "pair gap", "chosen_change": "change of chosen"}
"""Numbers of a guard's record, by what they are called here: nats per differing word before a training, nats per token by it."""
TRUTHS = ("better", "gain")


def main() -> None:
    """Prints the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    logging.disable(logging.WARNING)
    rows = list(_measured(work))
    tables = table([_shown(row) for row in rows]), table([_correlation(rows, sign, truth) for sign in SIGNS for truth in TRUTHS])
    note = (
        "One row per training on pairs in the experiment's runs. better: share of pairs whose chosen the grader prefers, less the share where it prefers "
        "rejected. gain: sampled grade of the model trained, less that of the model it started from. Rank correlation (Spearman) over all rows, and its p."
    )
    print(document("What the signs of a guard predict", note, *tables), end="")


def _measured(work: Path) -> Iterator[Mapping[str, object]]:
    cells: dict[Cell, list[Mapping[str, object]]] = {}
    for row in results(work):
        cells.setdefault(Cell(str(row["method"]), int(str(row["budget"])), int(str(row["seed"]))), []).append(row)
    for cell, of_cell in cells.items():
        # The phase `improver` trains who rewrites, and no policy.
        policies = [row for row in of_cell if row["phase"] != "improver"]
        for before, after in pairwise(policies):
            record = _record(work, cell, f"{after['phase']}-{after['round']}")
            if record is not None and "better" in after:
                better, gain = _number(after, "better") - _number(after, "worse"), _number(after, "sampled") - _number(before, "sampled")
                signs = {sign: getattr(record, sign) for sign in SIGNS}
                yield {"method": cell.method, "seed": cell.seed, "after": after["phase"], **signs, "better": better, "gain": gain}


def _number(row: Mapping[str, object], name: str) -> float:
    return float(str(row[name]))


def _record(work: Path, cell: Cell, place: str) -> GuardRecord | None:
    """What a guard measures around a training that was made without one."""
    folder = work / f"seed-{cell.seed}"
    path = folder / f"{cell.name}.toml"
    execution, recipe = Execution(root=folder / "runs", progress="none"), read_recipe(path)
    home = execution.root / path.stem / place
    guard = TrainingGuard(recipe, execution, Guards(), keep_going=True)
    step = next(step for step in plan_recipe(recipe, execution) if step.link == home / "model")
    with closing(Engines(execution)) as engines:
        guard.before(step, engines)
        guard.after(step, engines)
    return guard_record(home)


def _shown(row: Mapping[str, object]) -> Mapping[str, object]:
    return {SIGNS.get(name, name): f"{value:+.2f}" if isinstance(value, float) else value for name, value in row.items()}


def _correlation(rows: Sequence[Mapping[str, object]], sign: str, truth: str) -> Mapping[str, object]:
    both = [(_number(row, sign), _number(row, truth)) for row in rows if row[sign] is not None]
    found = stats.spearmanr([a for a, _ in both], [b for _, b in both])
    return {"sign": SIGNS[sign], "of": truth, "rows": len(both), "correlation": f"{found.statistic:+.2f}", "p": f"{found.pvalue:.2g}"}


if __name__ == "__main__":
    main()
