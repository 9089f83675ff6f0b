"""Which recipes the guards of a run stop: one that works, plain DPO on pairs that hardly differ, and pairs of a refiner after long SFT."""

import argparse
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import monotonic

from method.recipes import METHODS, Settings, recipe
from method.settings import FROZEN
from result import document, table

from sgpo_data.errors import GateError
from sgpo_data.execution import Execution
from sgpo_data.health.guards import TrainingGuard
from sgpo_data.health.options import Guards
from sgpo_data.loop.folder import RecipeFolder
from sgpo_data.loop.loop import run_recipe
from sgpo_data.recipe.file import read_recipe
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.guard import NUMBERS, guard_record
from sgpo_data.toy import corpus
from sgpo_data.toy.grade import grade
from sgpo_data.toy.model import base_model

HELD_OUT = 0.05
SHORT = replace(FROZEN, round_prompts=600)
LONG_SFT = replace(SHORT, start_epochs={300: 16}, samples={}, refiner="self")
CASES: Mapping[str, tuple[str, Settings, int]] = {
    "works": ("sgpo", SHORT, 100),
    "displaces: plain DPO": ("plain dpo", SHORT, 100),
    "displaces: plain DPO, min_edit 0.02": ("plain dpo", replace(SHORT, min_edit=0.02), 100),
    "refined by itself after 16 epochs of SFT on 300 references": ("sgpo", LONG_SFT, 300),
}
"""A method of the experiment, its settings and its references."""


def write_world(folder: Path, seed: int) -> None:
    """The base model, prompts with references of which some are held out, and prompts without."""
    base_model(folder / "model")
    drawn = list(islice(corpus.prompts(f"guards {seed}"), 9000))
    labelled = [{"messages": each.messages, "reference": each.reference.text} for each in drawn[:3000]]
    bare = [{"messages": each.messages} for each in drawn[3000:]]
    for name, rows in (("labelled", labelled), ("unlabelled", bare)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run_case(name: str, folder: Path, seed: int) -> Mapping[str, object]:
    """What the guards measured around the last training that they looked at, and whether they stopped it."""
    method, settings, budget = CASES[name]
    phases = METHODS[method](settings, budget)[:3]
    path = folder / f"{list(CASES).index(name)}.toml"
    text = recipe("model", seed, phases).replace('path = "labelled.jsonl"\n', f'path = "labelled.jsonl"\nheld_out = {HELD_OUT}\n')
    path.write_text(text, encoding="utf-8")
    execution = Execution(root=folder / "runs", progress="none")
    started, stopped = monotonic(), "no"
    try:
        run_recipe(path, execution, confirm=lambda _: True, guard=TrainingGuard(read_recipe(path), execution, Guards()))
    except GateError as error:
        stopped = str(error).partition(";")[0]
    home = execution.root / path.stem
    place = list(dict.fromkeys(use.link.partition("/")[0] for use in RecipeFolder(home).uses() if (home / use.link).exists()))[-1]
    record = guard_record(home / place)
    measured = {key: "" if record is None or (value := getattr(record, key)) is None else f"{value:+.2f}" for key in NUMBERS if "win" not in key}
    return {"recipe": name, "after": place, **_pairs(home / place), **measured, "stopped": stopped, "seconds": f"{monotonic() - started:.0f}"}


def _pairs(place: Path) -> Mapping[str, str]:
    if not (place / "pairs").exists():
        return {"pairs": "", "better": "", "worse": ""}
    rows = open_dataset(place / "pairs").scan().select("prompt", "chosen", "rejected").collect().iter_rows()
    gains = [grade(prompt, chosen[0]["content"]) - grade(prompt, rejected[0]["content"]) for prompt, chosen, rejected in rows]
    return {"pairs": str(len(gains)), "better": f"{fmean(gain > 0 for gain in gains):.0%}", "worse": f"{fmean(gain < 0 for gain in gains):.0%}"}


def main() -> None:
    """Prints the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="Where to work; a temporary folder if not given. What is made there is not made again.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "unlabelled.jsonl").exists():
            write_world(work, given.seed)
        rows = [run_case(name, work, given.seed) for name in given.cases]
    print(document("Which recipes the guards of a run stop", table(rows)), end="")


if __name__ == "__main__":
    main()
