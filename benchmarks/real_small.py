"""What a loop does to a small real model: recipes/real-small.toml at a size of one's own, IFEval before and after, and the difference question by question."""

import argparse
import json
import logging
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import tomli_w
from result import document, table

from sgpo_data.evaluation.grades import Share
from sgpo_data.evaluation.ifeval import METRICS, ifeval_result
from sgpo_data.evaluation.statistics import interval_of_ratio
from sgpo_data.execution import Execution
from sgpo_data.loop.loop import run_recipe
from sgpo_data.loop.rounds import Round, Run, open_run
from sgpo_data.recipe.shipped import shipped_recipe
from sgpo_data.store.dataset import Dataset

NAME = "real-small"
BEFORE, AFTER = "before-1", "policy-1"
SHOWN = 4


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="Where to work; the same command goes on there after a kill.")
    parser.add_argument("--model", help="Another model than the recipe's.")
    parser.add_argument("--dtype", default="auto", help="Type of the weights where they answer, score and train.")
    parser.add_argument("--references", help="Another source of prompts with answers: a file, or a dataset on the Hub.")
    parser.add_argument("--questions", help="Other questions: a file in the layout of IFEval.")
    parser.add_argument("--first", type=int, default=1000, help="Prompts of the improver phase; those of the policy phase follow.")
    parser.add_argument("--then", type=int, default=4000, help="Prompts of the policy phase.")
    parser.add_argument("--samples", type=int, default=2, help="Drafts of each prompt of the improver phase.")
    parser.add_argument("--held-out", type=float, default=0.02)
    parser.add_argument("--answer-tokens", type=int, default=512, help="Longest draft and rewrite.")
    parser.add_argument("--question-tokens", type=int, default=1024, help="Longest answer to a question of IFEval.")
    parser.add_argument("--batch-rows", type=int, default=32, help="Pairs or examples of each optimizer step.")
    return parser.parse_args()


def recipe_text(given: argparse.Namespace) -> str:
    """The shipped recipe, with another model, other data and other sizes; all that is not named stays as it is."""
    recipe = tomllib.loads(shipped_recipe(NAME).text)
    recipe["model"] = given.model or recipe["model"]
    for phase in recipe["phases"]:
        if (evaluate := phase.get("evaluate")) is not None:
            evaluate["set"] = given.questions or evaluate["set"]
            evaluate["answers"] |= {"dtype": given.dtype, "sampling": {**evaluate["answers"]["sampling"], "max_tokens": given.question_tokens}}
        if "source" in phase:
            _resize(phase, given)
    return tomli_w.dumps(recipe)


def _resize(phase: dict[str, dict[str, object]], given: argparse.Namespace) -> None:
    improver = phase["train"]["objective"] == "sft"
    sizes = {"limit": given.first} if improver else {"offset": given.first, "limit": given.then}
    phase["source"] |= {"held_out": given.held_out, **sizes} | ({} if given.references is None else {"path": given.references})
    phase["seed"] |= {"dtype": given.dtype} | ({"samples": given.samples} if improver else {})
    phase["score-ppl"]["dtype"] = given.dtype
    phase["train"] |= {"batch_rows": given.batch_rows, "dtype": given.dtype}
    for stage in ("seed", "improve"):
        phase[stage]["sampling"] = {"max_tokens": given.answer_tokens}


def rows_of_data(run: Run) -> list[Mapping[str, object]]:
    """What each phase made, and what was kept of it."""
    found: list[Mapping[str, object]] = []
    for each in run.rounds:
        if "filtered" in each.datasets:
            outcomes = each.datasets["filtered"].manifest.outcomes
            steps = "" if each.model is None else each.model.manifest.rows
            dropped = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items(), key=lambda item: -item[1]) if name != "kept")
            found.append({"phase": each.phase, "rows": sum(outcomes.values()), "kept": outcomes.get("kept", 0), "trained on": steps, "dropped by": dropped})
    return found


