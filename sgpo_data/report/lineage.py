"""Where a run's things come from: every dataset and model with its fingerprint, what made it, and of what."""

from collections.abc import Sequence
from dataclasses import dataclass

from sgpo_data.loop.rounds import MODEL, Round, RoundModel
from sgpo_data.report.flow import COLUMN, short, trained_record
from sgpo_data.store.manifest import Identity
from sgpo_data.training.options import OBJECTIVES

SETTINGS = ("objective", "learning_rate", "beta", "sft_weight", "epochs", "batch_rows", "max_tokens", "seed", "rows", "left_out")
DPO = ("beta", "sft_weight")
"""Settings that count for dpo alone."""


@dataclass(frozen=True)
class Origin:
    """A dataset or a model, and where it comes from."""

    place: str
    name: str
    fingerprint: str
    rows: int
    stage: str
    made_of: tuple[str, ...]
    models: tuple[tuple[str, str, str], ...]
    """Role, short name, identity."""
    seconds: float
    repeats: bool
    """Whether the same machine makes the same bytes again."""


@dataclass(frozen=True)
class ModelLineage:
    """A model, and the settings that made it."""

    place: str
    name: str
    identity: str
    settings: tuple[str, ...]
    """One per name of SETTINGS, empty where it does not count."""


def origins(rounds: Sequence[Round]) -> list[Origin]:
    """Everything that was made, in the order of the loop."""
    found = []
    for made in rounds:
        for table in (each for each in COLUMN if each in made.datasets):
            manifest = made.datasets[table].manifest
            found.append(_origin(made.place, table, manifest.fingerprint, manifest.rows, manifest.identity, manifest.seconds, manifest.deterministic))
        if made.model is not None:
            own = made.model.manifest
            found.append(_origin(made.place, MODEL, own.fingerprint, own.rows, own.identity, own.seconds, own.deterministic))
    return found


def models(rounds: Sequence[Round]) -> list[ModelLineage]:
    """The models that were trained."""
    return [_trained(made.place, made.model) for made in rounds if made.model is not None]


def _origin(place: str, name: str, fingerprint: str, rows: int, identity: Identity, seconds: float, repeats: bool) -> Origin:
    # A reference may be a path of this machine; the fingerprint is what it is known by elsewhere.
    made_of = tuple(str(record.made_name) for record in identity.inputs)
    named = tuple((role, short(record), record.identity) for role, record in identity.models.items())
    return Origin(place, name, fingerprint, rows, identity.stage, made_of, named, seconds, repeats)


def _trained(place: str, model: RoundModel) -> ModelLineage:
    manifest = model.manifest
    fields = manifest.identity.fields
    given = fields if isinstance(fields, dict) else {}
    own = {"rows": f"{manifest.rows:,}", "left_out": f"{manifest.left_out:,}"}
    counting = [name for name in SETTINGS if OBJECTIVES[str(given.get("objective"))].compares or name not in DPO]
    told = {name: str(given[name]) for name in counting if name in given} | own
    record = trained_record(manifest)
    return ModelLineage(place, short(record), record.identity, tuple(told.get(name, "") for name in SETTINGS))
