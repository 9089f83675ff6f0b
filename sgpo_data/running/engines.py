"""The engine that is open, kept from one job to the next."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sgpo_data.engines import Generator
from sgpo_data.engines.loading import Loading, ServerLoading, WeightsLoading
from sgpo_data.engines.opening import connect, open_engine
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model

if TYPE_CHECKING:
    from sgpo_data.engines.local.reward import ClassifierRewarder


class OpenedModel(Generator, Protocol):
    """A model that is loaded; most can score too."""

    @property
    def accelerator(self) -> str | None:
        """What it runs on besides the processor, if anything."""
        ...


def open_model(loading: Loading, model: Model, how: Execution) -> OpenedModel:
    """The engine that runs a model, or its copies; raises EngineError if it cannot be loaded."""
    if isinstance(loading, ServerLoading):
        return connect(loading, how=how)
    if how.data_parallel == 1:
        return open_engine(loading, model.folder, adapter=model.adapter, how=how)
    from sgpo_data.engines.copies.replicas import Replicas

    return Replicas.start(loading, model.folder, adapter=model.adapter, how=how)


OpenModel = Callable[[Loading, Model, Execution], OpenedModel]
"""What loads a model as it is to be loaded, or raises EngineError."""


class Engines:
    """The engine that is open, kept for the next job of the same model; one at a time, since it may fill the memory."""

    def __init__(self, execution: Execution, *, open_model: OpenModel = open_model) -> None:
        self._execution, self._open_model = execution, open_model
        self._key: tuple[Loading, str] | None = None
        self._engine: OpenedModel | None = None
        self._rewarder: tuple[WeightsLoading, str, ClassifierRewarder] | None = None

    @property
    def open_model(self) -> OpenModel:
        """What loads a model, for another process to load it too."""
        return self._open_model

    def opened(self, loading: Loading, model: Model) -> OpenedModel:
        """The engine of this model: the open one if it is the same, otherwise loaded after the open one is closed."""
        key = (loading, model.record.identity)
        if self._engine is None or self._key != key:
            self.close()
            self._engine = self._open_model(loading, model, self._execution)
            self._key = key
        return self._engine

    def rewarder(self, loading: WeightsLoading, model: Model) -> "ClassifierRewarder":
        """The reward model, loaded beside the engine that is open, unless it is loaded already."""
        from sgpo_data.engines.local.reward import ClassifierRewarder

        identity, how = model.record.identity, self._execution
        if self._rewarder is None or self._rewarder[:2] != (loading, identity):
            loaded = ClassifierRewarder.load(
                model.folder, dtype=loading.dtype, context_tokens=loading.context_tokens, device=how.device, batch_tokens=how.batch_tokens
            )
            self._rewarder = loading, identity, loaded
        return self._rewarder[2]

    def within(self, change: Callable[[OpenModel], OpenModel]) -> "Engines":
        """Engines that open models in another way; what is open here is closed before the first of them."""

        def opened(loading: Loading, model: Model, how: Execution) -> OpenedModel:
            self.close()
            return change(self._open_model)(loading, model, how)

        return Engines(self._execution, open_model=opened)

    def close(self) -> None:
        """Frees the memory of the models."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
        rewarder, self._rewarder = self._rewarder, None
        if rewarder is not None:
            rewarder[2].close()
