"""What a hub keeps on disk: contents by their SHA-256, and a journal of all that happened, which a server replays when it starts."""

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

Event = dict[str, object]


@dataclass(frozen=True)
class File:
    """A file of a commit; `oid` is git's own, of an LFS file that of its pointer."""

    sha256: str
    oid: str
    size: int
    lfs: bool


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (sha256.encode(), size)


class Storage:
    def __init__(self, folder: Path) -> None:
        self.blobs = folder / "blobs"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.journal = folder / "journal.jsonl"
        self.lock = threading.Lock()

    def replayed(self) -> list[Event]:
        """All events of earlier servers; a line that a kill cut off never happened, and is taken away."""
        content = self.journal.read_bytes() if self.journal.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self.journal, len(whole))
        return [json.loads(line) for line in whole.splitlines()]

    def record(self, event: Event) -> None:
        with self.lock, self.journal.open("ab", buffering=0) as file:
            file.write(json.dumps(event).encode() + b"\n")

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        place = self.blobs / sha256
        if not place.exists():
            aside = self.blobs / f".{sha256}.{threading.get_ident()}"
            aside.write_bytes(content)
            aside.replace(place)
        return sha256

    def get(self, sha256: str) -> bytes:
        return (self.blobs / sha256).read_bytes()

    def regular(self, content: bytes) -> File:
        return File(self.put(content), git_oid(content), len(content), lfs=False)

    def large(self, sha256: str) -> File:
        """An LFS file of content that is here."""
        size = (self.blobs / sha256).stat().st_size
        return File(sha256, git_oid(pointer(sha256, size)), size, lfs=True)
