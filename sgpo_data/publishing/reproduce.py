"""How a published version is made again: its recipe or its commands, what they need, and what may come out otherwise."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from pydantic import JsonValue, ValidationError

from sgpo_data.errors import DatasetError, RecipeError, SgpoError
from sgpo_data.evaluation.votes import PEOPLE
from sgpo_data.execution import Execution
from sgpo_data.hub.fetch import remote_manifest
from sgpo_data.hub.repository import Digest, HubRepository
from sgpo_data.hub.version import publication_record
from sgpo_data.loop.folder import FROZEN
from sgpo_data.loop.plan import plan_recipe
from sgpo_data.loop.remade import remade
from sgpo_data.loop.script import script
from sgpo_data.names import AdaptedModel, HubModel, HubPlace, HubRows, ModelIdentity, TrainedModel, hub_place
from sgpo_data.publishing.lineage import Lineage
from sgpo_data.publishing.publication import LINEAGE, RECIPE
from sgpo_data.publishing.remaking import Remaking, remaking
from sgpo_data.recipe.file import parsed, read_recipe
from sgpo_data.store.files import write_text
from sgpo_data.store.manifest import Identity, Manifest, ModelManifest

SCRIPT = "reproduce.sh"


@dataclass(frozen=True)
class Version:
    """What a published version tells of how it was made."""

    place: HubPlace
    """At its commit."""
    datasets: tuple[Manifest, ...]
    """Those that were published."""
    places: Mapping[str, HubPlace]
    """Where each of them lies, by its fingerprint."""
    lineage: Lineage
    recipe: str | None
    """None if single datasets were published, and not a run."""


@dataclass(frozen=True)
class Reproduction:
    """What was written, and what is known of the outcome."""

    file: Path
    command: str
    same: tuple[str, ...]
    """Published datasets that it makes under the same fingerprint, as table@fingerprint."""
    other: tuple[str, ...]
    """Those that it would make under another one, and why."""
    needs: tuple[str, ...]
    """Models and files that are not on the Hub."""
    may_differ: tuple[str, ...]
    """What is not made of the same bytes on every machine, and why."""
    votes: tuple[str, ...]
    """Votes of people that were published: they are read where they lie, and not made again."""


def published_version(place: HubPlace) -> Version:
    """The version that lies at this place.

    Raises DatasetError if none was published there, HubError if the Hub cannot be asked.
    """
    hub = HubRepository(place.repository)
    commit = hub.commit(place.revision)
    files = hub.files(commit)
    fixed = place.at(commit)
    record = publication_record(hub, commit, files)
    if record is None:
        raise DatasetError(f"{place}: no version that sgpo publish made; name the repository and its tag, as hf://datasets/org/name@v1")
    places = [fixed.folder(config.name) for config in record.configs]
    manifests = tuple(remote_manifest(each, files) for each in places)
    recipe = _text(hub, commit, RECIPE, files)
    try:
        lineage = Lineage.model_validate_json(_text(hub, commit, LINEAGE, files) or "")
    except ValidationError as error:
        raise DatasetError(f"{fixed}/{LINEAGE}: is not of this version of sgpo-data") from error
    return Version(fixed, manifests, {each.fingerprint: lies for each, lies in zip(manifests, places, strict=True)}, lineage, recipe)


def reproduce(version: Version, folder: Path, execution: Execution) -> Reproduction:
    """Writes what makes the version again into a folder, runs nothing, and tells how far it will be the same.

    Raises DatasetError if the folder holds another recipe.
    """
    again = remaking(version.datasets, version.lineage, version.places)
    if version.recipe is not None:
        file = folder / FROZEN
        _write(file, _with_published_votes(version.recipe, file, {each.reference: version.places.get(each.fingerprint) for each in again.votes}))
        command, planned = f"sgpo run {file}", _planned(file, execution)
    else:
        steps = remade(again.datasets, again.models, execution)
        file = folder / SCRIPT
        _write(file, script(f"{version.place}", steps, execution))
        command, planned = f"sh {file}", {step.job.identity.fingerprint for step in steps}
    told = [(str(each.made_name), each) for each in version.datasets if each.identity.stage != PEOPLE]
    same = () if isinstance(planned, str) else tuple(name for name, each in told if each.fingerprint in planned)
    why = planned if isinstance(planned, str) else "this version of sgpo-data makes it otherwise; install the one that its manifest names"
    return Reproduction(
        file,
        command,
        same=same,
        other=tuple(f"{name}: {why}" for name, _ in told if name not in same),
        needs=tuple(_needs(again, version.places)),
        may_differ=tuple(_may_differ(again.datasets, again.models)),
        votes=tuple(f"{each.made_name}: {version.places[each.fingerprint]}" for each in version.datasets if each.identity.stage == PEOPLE),
    )


def _planned(recipe: Path, execution: Execution) -> set[str] | str:
    """Fingerprints that the recipe plans here, or why it cannot be planned."""
    try:
        return {step.job.identity.fingerprint for step in plan_recipe(read_recipe(recipe), execution)}
    except SgpoError as error:
        return f"not known before it can be planned here: {error}"


def _with_published_votes(recipe: str, file: Path, places: Mapping[str, HubPlace | None]) -> str:
    """The recipe with votes named where they were published, in place of a folder that is on no other machine; `places` has them by their folder."""
    published = {name: str(place) for name, place in places.items() if place is not None}
    try:
        judges = [phase.judge for phase in parsed(recipe, file).phases] if published else []
    except RecipeError:
        # What is wrong with it is said where it is planned.
        return recipe
    if not any(judge and Path(judge).name in published for judge in judges):
        return recipe
    data = tomllib.loads(recipe)
    for phase in data["phases"]:
        judge = phase.get("judge", "")
        phase |= {"judge": published[Path(judge).name]} if Path(judge).name in published else {}
    return tomli_w.dumps(data, multiline_strings="\\r" not in recipe)


def _needs(again: Remaking, places: Mapping[str, HubPlace]) -> Iterator[str]:
    made = {str(TrainedModel.made(each.fingerprint)) for each in again.models}
    found: dict[str, str] = {}
    for identity in (*(each.identity for each in again.datasets), *(each.identity for each in again.models)):
        for record in identity.models.values():
            if record.identity not in made and not _on_hub(record.kind):
                found[record.identity] = f"model {record.location}: {record.identity}"
        for given in identity.inputs:
            if given.table is None and HubRows.parsed(given.fingerprint) is None:
                found[given.fingerprint] = f"source {given.reference}: {given.fingerprint[:21]}..."
    yield from found.values()
    for each in again.votes:
        if each.fingerprint not in places:
            yield f"votes {each.reference}: {each.made_name}, which people gave and nothing makes again; put the dataset there, or ask for it on the Hub"
    yield from (f"dataset {each.reference}: {each.made_name}, whose making is not recorded here" for each in again.gone if hub_place(each.reference) is None)


def _on_hub(model: ModelIdentity | None) -> bool:
    return all(isinstance(part, HubModel) for part in ((model.base, model.adapter) if isinstance(model, AdaptedModel) else (model,)))


def _may_differ(datasets: Iterable[Manifest], models: Iterable[ModelManifest]) -> Iterator[str]:
    for each in datasets:
        if not each.deterministic:
            yield f"text of {each.made_name}: {_where(each.identity, each)}"
    for model in models:
        if not model.deterministic:
            yield f"weights of {TrainedModel.made(model.fingerprint).name}: {_where(model.identity, model)}"


def _where(identity: Identity, manifest: Manifest | ModelManifest) -> str:
    """Why the same bytes are not promised."""
    if any(not record.verifiable for record in identity.models.values()):
        return "by a model at a server, of which only the name is known"
    fields = identity.fields if isinstance(identity.fields, Mapping) else {}
    return f"made on {manifest.host.accelerator or manifest.host.processor}{_dtype(fields.get('dtype'))}, which does not repeat every bit"


def _dtype(dtype: JsonValue) -> str:
    return f" in {dtype}" if isinstance(dtype, str) else ""


def _text(hub: HubRepository, commit: str, path: str, files: Mapping[str, Digest]) -> str | None:
    return hub.small_file(commit, path, files[path]).decode() if path in files else None


def _write(file: Path, text: str) -> None:
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise DatasetError(f"{file}: is there already, and is another one; give another folder with -o")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)
