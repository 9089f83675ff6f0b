"""Does the loop help? Methods from one base model, by number of references, over several seeds: `python benchmarks/method/experiment.py --work WORK`."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from method.cells import Cell, run_cell
from method.recipes import METHODS
from method.settings import FROZEN

RESULTS = "results.jsonl"


def main() -> None:
    """Runs every cell that has no result yet, each in a process of its own; the same command goes on after a kill."""
    arguments = _arguments()
    if arguments.cell:
        _run_alone(Cell(**json.loads(arguments.cell)), arguments.work)
        return
    done = {(row["method"], row["budget"], row["seed"]) for row in results(arguments.work)}
    cells = [Cell(method, budget, seed) for seed in arguments.seeds for budget in arguments.budgets for method in arguments.methods]
    left = [cell for cell in cells if (cell.method, cell.budget, cell.seed) not in done]
    print(f"{len(cells) - len(left)} of {len(cells)} cells are done", file=sys.stderr)
    # Cells of one seed share what they have in common, so they run one after the other.
    by_seed = {seed: [cell for cell in left if cell.seed == seed] for seed in arguments.seeds}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for _ in pool.map(lambda of_seed: _run_all(of_seed, arguments.work), by_seed.values()):
            pass


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="Folder for what is made and for the results.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
    parser.add_argument("--budgets", type=int, nargs="+", default=sorted(FROZEN.sft_epochs))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--jobs", type=int, default=1, help="Seeds at once; each takes one core.")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser.parse_args()


def results(work: Path) -> list[Mapping[str, object]]:
    """Every row there is, one per model that a cell made; a line that a kill has cut is none."""
    path = work / RESULTS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def _run_all(cells: Sequence[Cell], work: Path) -> None:
    for cell in cells:
        # A process for each: what training leaves in memory ends with it.
        command = [sys.executable, __file__, "--work", str(work), "--cell", json.dumps(vars(cell))]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        print(f"{cell.name}: done", file=sys.stderr)


def _run_alone(cell: Cell, work: Path) -> None:
    rows = list(run_cell(cell, FROZEN, work, largest=max(FROZEN.sft_epochs)))
    _append(work / RESULTS, rows)


def _append(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    # One write of a whole cell, so that two processes never mix theirs.
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
