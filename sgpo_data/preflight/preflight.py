"""All checks of a recipe, in the order in which money would be lost."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from sgpo_data.engines.chat import Chat
from sgpo_data.engines.loading import WeightsLoading
from sgpo_data.errors import ModelError
from sgpo_data.execution import Execution
from sgpo_data.loop.plan import ReferenceCache, Step, plan_recipe
from sgpo_data.preflight.answers import answer_checks
from sgpo_data.preflight.check import Check, skipped
from sgpo_data.preflight.cost import cost_checks
from sgpo_data.preflight.likelihood import gates_check, likelihood_checks, unlike_checks
from sgpo_data.preflight.memory import memory_checks
from sgpo_data.preflight.model import context_checks, opened_chat, template_checks, weights_check
from sgpo_data.preflight.policies import policy_checks
from sgpo_data.preflight.sample import Sampled, make_sample, sample_recipe
from sgpo_data.preflight.spoilt import Spoilt
from sgpo_data.recipe.file import read_recipe
from sgpo_data.recipe.recipe import Recipe
from sgpo_data.references.model import Model
from sgpo_data.running.engines import Engines, OpenModel
from sgpo_data.running.engines import open_model as open_engine
from sgpo_data.running.planning import planned
from sgpo_data.sources.prompts import PromptsJob
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.input import input_of
from sgpo_data.training.job import TrainJob
from sgpo_data.training.memory import BYTES, model_size


def preflight(path: Path, execution: Execution, *, rows: int, device_memory: float | None = None, open_model: OpenModel = open_engine) -> list[Check]:
    """Every check of the recipe on a sample of so many prompts of each kind of phase.

    Raises RecipeError if the recipe has faults, and whatever reading its sources or running its models raises.
    """
    recipe, known = read_recipe(path), ReferenceCache()
    steps = plan_recipe(recipe, execution, known=known)
    adapter = None if recipe.adapter is None else recipe.located(recipe.adapter)
    model = known.model(recipe.located(recipe.model), adapter)
    raw = {step.phase for step in steps if isinstance(step.job, PromptsJob)}
    sample = sample_recipe(recipe, rows, raw=raw)
    weights = weights_check(model)
    checks = [weights, *policy_checks(steps)]
    prompts = list(make_sample(sample, execution, known=known, engines=None))
    chat, faults = _chat(model, prompts)
    checks += faults
    if chat is not None:
        checks += _rendered_checks(chat, prompts)
    if weights.verdict == "fail" or (chat is None and model.endpoint is None):
        checks.append(skipped("generation", "the model cannot be loaded"))
    else:
        with closing(Engines(execution, open_model=open_model)) as engines:
            checks += _generated_checks(sample, execution, known=known, engines=engines)
    return [*checks, *_budget(model, prompts, steps, execution, device_memory)]


def _chat(model: Model, sampled: Sequence[Sampled]) -> tuple[Chat | None, list[Check]]:
    if model.endpoint is not None:
        return None, [skipped("template", "the model is at a server")]
    try:
        return opened_chat(model, sampled), []
    except ModelError as error:
        return None, [Check("template", "fail", str(error), advice="give a folder with a chat template that renders a question and an answer")]


def _rendered_checks(chat: Chat, sampled: Sequence[Sampled]) -> Iterator[Check]:
    rows = [row for each in sampled for row in each.datasets["prompts"].rows()]
    yield from template_checks(chat, rows)
    for each in sampled:
        yield from context_checks(chat, each)


def _generated_checks(sample: Recipe, execution: Execution, *, known: ReferenceCache, engines: Engines) -> Iterator[Check]:
    first: Dataset | None = None
    for each in make_sample(sample, execution, known=known, engines=engines):
        yield from answer_checks(each)
        if first is None and "responses" in each.datasets:
            first = each.datasets["responses"]
            yield from _reference_checks(each, first, execution, engines)


def _reference_checks(sampled: Sampled, responses: Dataset, execution: Execution, engines: Engines) -> Iterator[Check]:
    phase = sampled.phase
    own = sampled.scoring
    if own is None:
        yield skipped("ppl tells references", f"phase {phase.name} has no score-ppl")
        return
    given = Spoilt(responses).made(execution)
    if given is None:
        yield skipped("ppl tells references", "fewer than two prompts of the sample have a reference")
        return
    models = {role.name: model for role, model in own.roles}
    scoring = planned(own.stage, given, model=models["scorer"], reward_model=models.get("reward_model"))
    scored = scoring.make(execution.store / scoring.name, execution, engines)
    rows = list(scored.rows())
    if phase.filter is not None:
        # Spoilt copies have no rewards, and gates look at none.
        gates = phase.filter.model_copy(update={"ppl": phase.filter.ppl.model_copy(update={"strategy": "none"}), "rules": {}})
        deciding = planned(gates, input_of(scored, str(scored.folder)), model=None)
        yield gates_check(list(deciding.make(execution.store / deciding.name, execution, engines).rows()))
    yield from likelihood_checks(rows)
    yield from unlike_checks(rows, phase.filter)


def _budget(model: Model, sampled: Sequence[Sampled], steps: Sequence[Step], execution: Execution, device_memory: float | None) -> Iterator[Check]:
    if model.endpoint is not None:
        yield from cost_checks(steps, execution, weights=0, width=4)
        return
    size, writing = model_size(model.folder), [stage for each in sampled for stage in each.generating if stage.context_tokens is not None]
    trainings = {step.phase: step.job for step in steps if isinstance(step.job, TrainJob)}
    longest = max((stage.context_tokens or 0 for stage in writing), default=execution.batch_tokens)
    loading = WeightsLoading(writing[0].engine, writing[0].dtype, longest, quantization=writing[0].quantization) if writing else None
    yield from memory_checks(size, loading, trainings, execution, device_memory)
    yield from cost_checks(steps, execution, weights=size.weights, width=BYTES.get(loading.dtype if loading else "float32", 4))
