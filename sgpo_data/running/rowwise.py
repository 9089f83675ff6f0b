"""A row-wise stage over its input: a stream of rows through a model."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

from sgpo_data.engines.loading import Loading, WeightsLoading
from sgpo_data.engines.opening import check_openable, scorer_of
from sgpo_data.errors import RecipeError
from sgpo_data.execution import Execution
from sgpo_data.progress import Report, progress
from sgpo_data.references.model import Model
from sgpo_data.running.engines import Engines, OpenedModel
from sgpo_data.running.job import StageJob
from sgpo_data.running.stream import Fill, Filled, Measure, generated, measured, stream
from sgpo_data.stages import GeneratingStage, ModelRole, RowStage, ScoringStage
from sgpo_data.stages.improve.templates import recorded_templates
from sgpo_data.store.dataset import Dataset, Readable
from sgpo_data.store.parts import Plan
from sgpo_data.store.resume import last_in, take_up_share
from sgpo_data.store.share import PartRange
from sgpo_data.store.shares import Expected
from sgpo_data.store.unfinished import StageSummary, Unfinished


@dataclass(frozen=True)
class RowJob(StageJob):
    """A dataset whose rows a model fills."""

    stage: RowStage
    model: Model
    loading: Loading

    @property
    def roles(self) -> tuple[tuple[ModelRole, Model], ...]:
        """The model that fills the rows."""
        return ((self.stage.model_role, self.model),)

    @property
    def loadings(self) -> tuple[Loading, ...]:
        """Of the model that fills the rows."""
        return (self.loading,)

    @property
    def author(self) -> str:
        """Identity of the model that fills the rows."""
        return self.model.record.identity

    @property
    def exact(self) -> bool:
        """Whether its models compute in a type whose results repeat bit for bit."""
        return self.stage.dtype == "float32"

    def part_rows(self, execution: Execution) -> int:
        """As many as the execution says."""
        return execution.part_rows

    def check(self, execution: Execution) -> None:
        """Raises what opening the model that fills the rows would, as far as it shows without loading it."""
        check_openable(self.loading, self.model.config, adapter=self.model.adapter, how=execution)

    def check_fit(self, source: Readable) -> None:
        """Raises RecipeError if the stage can use none of the rows."""
        if why := self.stage.unfit(source.rows()):
            raise RecipeError(f"{self.stage.stage_name}: {source.reference}: {why}")

    def rows_of(self, source: Readable) -> int:
        """How many rows it makes from a source that has at least one."""
        return source.manifest.rows * len(list(self.stage.items(next(source.rows()))))

    def summary(self, rows_in: int) -> StageSummary:
        """What the manifest records, once all rows are made."""
        return StageSummary(rows_in, self.stage.outcome, origin=self.origin, exact=self.exact)

    def located(self) -> Self:
        """The same job with paths that mean the same in every folder."""
        source = self.source()
        if isinstance(source, Dataset):
            source = replace(source, folder=source.folder.absolute())
        return replace(self.reading(source), model=self.model.located())

    def reading(self, source: Readable) -> Self:
        """The same job where its input lies elsewhere."""
        return replace(self, input=replace(self.input, folder=source.folder, dataset=source))

    def found(self) -> Self:
        """The same job with its models where this machine has them.

        Raises ModelError if it has one not.
        """
        return replace(self, model=self.model.found())

    def opened(self, into: Filled, engines: Engines) -> OpenedModel:
        """The model, loaded."""
        engine = engines.opened(self.loading, self.model)
        into.accelerator = engine.accelerator
        return engine

    def fill(self, into: Unfinished, source: Readable, execution: Execution, engines: Engines) -> StageSummary:
        """Makes every missing row, here or on a cluster; each one is safe as soon as it is finished."""
        if execution.ray is not None:
            from sgpo_data.running.on_ray import fill_on_ray

            fill_on_ray(self, into, source, execution, engines)
        else:
            self._fill(into, source, execution, engines, self.rows_of(source))
        return self.summary(source.manifest.rows)

    def make_share(self, parts: PartRange, folder: Path, execution: Execution, engines: Engines) -> Dataset | None:
        """Those parts of the dataset in this folder, while other processes make theirs; the dataset, if it is whole with them.

        Raises what `make` does; the same call resumes after an error or a kill.
        """
        source = self.source()
        rows = self.rows_of(source)
        plan = Plan(identity=self.identity, table=self.writes, part_rows=self.part_rows(execution))
        with take_up_share(folder, plan, parts, Expected.of(rows, self.summary(source.manifest.rows))) as into:
            if into is not None:
                self._fill(into, source, execution, engines, parts.rows_of(rows, into.plan.part_rows))
        return last_in(folder)

    def _fill(self, into: Unfinished, source: Readable, execution: Execution, engines: Engines, rows: int) -> None:
        self.check_fit(source)
        with progress({self.stage.stage_name: rows}, style=execution.progress, status=execution.status) as (report,):
            self.stream(into, source, engines, report)

    def stream(self, into: Filled, source: Readable, engines: Engines, report: Report) -> None:
        """Makes the missing rows of its parts in this process."""
        opened = partial(self._opened, into, source, engines)
        stream(self.stage, source.rows(), into, author=self.author, opened=opened, report=report)

    @abstractmethod
    def _opened(self, into: Filled, source: Readable, engines: Engines) -> Fill:
        """What fills items, with all its models loaded."""


@dataclass(frozen=True)
class GeneratingJob(RowJob):
    """A dataset whose rows a model answers."""

    stage: GeneratingStage

    def _opened(self, into: Filled, source: Readable, engines: Engines) -> Fill:
        return generated(self.stage, self.opened(into, engines), self.author)


@dataclass(frozen=True)
class ScoringJob(RowJob):
    """A dataset whose rows a model measures."""

    stage: ScoringStage

    def _opened(self, into: Filled, source: Readable, engines: Engines) -> Fill:
        scorer = scorer_of(self.opened(into, engines))
        rows = partial(self.stage.rows, author=self.author, templates=recorded_templates(source.manifest.identity.fields))
        return measured(self._measure(rows, engines), scorer)

    def _measure(self, rows: Measure, engines: Engines) -> Measure:
        return rows


@dataclass(frozen=True)
class RewardingJob(ScoringJob):
    """A dataset whose rows a model measures and a reward model rewards."""

    reward_model: Model
    reward_loading: WeightsLoading

    @property
    def roles(self) -> tuple[tuple[ModelRole, Model], ...]:
        """The model that measures and the one that rewards."""
        return (*super().roles, (self.stage.reward_role, self.reward_model))

    @property
    def loadings(self) -> tuple[Loading, ...]:
        """Of both."""
        return (*super().loadings, self.reward_loading)

    def located(self) -> Self:
        """Of both models."""
        return replace(super().located(), reward_model=self.reward_model.located())

    def found(self) -> Self:
        """Of both models."""
        return replace(super().found(), reward_model=self.reward_model.found())

    @property
    def exact(self) -> bool:
        """Whether both compute in a type whose results repeat bit for bit."""
        return super().exact and self.stage.reward.dtype == "float32"

    def check(self, execution: Execution) -> None:
        """Of both."""
        from sgpo_data.engines.local.reward import ClassifierRewarder

        super().check(execution)
        ClassifierRewarder.check(self.reward_model.config, dtype=self.reward_loading.dtype)

    def _measure(self, rows: Measure, engines: Engines) -> Measure:
        rewarder = engines.rewarder(self.reward_loading, self.reward_model)
        return lambda items, scorer: self.stage.rewarded(rows(items, scorer), rewarder, self.reward_model.record.identity)
