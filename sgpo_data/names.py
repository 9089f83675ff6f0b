"""Identities and places as they are written and read: of models, raw rows, datasets, on the Hub, in buckets and at a server."""

import re
from dataclasses import dataclass, replace

from sgpo_data.errors import ModelError, UsageError

SCHEME = "hf://"
PREFIX = f"{SCHEME}datasets/"
COMMIT = re.compile(r"[0-9a-f]{40}")
_WRITTEN = re.compile(rf"{PREFIX}(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>refs/(?:pr|convert)/[^/@]+|[^/@]+))?(?:/(?P<path>.+?))?/*", re.ASCII)


@dataclass(frozen=True)
class HubPlace:
    """A folder or file of a dataset repository; the repository itself where `path` is empty."""

    repository: str
    revision: str | None
    """Branch, tag or commit; None for the default branch."""
    path: str

    def __str__(self) -> str:
        # As huggingface_hub writes a branch such as feature/x.
        revision = "" if self.revision is None else "@" + self.revision.replace("/", "%2F")
        return f"{PREFIX}{self.repository}{revision}" + (f"/{self.path}" if self.path else "")

    @property
    def address(self) -> str:
        """As the file systems of the Hub name it, without the scheme."""
        return str(self).removeprefix(SCHEME)

    @property
    def fixed(self) -> bool:
        """Whether it cannot change: its revision is a commit."""
        return self.revision is not None and COMMIT.fullmatch(self.revision) is not None

    def at(self, revision: str) -> "HubPlace":
        """The same place at another revision."""
        return replace(self, revision=revision)

    def folder(self, name: str) -> "HubPlace":
        """A folder of this place, or the place itself if the name is empty."""
        return replace(self, path=self.file(name)) if name else self

    def file(self, name: str) -> str:
        """Path in the repository of a file of this folder."""
        return f"{self.path}/{name}" if self.path else name


def hub_place(reference: str) -> HubPlace | None:
    """The place that a reference names, None if it is not on the Hub.

    Raises UsageError if it begins with hf:// and makes no sense.
    """
    if not reference.startswith(SCHEME):
        return None
    found = _WRITTEN.fullmatch(reference)
    if found is None or ".." in (found["path"] or "").split("/"):
        raise UsageError(f"{reference}: is no place on the Hub; write {PREFIX}org/name@revision/path, with a / in a revision as %2F")
    revision = found["revision"]
    return HubPlace(found["repository"], revision and revision.replace("%2F", "/").replace("%2f", "/"), found["path"] or "")


BUCKETS = "s3://"
_IN_BUCKET = re.compile(rf"{BUCKETS}(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])(?:/(?P<path>.+?))?/*", re.ASCII)


@dataclass(frozen=True)
class BucketPlace:
    """What lies under a key of a bucket, or begins with it as a folder does; the bucket itself where `path` is empty."""

    bucket: str
    path: str

    def __str__(self) -> str:
        return f"{BUCKETS}{self.bucket}" + (f"/{self.path}" if self.path else "")

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    def file(self, name: str) -> "BucketPlace":
        """What is called so below this place."""
        return replace(self, path=f"{self.path}/{name}" if self.path else name)


def bucket_place(reference: str) -> BucketPlace | None:
    """The place that a reference names, None if it is in no bucket.

    Raises UsageError if it begins with s3:// and makes no sense.
    """
    if not reference.startswith(BUCKETS):
        return None
    found = _IN_BUCKET.fullmatch(reference)
    path = (found["path"] or "") if found else ""
    # A version would be a snapshot of one file, and a dataset is several.
    if found is None or (path and {"", ".", ".."} & set(path.split("/"))) or "?versionId=" in path:
        raise UsageError(f"{reference}: is no place in a bucket; write {BUCKETS}bucket/path, with small letters, digits, . and - in the bucket")
    return BucketPlace(found["bucket"], path)


def remote(reference: str) -> bool:
    """Whether what a reference names lies elsewhere, on the Hub or in a bucket."""
    return reference.startswith((SCHEME, BUCKETS))


ENDPOINT = "openai:"
"""What the reference of a model at a server begins with; its name there follows."""


def endpoint_name(reference: str) -> str | None:
    """The name of a model at a server; None if the reference is of a folder or on the Hub.

    Raises ModelError if the name is empty.
    """
    if not reference.startswith(ENDPOINT):
        return None
    name = reference.removeprefix(ENDPOINT).strip()
    if not name:
        raise ModelError(f"{reference}: no name of a model; give the one that the server knows it by, as {ENDPOINT}NAME")
    return name


GIVEN = "given"
"""Stands for what no model of ours wrote."""
DIGITS = 8
"""Hex digits of a fingerprint in the name of a folder."""
MODEL = "model"
"""What a trained model is called in its name, beside the tables."""


