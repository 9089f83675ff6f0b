"""How often a reward model or a judge prefers one model's answers to another's."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from sgpo_data.engines import RewardRequest
from sgpo_data.evaluation.comparisons import compared
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.evaluation.judging import judged
from sgpo_data.evaluation.recorded import Recorded, RecordedAnswer
from sgpo_data.execution import Execution
from sgpo_data.health.probe import HeldOutPrompt, ModelAnswer, probe_loading
from sgpo_data.references.model import Model
from sgpo_data.running.engines import Engines
from sgpo_data.store.guard import Wins
from sgpo_data.store.manifest import InputRecord


@dataclass(frozen=True)
class AnsweredTwice:
    """Prompts, and what a model answered before a training and after it, by their ids."""

    prompts: Sequence[HeldOutPrompt]
    before: Mapping[str, ModelAnswer]
    after: Mapping[str, ModelAnswer]

    @property
    def both(self) -> list[HeldOutPrompt]:
        """Those that it answered both times."""
        return [each for each in self.prompts if each.prompt_id in self.before and each.prompt_id in self.after]


def rewarded_wins(rewarding: Model, answered: AnsweredTwice, engines: Engines) -> Wins | None:
    """Of the answers after over those before, as a reward model judges them; None if there are none."""
    if not answered.both:
        return None
    rewarder = engines.rewarder(probe_loading(rewarding), rewarding)
    texts = {each.prompt_id: (answered.before[each.prompt_id].text, answered.after[each.prompt_id].text) for each in answered.both}
    requests = [RewardRequest((each.prompt_id, 0), each.messages, texts[each.prompt_id]) for each in answered.both]
    return counted_wins(result.rewards for result in rewarder.reward(requests))


def judged_wins(judge: Judge, model: Model, answered: AnsweredTwice, execution: Execution, engines: Engines) -> Wins | None:
    """The same as a judge sees them in both orders, each verdict a row of `evaluations` in the store; None if there are none."""
    if not answered.both:
        return None
    before, after = (_recorded(name, answered.both, of) for name, of in (("before", answered.before), ("after", answered.after)))
    if before.digest == after.digest:
        return Wins(compared=len(answered.both), won=0, lost=0)
    found = judged(compared(after, before, execution), judge, model, execution, engines=engines).results
    return Wins(compared=found.judged, won=found.wins, lost=found.losses)


def counted_wins(rewards: Iterable[Sequence[float | None]]) -> Wins:
    """How often the second of two rewards is the greater one; a pair of which one is missing does not count."""
    steps = [second - first for first, second in rewards if first is not None and second is not None]
    return Wins(compared=len(steps), won=sum(step > 0 for step in steps), lost=sum(step < 0 for step in steps))


def _recorded(name: str, prompts: Sequence[HeldOutPrompt], answers: Mapping[str, ModelAnswer]) -> Recorded:
    texts = [(each.prompt_id, answers[each.prompt_id].text) for each in prompts]
    record = InputRecord(reference=name, table=None, fingerprint=f"file:{hashlib.sha256(orjson.dumps(texts)).hexdigest()}")
    rows = (RecordedAnswer((each.prompt_id, 0), each.messages, answers[each.prompt_id].text, at, None, None) for at, each in enumerate(prompts))
    return Recorded(name, record, answers=tuple(rows))
