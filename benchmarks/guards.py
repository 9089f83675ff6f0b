"""Which recipes the guards of a run stop: one that works, plain DPO, and pairs that come of long SFT."""

import argparse
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from method.recipes import ANSWER_TOKENS, METHODS, Settings, recipe
from result import document, table

from sgpo_data.engines import Sampling
from sgpo_data.errors import GateError
from sgpo_data.execution import Execution
from sgpo_data.health.guards import TrainingGuard
from sgpo_data.health.options import Guards
from sgpo_data.loop.folder import RecipeFolder
from sgpo_data.loop.loop import run_recipe
from sgpo_data.recipe.file import read_recipe
from sgpo_data.running.runner import run
from sgpo_data.sources.options import Source
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.guard import NUMBERS, guard_record
from sgpo_data.toy import corpus
from sgpo_data.toy.grade import grade
from sgpo_data.toy.model import base_model

HELD_OUT = 0.05
LABELLED, TRAINED_ON = 3000, 5600
# The start is short, since SFT of 60 epochs, which grades best, is stopped itself: it makes held-out references less likely.
SHORT = Settings(sft_epochs={100: 24}, start_epochs={100: 24}, samples={100: 8}, round_prompts=600)
LONG_SFT = replace(SHORT, start_epochs={100: 60}, refiner="self")


@dataclass(frozen=True)
class Case:
    """A method of the experiment with a hundred references, and the bounds that its run is held to."""

    method: str
    settings: Settings
    guards: Guards = field(default_factory=Guards)


# Long SFT is let through, so that what comes of it is judged.
LET_THROUGH = Guards(max_reference_fall=10)
CASES: Mapping[str, Case] = {
    "works": Case("sgpo", SHORT),
    "plain DPO": Case("plain dpo", SHORT),
    "plain DPO, no filter, no least edit": Case("plain dpo", replace(SHORT, min_edit=0.0, strategy="none", epochs=6)),
    "plain DPO at a rate of 1e-3": Case("plain dpo", replace(SHORT, rate=1e-3)),
    "60 epochs of SFT, let through, refining for itself": Case("sgpo", LONG_SFT, LET_THROUGH),
    "60 epochs of SFT, let through, rewriting without an improver": Case("no improver", LONG_SFT, LET_THROUGH),
    # Last, since pairs of a model that is made already are not judged again.
    "60 epochs of SFT": Case("sgpo", LONG_SFT),
}


def write_world(folder: Path, seed: int) -> None:
    """The base model, prompts with references of which some are held out, and prompts without."""
    base_model(folder / "model")
    drawn = list(islice(corpus.prompts(f"guards {seed}"), LABELLED + TRAINED_ON + 400))
    labelled = [{"messages": each.messages, "reference": each.reference.text} for each in drawn[:LABELLED]]
    bare = [{"messages": each.messages} for each in drawn[LABELLED:]]
    for name, rows in (("labelled", labelled), ("unlabelled", bare)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run_case(name: str, folder: Path, seed: int) -> Mapping[str, object]:
    """What the guards measured around the last training that they looked at, whether they stopped it, and what came of going on all the same."""
    case = CASES[name]
    path = folder / f"{list(CASES).index(name)}.toml"
    phases = METHODS[case.method](case.settings, 100)[:3]
    text = recipe("model", seed, phases).replace('path = "labelled.jsonl"\n', f'path = "labelled.jsonl"\nheld_out = {HELD_OUT}\n')
    path.write_text(text, encoding="utf-8")
    execution = Execution(root=folder / "runs", progress="none")
    guard = TrainingGuard(read_recipe(path), execution, case.guards)
    stopped = ""
    try:
        run_recipe(path, execution, confirm=lambda _: True, guard=guard)
    except GateError as error:
        stopped = str(error).partition(";")[0]
    home = execution.root / path.stem
    place = list(dict.fromkeys(use.link.partition("/")[0] for use in RecipeFolder(home).uses() if (home / use.link).exists()))[-1]
    record = guard_record(home / place)
    measured = {key: "" if record is None or (value := getattr(record, key)) is None else f"{value:+.2f}" for key in NUMBERS if "win" not in key}
    if stopped:
        run_recipe(path, execution, confirm=lambda _: True, guard=replace(guard, keep_going=True))
    before, after = (_grade(home / each / "model", folder, execution) for each in ("sft-1", "policy1-1"))
    return {"recipe": name, "after": place, **_pairs(home / place), **measured, "stopped": stopped or "no", "sft": f"{before:.3f}", "policy": f"{after:.3f}"}


def _grade(model: Path, folder: Path, execution: Execution) -> float:
    stage, source = Seed(sampling=Sampling(max_tokens=ANSWER_TOKENS)), Source(offset=TRAINED_ON)
    answered = run(stage, str(folder / "unlabelled.jsonl"), model=str(model.resolve()), source=source, execution=execution)
    return fmean(grade(messages, answer or "") for messages, answer in answered.scan().select("messages", "response").collect().iter_rows())


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
    note = (
        "100 references, 600 prompts without. pairs, better, worse: of the last training, by the grader. What a guard measures is in the units of its "
        "flags. sft, policy: sampled grade of the model before and after training on the pairs, if need be with `--keep-going`; standard error 0.01."
    )
    print(document("Which recipes the guards of a run stop", note, table(rows)), end="")


if __name__ == "__main__":
    main()
