"""One cell of the experiment: a method at a budget of references with one seed, run by the loop and graded by the toy world's own grader."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean

from method.recipes import GRADED, METHODS, OTHER_LOSSES, Settings, graded_file, recipe
from sgpo_data.engines import Sampling
from sgpo_data.execution import Execution
from sgpo_data.loop.folder import RecipeFolder
from sgpo_data.loop.loop import run_recipe
from sgpo_data.references.model import model_manifest
from sgpo_data.rows import Message
from sgpo_data.running.runner import run
from sgpo_data.sources.options import Source
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import open_dataset
from sgpo_data.toy import corpus
from sgpo_data.toy.grade import grade
from sgpo_data.toy.model import base_model

TEST_PROMPTS = 400
UNLABELLED = 6000


@dataclass(frozen=True)
class Cell:
    """What is run."""

    method: str
    budget: int
    seed: int

    @property
    def name(self) -> str:
        """As a file name."""
        return f"{self.method.replace(' ', '-')}-{self.budget}-{self.seed}"


def run_cell(cell: Cell, settings: Settings, work: Path, *, largest: int) -> Iterator[Mapping[str, object]]:
    """Rows of grades, one per model that the method makes."""
    folder = work / f"seed-{cell.seed}"
    _write_world(folder, cell.seed, largest)
    path = folder / f"{cell.name}.toml"
    path.write_text(recipe("../model", cell.seed, METHODS[cell.method](settings, cell.budget)), encoding="utf-8")
    if cell.method == GRADED:
        _write_graded(cell, settings, folder)
    # A root for each seed: what two methods share, such as SFT on the same references, is made once.
    execution = Execution(root=folder / "runs", progress="none")
    run_recipe(path, execution, confirm=lambda _: True)
    links = {use.link: use for use in RecipeFolder(execution.root / path.stem).uses()}
    home = execution.root / path.stem
    for link, use in links.items():
        if link.endswith("/model"):
            model, data = home / link, home / link.rpartition("/")[0]
            if cell.method in OTHER_LOSSES and (data / "pairs").exists():
                from method.losses import train_loss

                model = train_loss(cell.method, _start(model), data / "pairs", folder / f"{cell.name}-model", settings, cell.seed)
            yield {
                "method": cell.method,
                "budget": cell.budget,
                "seed": cell.seed,
                "phase": use.phase,
                "round": use.round,
                **_grades(model, folder / "test.jsonl", execution),
                **_data(data),
            }


def _start(model: Path) -> Path:
    """What a model was trained from."""
    manifest = model_manifest(model)
    assert manifest is not None
    location = manifest.identity.models["start"].location
    assert location is not None
    return Path(location)


def _write_world(folder: Path, seed: int, largest: int) -> None:
    """Prompts with references, prompts without, and prompts to be graded on, which are no other seed's."""
    model = folder.parent / "model"
    if not model.exists():
        base_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = list(islice(corpus.prompts(f"method {seed}"), largest + UNLABELLED + TEST_PROMPTS))
    labelled = [{"messages": each.messages, "reference": each.reference.text} for each in drawn[:largest]]
    bare = [{"messages": each.messages} for each in drawn[largest:]]
    for name, rows in (("labelled", labelled), ("unlabelled", bare[:UNLABELLED]), ("test", bare[UNLABELLED:])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if not (folder / f"{name}.jsonl").exists():
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def _write_graded(cell: Cell, settings: Settings, folder: Path) -> None:
    """Four answers of the SFT policy to each prompt of a round: the best by grade over the worst, where they differ."""
    path = folder / f"start-{cell.budget}-{cell.seed}.toml"
    path.write_text(recipe("../model", cell.seed, METHODS["sft start"](settings, cell.budget)), encoding="utf-8")
    execution = Execution(root=folder / "runs", progress="none")
    run_recipe(path, execution, confirm=lambda _: True)
    model = execution.root / path.stem / "sft-1" / "model"
    stage = Seed(samples=4, sampling=Sampling(max_tokens=96))
    answered = run(stage, str(folder / "unlabelled.jsonl"), model=str(model.resolve()), source=Source(limit=settings.round_prompts), execution=execution)
    answers: dict[str, list[tuple[float, str, list[Message]]]] = {}
    for key, messages, response in answered.scan().select("prompt_id", "messages", "response").drop_nulls().collect().iter_rows():
        answers.setdefault(key, []).append((grade(messages, response), response, messages))
    rows = []
    for each in answers.values():
        (worst, rejected, messages), (best, chosen, _) = min(each, key=lambda one: one[0]), max(each, key=lambda one: one[0])
        if best > worst:
            turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
            rows.append({"prompt": turns, "chosen": [_answer(chosen)], "rejected": [_answer(rejected)]})
    (folder / graded_file(cell.budget)).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _answer(text: str) -> Mapping[str, str]:
    return {"role": "assistant", "content": text}


def _grades(model: Path, test: Path, execution: Execution) -> Mapping[str, object]:
    found: dict[str, object] = {}
    for name, temperature in (("sampled", 0.7), ("greedy", 0.0)):
        answers = run(Seed(sampling=Sampling(max_tokens=96, temperature=temperature)), str(test), model=str(model.resolve()), execution=execution)
        rows = list(answers.scan().select("messages", "response").collect().iter_rows())
        found[name] = fmean(grade(messages, answer or "") for messages, answer in rows)
        if name == "sampled":
            words = [(answer or "").split() for _, answer in rows]
            pairs = [pair for answer in words for pair in pairwise(answer)]
            found |= {"words": fmean(map(len, words)), "distinct_2": len(set(pairs)) / max(1, len(pairs))}
    return found


def _data(folder: Path) -> Mapping[str, object]:
    """How much of the phase's data was kept, how its rewrites compare with its drafts, and how its pairs really are."""
    found: dict[str, object] = {}
    if (folder / "filtered").exists():
        filtered = open_dataset(folder / "filtered")
        rows = filtered.scan().select("messages", "response", "improved").drop_nulls().collect().iter_rows()
        both = [(grade(messages, response), grade(messages, improved)) for messages, response, improved in rows]
        outcomes = filtered.manifest.outcomes
        found |= {"kept": outcomes.get("kept", 0) / max(1, sum(outcomes.values())), "drafts": fmean(a for a, _ in both), "improved": fmean(b for _, b in both)}
    if (folder / "pairs").exists():
        rows = open_dataset(folder / "pairs").scan().select("prompt", "chosen", "rejected").collect().iter_rows()
        gains = [grade(prompt, chosen[0]["content"]) - grade(prompt, rejected[0]["content"]) for prompt, chosen, rejected in rows]
        found |= {"pairs": len(gains), "better": fmean(gain > 0 for gain in gains), "worse": fmean(gain < 0 for gain in gains)}
    return found
