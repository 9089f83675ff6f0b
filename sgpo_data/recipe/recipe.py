"""What a recipe says: a model, and phases of stages in their fixed order."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.evaluation.options import Evaluate, Verdicts
from sgpo_data.names import GIVEN, endpoint_name, remote
from sgpo_data.paths import local_path
from sgpo_data.sources.options import Source
from sgpo_data.sources.picking import quotas
from sgpo_data.stages import Stage
from sgpo_data.stages.filter.filter import Filter
from sgpo_data.stages.improve.improve import Improve
from sgpo_data.stages.order import STAGES, model_roles
from sgpo_data.stages.pair.pair import Pair
from sgpo_data.stages.score_ppl import ScorePpl
from sgpo_data.stages.seed import Seed
from sgpo_data.training.options import Train

PREVIOUS, FIRST, RECIPE = "previous", "first", "recipe"
SELF, ORIGIN, START = "self", "origin", "start"
WORDS = (PREVIOUS, FIRST, RECIPE, SELF, ORIGIN, GIVEN, START)
"""What names a model by its part in the loop, so no phase may be called so."""

_SEEDS = {"sampling": ("sampling", "seed"), "seed": ("seed",)}
_UNNAMED = {"policy": (SELF, RECIPE), "origin": (ORIGIN, RECIPE), "none": ()}
SEEDED = (
    ("source", "shuffle_seed"),
    *((stage.stage_name, *_SEEDS[name]) for stage in STAGES for name in stage.model_fields if name in _SEEDS),
    ("train", "seed"),
)
"""Keys of a phase that are the recipe's `seed` when they are not given."""


def _is_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError("a name is small letters, digits, - and _")
    if name in WORDS:
        raise ValueError(f"{name} means something else where a model is named")
    return name


@dataclass(frozen=True)
class NamedModel:
    """A key of a phase that names a model of one of the stages."""

    stage: type[Stage]
    key: str
    model: str
    words: tuple[str, ...]
    """What may stand for a model by its part in the loop; where nothing may, the key names a model or is not there."""


class PhaseSource(Source):
    """Where the prompts of a phase come from."""

    path: str = Field(
        description="A file, a folder or a dataset, looked for beside the recipe; a dataset of the root, as recipe/phase-round/table; or the name of a Hub "
        "dataset."
    )

    def options(self, phase_round: int, prompts_per_round: int | None) -> Source:
        """How it is read in this round: each round takes a slice of its own, so a further one changes none before it."""
        options = Source.model_validate(self.model_dump(exclude={"path"}))
        if prompts_per_round is None:
            return options
        if options.shares is not None and options.more:
            quota, *others = quotas(prompts_per_round, options.shares)
            more = tuple(each.sliced(each.source.offset + (phase_round - 1) * share, share) for each, share in zip(options.further, others, strict=True))
            first = {"offset": options.offset + (phase_round - 1) * quota, "limit": quota, "share": None}
            return options.model_copy(update={**first, "more": more})
        return options.model_copy(update={"offset": options.offset + (phase_round - 1) * prompts_per_round, "limit": prompts_per_round})


class Phase(BaseModel):
    """A subsequence of the stages, each with its own keys, then a training step; once or in several rounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(_is_name)] = Field(description="Names its folder; phase1 and so on by position if not given.")
    source: PhaseSource | None = Field(None, description="Where its prompts come from.")
    rounds: int = Field(1, ge=1, description="How often the phase runs, each time with the model of the round before.")
    prompts_per_round: int | None = Field(None, ge=1, description="Prompts of each round, no prompt in two rounds; all prompts in every round if not given.")
    start_from: str = Field(
        PREVIOUS,
        description="The model it answers with and trains: previous (of the phase or round before), or in every round first (the one that came into the "
        "phase), recipe, or that of an earlier phase.",
    )
    improver: str = Field(SELF, description="The model that rewrites: self (the one that answers), recipe, that of an earlier phase, or a model.")
    scorer: str = Field(ORIGIN, description="The model that measures: origin (the one the lineage began with), recipe, that of an earlier phase, or a model.")
    reward_model: str | None = Field(
        None, description="A sequence classifier that rewards answers, for filter's strategy margin and the guards; none if not given."
    )
    judge: str | None = Field(
        None,
        description="In place of a reward model, what says whether each rewrite is better than its response: a model (recipe, that of an earlier phase, one by "
        "name, or openai:NAME), or verdicts that are there, a dataset of evaluations; nobody if not given.",
    )
    verdicts: Verdicts = Field(default_factory=Judge, description="How the judge is asked: flags of sgpo evaluate judge.")
    data_rounds: int = Field(1, ge=1, description="Train on what this round and the ones before it made, so many in all.")
    seed: Seed | None = Field(None, description="Answer every prompt.")
    improve: Improve | None = Field(None, description="Rewrite every answer.")
    score_ppl: ScorePpl | None = Field(None, alias="score-ppl", description="Measure both.")
    filter: Filter | None = Field(None, description="Decide what is kept.")
    pair: Pair | None = Field(None, description="Make pairs or examples.")
    train: Train | None = Field(None, description="Train the next model.")
    evaluate: Evaluate | None = Field(None, description="Evaluate the model that comes out; of a phase that has nothing else, the one that comes in.")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages it has, in their fixed order."""
        found: list[Stage | None] = [getattr(self, stage.stage_name.replace("-", "_")) for stage in STAGES]
        return tuple(stage for stage in found if stage is not None)

    @property
    def models(self) -> tuple[NamedModel, ...]:
        """The models that are named for its stages, and for stages that it has not."""
        roles = [(stage, role) for stage in STAGES for role in model_roles(stage)]
        named = [(stage, role, getattr(self, role.name, None)) for stage, role in roles]
        return tuple(NamedModel(stage, role.name, model, _UNNAMED[role.unnamed]) for stage, role, model in named if model is not None)

    @property
    def evaluates_alone(self) -> bool:
        """Whether all it does is to evaluate the model that comes in, such as the recipe's before anything is trained."""
        return self.evaluate is not None and self.source is None and self.train is None and not self.stages

    @property
    def trains_improver(self) -> bool:
        """Whether the model that comes out has learned to rewrite."""
        return self.improve is not None and self.pair is not None and self.pair.kind == "examples" and self.train is not None


@dataclass(frozen=True)
class Recipe:
    """A recipe without a fault; what its files named is loaded, every seed is filled in."""

    path: Path
    model: str
    """A folder, looked for beside the recipe, `org/name@revision` on the Hub, or `openai:name` at a server."""
    seed: int
    phases: tuple[Phase, ...]
    adapter: str | None = None
    """A LoRA adapter over that model, named likewise."""

    @property
    def name(self) -> str:
        """What its folder in the root is called."""
        return self.path.stem

    def located(self, reference: str) -> str:
        """A path beside the recipe if there is one, else the reference as it is, which names something on the Hub."""
        if endpoint_name(reference) is not None or remote(reference):
            return reference
        beside = Path(os.path.normpath(self.path.parent / local_path(reference)))
        return str(beside) if local_path(beside).exists() or reference.startswith((".", "/", "~")) or reference.count("/") != 1 else reference

    def earlier(self, name: str) -> Iterator[Phase]:
        """The phases before the one of this name, the nearest first."""
        position = [phase.name for phase in self.phases].index(name)
        yield from reversed(self.phases[:position])
