"""Names as they are written and read: places on the Hub, endpoints, models."""

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


def trained_identity(fingerprint: str) -> str:
    """What a model made by a training step is named by, known before it is trained."""
    return f"train:{fingerprint[:32]}"
