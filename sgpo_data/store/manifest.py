"""The record beside every dataset: what made it, from what, and what is in it."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import metadata

from pydantic import BaseModel, ConfigDict, JsonValue

from sgpo_data.names import MadeName, ModelIdentity, ModelPlace, model_identity

MANIFEST = "manifest.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    """A Parquet part."""

    name: str
    rows: int
    bytes: int
    sha256: str


class InputRecord(_Record):
    """What a dataset was made from."""

    reference: str
    """As it was given."""
    table: str | None
    """None for what is not ours."""
    fingerprint: str
    """Of its manifest; of what is not ours, the Hub commit or the content digest."""

    @property
    def made_name(self) -> MadeName:
        """What it is called in messages; raw for what is not ours."""
        return MadeName.made(self.table or "raw", self.fingerprint.rpartition(":")[2])


class ModelRecord(_Record):
    """A model that took part."""

    identity: str
    """What the rows name it by: train:<fingerprint>, hub:<name>@<commit>, folder:<content digest> or endpoint:<name>."""
    location: str
    """Where it was found: a folder or a Hub reference."""
    verifiable: bool = True
    """False for an endpoint, whose name is all that is known."""

    @property
    def kind(self) -> ModelIdentity | None:
        """The identity taken apart; None if it is of no form that is known here."""
        return model_identity(self.identity)

    @property
    def place(self) -> ModelPlace:
        """The location taken apart."""
        return ModelPlace.parsed(self.location, self.identity)


class Identity(_Record):
    """All that decides the rows; its digest is the fingerprint."""

    stage: str
    revision: int
    schema_version: int
    """Of the table it writes; of a model, that of the table it is trained on. Those of its inputs are in their fingerprints."""
    fields: JsonValue
    inputs: tuple[InputRecord, ...]
    models: dict[str, ModelRecord]

    @property
    def made_name(self) -> MadeName:
        """What its stage made, in messages."""
        return MadeName.made(self.stage, self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over stage, revision, version of the table, fields, and the fingerprints of inputs and models; where they lie does not count."""
        parts = {
            "stage": self.stage,
            "revision": self.revision,
            "schema_version": self.schema_version,
            "fields": self.fields,
            "inputs": [record.fingerprint for record in self.inputs],
            "models": {role: record.identity for role, record in self.models.items()},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()

    def differences(self, other: "Identity") -> list[str]:
        """What sets `other` apart, as `field: this -> other`, in the words of the recipe."""
        mine, yours = self._flat(), other._flat()
        return [f"{name}: {mine.get(name, 'absent')} -> {yours.get(name, 'absent')}" for name in {**mine, **yours} if mine.get(name) != yours.get(name)]

    def _flat(self) -> dict[str, str]:
        whole: dict[str, JsonValue] = {"stage": self.stage, "revision": self.revision, "schema_version": self.schema_version}
        whole |= {f"input {i}": record.fingerprint[:16] for i, record in enumerate(self.inputs, 1)}
        whole |= {role: record.identity for role, record in self.models.items()}
        return {name: str(value) for name, value in {**whole, **_flat("", self.fields)}.items()}


class Host(_Record):
    """The machine, as far as it can decide what comes out of a model."""

    platform: str
    processor: str
    python: str
    accelerator: str | None


class Manifest(_Record):
    """What stands in manifest.json, which is written last: a dataset without one was never finished."""

    table: str
    fingerprint: str
    identity: Identity

    @property
    def made_name(self) -> MadeName:
        """What it is called, in the store and in messages."""
        return MadeName.made(self.table, self.fingerprint)

    origin: ModelRecord | None
    """The model that the lineage began with; it scores unless another is named."""
    rows_in: int
    rows: int
    outcomes: dict[str, int]
    """Rows by outcome: finish reason, dropping rule or kind."""
    facts: dict[str, float]
    """Numbers a stage took from the whole table, such as fences."""
    warnings: tuple[str, ...]
    files: tuple[FileRecord, ...]
    seconds: float
    """Wall time over all sessions; that of a killed one counts up to its last row. Datasets made at the same time share it."""
    tokens: int
    """Tokens generated, or answer tokens scored, over all sessions."""
    retokenized: int = 0
    """Rows whose text becomes other tokens than were sampled when it is read again: what is scored and trained is another way to write it."""
    deterministic: bool
    """Whether the same machine repeats the bytes: not so where a model ran on an accelerator or in reduced precision."""
    created: datetime
    host: Host
    versions: dict[str, str]
    git_commit: str | None
    """Of the folder the command ran in; with `-dirty` if it had changes."""


class ModelManifest(_Record):
    """What stands in the manifest.json of a model that a training step made; written last, as for a dataset."""

    fingerprint: str
    identity: Identity
    origin: ModelRecord | None
    """The model that the lineage of its data began with; None if no model wrote that data, and then it is an origin itself."""
    weights: str
    """Content digest of the folder, as for a foreign one: what is loaded is what was trained."""
    rows: int
    """Pairs or examples trained on in each epoch."""
    left_out: int
    """Rows longer than max_tokens."""
    unusable: dict[str, int] = {}
    """Rows that could not be trained on otherwise, by reason."""
    config: JsonValue
    """TRL's configuration with every default written out."""
    metrics: dict[str, float]
    """Last value of each logged number."""
    seconds: float
    tokens: int
    deterministic: bool
    created: datetime
    host: Host
    versions: dict[str, str]
    git_commit: str | None


@cache
def versions() -> dict[str, str]:
    """Installed versions of what decides the rows."""
    found = {}
    for package in ("sgpo-data", "torch", "transformers", "tokenizers", "trl", "vllm", "datasets", "duckdb", "pyarrow", "polars", "rapidfuzz", "rensa"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def git_commit() -> str | None:
    """The commit of the folder the command runs in, None outside of a repository."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def host(accelerator: str | None) -> Host:
    """This machine."""
    return Host(platform=platform.platform(), processor=platform.machine(), python=platform.python_version(), accelerator=accelerator)


def _flat(prefix: str, value: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {name: leaf for key, inner in value.items() for name, leaf in _flat(f"{prefix}.{key}".lstrip("."), inner).items()}
