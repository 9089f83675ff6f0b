"""Checks of what the models wrote on the sample: answers that stop, rewrites that differ, references that pass the gates."""

from collections.abc import Iterator

from sgpo_data.evaluation.judging import BLIND as BLIND_SHARE
from sgpo_data.evaluation.judging import Judged, judgement
from sgpo_data.preflight.check import Bound, Check, measured, share, skipped
from sgpo_data.preflight.sample import Sampled
from sgpo_data.references.run import VERDICTS
from sgpo_data.rows import Row

STOPPED = Bound(warn=0.9, fail=0.5)
EMPTY = Bound(warn=0.02, fail=0.2, least=False)
CHANGED = Bound(warn=0.4, fail=0.1)
COPIED = Bound(warn=0.2, fail=0.5, least=False)
KEPT = Bound(warn=0.2, fail=0.02)
BETTER = Bound(warn=0.55, fail=0.4)
JUDGED = Bound(warn=0.9, fail=0.5)
BLIND = Bound(warn=0.75, fail=BLIND_SHARE, least=False)
BLIND_SECOND = Bound(warn=0.25, fail=1 - BLIND_SHARE)
NOT_ASKED = ("duplicate", "contaminated")
NOT_REWRITTEN = ("no_response", "no_reference")


def answer_checks(sampled: Sampled) -> Iterator[Check]:
    """The checks of one phase that generates; their names end with the phase's."""
    name = sampled.phase.name
    responses = sampled.datasets.get("responses")
    if responses is None:
        return
    asked = [row for row in responses.rows() if row["finish"] not in NOT_ASKED]
    yield from _ends([row["finish"] for row in asked], f"answers stop ({name})", f"answers empty ({name})", "seed")
    if "improved" in sampled.datasets:
        yield from _rewrites(sampled, [row for row in sampled.datasets["improved"].rows() if row["improved_finish"] not in NOT_REWRITTEN])
    if VERDICTS in sampled.datasets:
        yield from _judge(name, judgement(sampled.datasets[VERDICTS], model=None))
    if "filtered" in sampled.datasets:
        rows = list(sampled.datasets["filtered"].rows())
        yield from _preferred(sampled, rows)
        yield _kept(name, rows, sampled.datasets["filtered"].manifest.outcomes)


def _ends(finishes: list[str], stop: str, empty: str, stage: str) -> Iterator[Check]:
    ended = sum(finish in ("stop", "empty") for finish in finishes)
    counts = ", ".join(f"{finishes.count(each)} {each}" for each in sorted(set(finishes)))
    advice = f"answers end so: {counts}; raise {stage}.sampling.max_tokens, or start from a model that was tuned to end its turn"
    yield share(stop, ended, len(finishes), STOPPED, advice, of="answers")
    advice = "the model ends its turn at once; look at its chat template and at eos_token_id in generation_config.json"
    yield share(empty, finishes.count("empty"), len(finishes), EMPTY, advice, of="answers")


def _rewrites(sampled: Sampled, rows: list[Row]) -> Iterator[Check]:
    name, role = sampled.phase.name, sampled.role
    yield from _ends([row["improved_finish"] for row in rows], f"{role} stops ({name})", f"{role} empty ({name})", "improve")
    whole = [row for row in rows if row["improved_finish"] == "stop"]
    changed = sum(_words(row["improved"]) != _words(row["response"]) for row in whole)
    advice = f"the {role} template or its model gives the draft back; change improve.{role}_template, raise improve.sampling.temperature, or train the improver"
    yield share(f"{role} changes drafts ({name})", changed, len(whole), CHANGED, advice, of="rewrites")
    if role == "refine":
        copies = sum(_words(row["improved"]) == _words(row["reference"]) for row in whole)
        advice = "rewrites are the reference word by word, so nothing is learned but the reference; change improve.refine_template, or take plain SFT"
        yield share(f"refine copies references ({name})", copies, len(whole), COPIED, advice, of="rewrites")


def _judge(phase: str, found: Judged) -> Iterator[Check]:
    """Whether the judge can be believed."""
    told = ", ".join(f"{count} {verdict}" for verdict, count in found.results.verdicts.items())
    advice = f"of its answers, {told}; read judgement with sgpo sql in {found.dataset.folder}, and name another judge or another verdicts.prompt"
    yield share(f"judge gives verdicts ({phase})", found.results.judged, found.results.comparisons, JUDGED, advice, of="rewrites in both orders")
    if (first := found.results.first_preferred) is not None:
        advice = "the judge goes by the place of an answer more than by what it says; name another judge, or ask it with verdicts.prompt = 'grade'"
        yield measured(f"judge prefers the first answer ({phase})", first, "of the score", BLIND if first > 0.5 else BLIND_SECOND, advice)


def _preferred(sampled: Sampled, rows: list[Row]) -> Iterator[Check]:
    """Whether a reward model or a judge finds rewrites better; nothing where the phase has neither."""
    name, role = sampled.phase.name, sampled.role or "improve"
    steps = [better - worse for row in rows if (better := row["improved_reward"]) is not None and (worse := row["response_reward"]) is not None]
    if sampled.phase.reward_model is not None or sampled.phase.judge is not None:
        advice = f"rewrites are other words and no better; change improve.{role}_template, raise improve.sampling.temperature, or train the improver"
        yield share(
            f"{role} makes better ({name})", sum(step > 0 for step in steps) + sum(step == 0 for step in steps) / 2, len(steps), BETTER, advice, of="rewrites"
        )


def _kept(phase: str, rows: list[Row], outcomes: dict[str, int]) -> Check:
    name = f"filter keeps rows ({phase})"
    if not rows:
        return skipped(name, "there are no rows")
    dropped = ", ".join(f"{rule} {count}" for rule, count in sorted(outcomes.items(), key=lambda each: -each[1]) if rule != "kept")
    advice = f"rows are dropped by {dropped}; loosen that rule of the filter, or mend what it finds: sgpo inspect shows such rows"
    return share(name, outcomes.get("kept", 0), len(rows), KEPT, advice, of="rows")


def _words(text: str | None) -> list[str]:
    return (text or "").split()