@dataclass(frozen=True, slots=True)
class MadeName:
    """`<table>@<8 hex>`: what a dataset or a trained model of this fingerprint is called, in the store and in messages."""

    of: str
    digits: str

    @classmethod
    def made(cls, of: str, fingerprint: str) -> "MadeName":
        """Of a table (or a stage, or `model`) and the fingerprint of what was made."""
        return cls(of, fingerprint[:DIGITS])

    @classmethod
    def parsed(cls, name: str) -> "MadeName | None":
        """None if the name is of another form."""
        of, at, digits = name.partition("@")
        return cls(of, digits) if of and at else None

    def __str__(self) -> str:
        return f"{self.of}@{self.digits}"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """`train:<32 hex>`: a model that a training step made, known before it is trained."""

    digest: str

    @classmethod
    def made(cls, fingerprint: str) -> "TrainedModel":
        """The model of a training step of this fingerprint."""
        return cls(fingerprint[:32])

    @property
    def name(self) -> MadeName:
        """Of its folder in the store."""
        return MadeName.made(MODEL, self.digest)

    def __str__(self) -> str:
        return f"train:{self.digest}"


@dataclass(frozen=True, slots=True)
class FolderModel:
    """`folder:<digest>`: a model folder from elsewhere, known by its content."""

    digest: str

    def __str__(self) -> str:
        return f"folder:{self.digest}"


@dataclass(frozen=True, slots=True)
class HubModel:
    """`hub:<name>@<commit>`: a model of the Hub."""

    name: str
    commit: str

    @property
    def place(self) -> str:
        """As a reference that finds it."""
        return f"{self.name}@{self.commit}"

    def __str__(self) -> str:
        return f"hub:{self.place}"


@dataclass(frozen=True, slots=True)
class EndpointModel:
    """`endpoint:<name>`: a model at a server, of which nothing but the name is known."""

    name: str

    def __str__(self) -> str:
        return f"endpoint:{self.name}"


@dataclass(frozen=True, slots=True)
class AdaptedModel:
    """`<base>+<adapter>`: a model with an adapter over it, each with an identity of its own."""

    base: "WholeModel"
    adapter: "WholeModel"

    def __str__(self) -> str:
        return f"{self.base}+{self.adapter}"


WholeModel = TrainedModel | FolderModel | HubModel | EndpointModel
ModelIdentity = WholeModel | AdaptedModel


def model_identity(text: str) -> ModelIdentity | None:
    """The identity that a text writes, None if it is none."""
    # The name of a model at a server may hold any character.
    if not text.startswith("endpoint:") and "+" in text:
        base, adapter = map(_whole_model, text.split("+", 1))
        return AdaptedModel(base, adapter) if base and adapter else None
    return _whole_model(text)


def _whole_model(text: str) -> WholeModel | None:
    kind, _, rest = text.partition(":")
    if not rest:
        return None
    match kind:
        case "train":
            return TrainedModel(rest)
        case "folder":
            return FolderModel(rest)
        case "endpoint":
            return EndpointModel(rest)
        case "hub":
            name, _, commit = rest.partition("@")
            return HubModel(name, commit)
    return None


@dataclass(frozen=True, slots=True)
class HubRows:
    """`hub:<name>@<commit>/<config>/<split>`: raw rows of the Hub."""

    name: str
    commit: str
    config: str
    """`default` for the one that the commit itself makes its default."""
    split: str

    @classmethod
    def parsed(cls, identity: str) -> "HubRows | None":
        """None if the rows are not of the Hub."""
        found = _HUB_ROWS.fullmatch(identity)
        return None if found is None else cls(found["name"], found["commit"], found["config"], found["split"])

    def __str__(self) -> str:
        return f"hub:{self.name}@{self.commit}/{self.config}/{self.split}"


_HUB_ROWS = re.compile(r"hub:(?P<name>[^@]+)@(?P<commit>[0-9a-f]+)/(?P<config>[^/]+)/(?P<split>.+)")


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where a model was found, and its adapter: a folder, a place on the Hub, or a name at a server."""

    base: str
    adapter: str | None = None

    @classmethod
    def parsed(cls, location: str, identity: str) -> "ModelPlace":
        """The place that a record of this identity states; only one with an adapter has two parts, since a folder may be called anything."""
        if not isinstance(model_identity(identity), AdaptedModel):
            return cls(location)
        base, _, adapter = location.partition("+")
        return cls(_unescaped(base), _unescaped(adapter))

    def __str__(self) -> str:
        return self.base if self.adapter is None else f"{_escaped(self.base)}+{_escaped(self.adapter)}"


def _escaped(place: str) -> str:
    return place.replace("%", "%25").replace("+", "%2B")


def _unescaped(place: str) -> str:
    return place.replace("%2B", "+").replace("%25", "%")


def split_revision(reference: str) -> tuple[str, str | None]:
    """Name and revision of `org/name@revision` on the Hub, with or without hf://."""
    name, _, revision = reference.removeprefix(SCHEME).partition("@")
    return name, revision or None


def without_revision(reference: str) -> str:
    """The name of a dataset or a model without `@revision`."""
    return reference.partition("@")[0]
