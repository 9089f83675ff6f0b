"""The sample: a recipe's phases on a few prompts, with the model it begins with, through the ordinary stages and the store."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from sgpo_data.errors import DatasetError
from sgpo_data.execution import Execution
from sgpo_data.loop.plan import ReferenceCache, Step, plan_recipe
from sgpo_data.recipe.recipe import ORIGIN, RECIPE, SELF, Phase, PhaseSource, Recipe
from sgpo_data.running.engines import Engines
from sgpo_data.running.job import StageJob
from sgpo_data.sources.prompts import PromptsJob
from sgpo_data.stages import ScoringStage
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.seed import Seed
from sgpo_data.store.dataset import Dataset, open_dataset


@dataclass(frozen=True)
class Sampled:
    """What a phase of the sample made, by table."""

    phase: Phase
    steps: tuple[Step, ...]
    datasets: dict[str, Dataset]
    fault: str | None = None
    """What ended it early."""

    @property
    def role(self) -> str | None:
        """The role that its answers are rewritten in; None if they are not."""
        return None if self.phase.improve is None else self.phase.improve.role

    @property
    def generating(self) -> tuple[Seed | Improve, ...]:
        """Its stages that write, with nothing left to be guessed."""
        return tuple(step.job.options for step in self.steps if isinstance(step.job, StageJob) and isinstance(step.job.options, Seed | Improve))

    @property
    def scoring(self) -> StageJob | None:
        """Its step that measures."""
        return next((step.job for step in self.steps if isinstance(step.job, StageJob) and isinstance(step.job.options, ScoringStage)), None)


def sample_recipe(recipe: Recipe, rows: int, *, raw: Collection[str]) -> Recipe:
    """The first phase of each kind, on the first prompts of its source, without training and evaluation.

    A model that is still to be trained is the one the recipe begins with. `raw` are the phases that read a raw source: a dataset of ours is read as it
    stands, so no sample of it is taken.
    """
    own = {phase.name for phase in recipe.phases}
    kinds: dict[str, Phase] = {}
    for phase in recipe.phases:
        if phase.source is not None and phase.name in raw:
            kind = "given" if phase.seed is None else "seeded" if phase.improve is None else phase.improve.role
            kinds.setdefault(kind, _shortened(phase, phase.source, rows, own))
    return replace(recipe, phases=tuple(kinds.values()))


def _shortened(phase: Phase, source: PhaseSource, rows: int, own: Collection[str]) -> Phase:
    limits = [limit for limit in (source.limit, phase.prompts_per_round, rows) if limit is not None]
    return phase.model_copy(
        update={
            "source": source.model_copy(update={"limit": min(limits)}),
            "rounds": 1,
            "prompts_per_round": None,
            "data_rounds": 1,
            "start_from": RECIPE,
            "improver": SELF if phase.improver in own else phase.improver,
            "judge": RECIPE if phase.judge in own else phase.judge,
            "scorer": ORIGIN if phase.scorer in own else phase.scorer,
            "train": None,
            "evaluate": None,
        }
    )


def make_sample(recipe: Recipe, execution: Execution, *, known: ReferenceCache, engines: Engines | None) -> Iterator[Sampled]:
    """Each phase of a sample recipe, made as far as it is not made already; without engines only what needs no model.

    Raises what a stage raises, but for rows that are all dropped: that is a finding.
    """
    steps = plan_recipe(recipe, execution, known=known)
    unopened = Engines(execution)
    for phase in recipe.phases:
        own = tuple(step for step in steps if step.phase == phase.name)
        made: dict[str, Dataset] = {}
        fault = None
        for step in own:
            if engines is None and not isinstance(step.job, PromptsJob):
                break
            try:
                step.job.make(step.folder, execution, engines or unopened)
                made[step.link.name] = open_dataset(step.folder)
            except DatasetError as error:
                if step.job.costly or isinstance(step.job, PromptsJob):
                    raise
                fault = str(error)
                break
        yield Sampled(phase, own, made, fault)