def rows_of_grades(before: Dataset, after: Dataset) -> list[Mapping[str, object]]:
    """Accuracy before and after, and the difference over the same questions; intervals of 95 %, by a bootstrap over questions."""
    both = [(ifeval_result(each), _by_question(each)) for each in (before, after)]
    (first, then), ours, theirs = (each[0] for each in both), both[0][1], both[1][1]
    found: list[Mapping[str, object]] = []
    for unit in ("prompts", "instructions"):
        for metric in METRICS:
            keys = sorted(key for name, key in ours if name == metric)
            gains = [_met(theirs[metric, key], unit) - _met(ours[metric, key], unit) for key in keys]
            of = [1 if unit == "prompts" else len(ours[metric, key]) for key in keys]
            low, high = interval_of_ratio(gains, of)
            gain = f"{100 * sum(gains) / sum(of):+.1f} ({100 * (low or 0):+.1f} to {100 * (high or 0):+.1f})"
            told = {"before": _share(getattr(first, unit)[metric]), "after": _share(getattr(then, unit)[metric]), "difference": gain}
            turned = {"gained": sum(gain > 0 for gain in gains), "lost": sum(gain < 0 for gain in gains)}
            found.append({"IFEval": f"{unit}, {metric}", **told, **turned})
    return found


def _by_question(grades: Dataset) -> dict[tuple[str, str], list[bool]]:
    found: dict[tuple[str, str], list[bool]] = {}
    for metric, item, value in grades.scan().select("metric", "item", "value").collect().iter_rows():
        found.setdefault((metric, item), []).append(value == 1)
    return found


def _met(parts: Sequence[bool], unit: str) -> int:
    return int(all(parts)) if unit == "prompts" else sum(parts)


def _share(of: Share) -> str:
    return f"{100 * of.share:.1f} % ({100 * (of.low or 0):.1f} to {100 * (of.high or 0):.1f})"


def rows_of_time(run: Run) -> list[Mapping[str, object]]:
    """Minutes of each phase by what took them."""
    return [{"phase": each.phase, "minutes": f"{seconds / 60:.1f}", "tokens": tokens} for each in run.rounds for seconds, tokens in [_cost(each)]]


def _cost(made: Round) -> tuple[float, int]:
    costs = [(dataset.manifest.seconds, dataset.manifest.tokens) for dataset in made.datasets.values()]
    if made.model is not None:
        costs.append((made.model.manifest.seconds, made.model.manifest.tokens))
    return sum(seconds for seconds, _ in costs), sum(tokens for _, tokens in costs)


def answers_beside(before: Dataset, after: Dataset) -> str:
    """The first questions whose answers differ, with both."""
    answers = {row["prompt_id"]: row["response"] for row in before.rows()}
    differ = [row for row in after.rows() if row["response"] != answers.get(row["prompt_id"])]
    whole = before.manifest.rows
    if not differ:
        return f"None of {whole} answers differs."
    lines = [f"{len(differ)} of {whole} answers differ. The first {min(SHOWN, len(differ))} that do, cut at 300 characters:"]
    for row in differ[:SHOWN]:
        question = row["messages"][-1]["content"]
        lines += [
            "",
            *(f"* {name}: {json.dumps(text[:300], ensure_ascii=False)}" for name, text in _three(question, answers[row["prompt_id"]], row["response"])),
        ]
    return "\n".join(lines)


def _three(question: str, before: str | None, after: str | None) -> list[tuple[str, str]]:
    return [("question", question), ("before", before or ""), ("after", after or "")]


def main() -> None:
    """Runs the recipe and prints the document."""
    given = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    given.work.mkdir(parents=True, exist_ok=True)
    path = given.work / f"{NAME}.toml"
    path.write_text(recipe_text(given), encoding="utf-8")
    execution = Execution(root=given.work / "runs", progress="plain")
    run_recipe(path, execution, confirm=lambda _: True)
    run = open_run(NAME, execution.root)
    rounds = {each.place: each.datasets for each in run.rounds}
    before, after = rounds[BEFORE], rounds[AFTER]
    blocks = [
        table(rows_of_grades(before["grades"], after["grades"])),
        "The difference is that of the same questions, in points; intervals of 95 %, by a bootstrap over questions. The guards of `sgpo run` did not look on.",
        table(rows_of_data(run)),
        table(rows_of_time(run)),
        answers_beside(before["answers"], after["answers"]),
    ]
    print(document("A small real model before and after", *blocks), end="")


if __name__ == "__main__":
    main()
