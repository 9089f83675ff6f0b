"""Checks of the model folder before it runs: its weights, its chat template, and whether prompts and answers fit its context."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sgpo_data.engines import ChatTemplate
from sgpo_data.engines.chat import Chat, load_chat
from sgpo_data.engines.local.weights import check_fit
from sgpo_data.errors import ModelError
from sgpo_data.preflight.check import Bound, Check, share, skipped
from sgpo_data.preflight.sample import Sampled
from sgpo_data.references.model import Model
from sgpo_data.rows import Message, Row
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.seed import Seed

FITS = Bound(warn=1.0, fail=0.95)
SYSTEM = Bound(warn=0.0, fail=0.05, least=False)


def weights_check(model: Model) -> Check:
    """Whether the weights are those of the config, by their names and shapes; nothing is kept in memory."""
    if model.endpoint is not None:
        return skipped("weights", "the model is at a server")
    try:
        check_fit(model.folder, model.adapter)
    except ModelError as error:
        return Check("weights", "fail", str(error), "names and shapes are those of config.json", "give the weights that go with the config")
    return Check("weights", "pass", "fit", "names and shapes are those of config.json")


def template_checks(chat: Chat, prompts: Sequence[Row]) -> Iterator[Check]:
    """What the chat template does to turns, found on a probe."""
    template, mend = chat.template, "mend chat_template.jinja"
    ends = chat.writes_end
    value = f"answers end with {chat.tokenizer.convert_ids_to_tokens(chat.end_of_turn)}" if ends else "nothing ends an answer"
    yield _seen("template end of turn", ends, value, f"a model trained on it would never stop: {mend}, or take the one of the tuned model")
    keeps = template.keeps_reasoning
    value = "stays in answers" if keeps else "is left out before </think>"
    yield _seen("template reasoning", keeps, value, f"what is written and what the template writes are two texts: {mend}, or give it an argument by template")
    fault = template.system_fault
    with_system = sum(any(turn["role"] == "system" for turn in row["messages"]) for row in prompts)
    if fault is None:
        yield Check("template system turn", "pass", "is written")
    else:
        found = share("template system turn", with_system, len(prompts), SYSTEM, f"{fault}: {mend}, or take the system turns out", of="prompts have one")
        yield found
    refused = sum(template.frame(row["messages"]) is not None for row in prompts)
    yield share("template takes prompts", refused, len(prompts), FITS, f"it refuses prompts, or loses a turn of them: {mend}", of="prompts")


def _seen(name: str, good: bool, value: str, advice: str) -> Check:
    return Check(name, "pass" if good else "fail", value, "", "" if good else advice, float(good))


def opened_chat(model: Model, sampled: Sequence[Sampled]) -> Chat:
    """The chat of the model, told what the first phase that has one tells it."""
    stages: list[ChatTemplate] = [stage for each in sampled for stage in (each.phase.seed, each.phase.improve, each.phase.train) if stage is not None]
    return load_chat(model.folder, stages[0]) if stages else load_chat(model.folder)


def context_checks(chat: Chat, sampled: Sampled) -> Iterator[Check]:
    """Whether prompt and answer, and the improve prompt with its rewrite, fit the context.

    Longest is what max_tokens allows; an answer is taken to be as long as its reference, where there is one.
    """
    rows = list(sampled.datasets["prompts"].rows())
    for stage in sampled.generating:
        if stage.context_tokens is None:
            continue
        needs = [_need(chat, row, _prompt(stage, row), stage.sampling.max_tokens) for row in rows]
        fitting = [need for need in needs if need is not None and need[0] <= stage.context_tokens]
        most = max((need[1] for need in needs if need is not None), default=0)
        name, word = f"context {stage.stage_name} ({sampled.phase.name})", stage.stage_name
        advice = f"the longest prompt with max_tokens takes {most} tokens of {stage.context_tokens}"
        advice += f"; raise {word}.context_tokens, lower {word}.sampling.max_tokens, or leave long prompts out"
        found = share(name, len(fitting), len(needs), FITS, advice, of="prompts fit with an answer")
        if found.verdict == "pass" and most > stage.context_tokens:
            found = replace(found, verdict="warn", advice=f"{advice}; answers are cut at the end of the context")
        yield found


def _prompt(stage: Seed | Improve, row: Row) -> list[Message]:
    if isinstance(stage, Seed):
        return row["messages"]
    draft = row["reference"] or ""
    if stage.role == "refine" and row["reference"] is not None:
        return stage.refine_template.render(row["messages"], response=draft, reference=row["reference"])
    return stage.improve_template.render(row["messages"], response=draft)


def _need(chat: Chat, row: Row, messages: list[Message], max_tokens: int) -> tuple[int, int] | None:
    """Tokens of a prompt with an answer as long as the reference, and with the longest answer; None if the template refuses it."""
    ids = chat.prompt_ids(messages)
    if ids is None:
        return None
    answer = min(chat.tokens(row["reference"]), max_tokens) if row["reference"] else 1
    return len(ids) + answer, len(ids) + max_tokens
