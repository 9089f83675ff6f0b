"""What is to be made again for a published version: all that it came from, but what came before votes of people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sgpo_data.evaluation.votes import PEOPLE
from sgpo_data.names import HubPlace, TrainedModel
from sgpo_data.publishing.lineage import Lineage
from sgpo_data.store.manifest import Identity, InputRecord, Manifest, ModelManifest


@dataclass(frozen=True)
class Remaking:
    """The makers, each once, and what they read that nothing makes again."""

    datasets: tuple[Manifest, ...]
    models: tuple[ModelManifest, ...]
    """Of trainings."""
    votes: tuple[InputRecord, ...]
    """What people said, as the recipe or the commands that came before name it."""
    gone: tuple[InputRecord, ...]
    """Datasets whose making is not recorded."""


def remaking(published: Sequence[Manifest], lineage: Lineage, places: Mapping[str, HubPlace]) -> Remaking:
    """All that makes these datasets; votes among them are read at their place, which `places` holds by fingerprint."""
    datasets = {each.fingerprint: each for each in (*lineage.datasets, *published)}
    models = {str(TrainedModel.made(each.fingerprint)): each for each in lineage.models}
    votes: dict[str, InputRecord] = {}
    reached = {each.fingerprint for each in published if each.identity.stage != PEOPLE}
    identities = [datasets[fingerprint].identity for fingerprint in reached]
    while identities:
        identity = identities.pop()
        for record in identity.inputs:
            maker = datasets.get(record.fingerprint)
            if maker is not None and maker.identity.stage == PEOPLE:
                votes[record.fingerprint] = record
            elif record.fingerprint not in reached:
                reached.add(record.fingerprint)
                identities += [] if maker is None else [maker.identity]
        for name in (model.identity for model in identity.models.values()):
            if name in models and name not in reached:
                reached.add(name)
                identities.append(models[name].identity)
    at_place = {each: str(places[each]) for each in votes if each in places}
    return Remaking(
        datasets=tuple(each.model_copy(update={"identity": _reading(each.identity, at_place)}) for name, each in datasets.items() if name in reached),
        models=tuple(each for name, each in models.items() if name in reached),
        votes=tuple(votes.values()),
        gone=tuple(each for each in lineage.gone if each.fingerprint in reached),
    )


def _reading(identity: Identity, places: Mapping[str, str]) -> Identity:
    """The same with these inputs read there, which no fingerprint counts."""
    inputs = tuple(each.model_copy(update={"reference": places.get(each.fingerprint, each.reference)}) for each in identity.inputs)
    return identity.model_copy(update={"inputs": inputs})
