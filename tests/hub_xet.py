"""Uploads by xet, taken in by a hub: hf_xet writes to a folder in place of a server of chunks, and the files are put together from it.

An undocumented door of hf_xet 1.8 for its own tests (`local://`); each token opens a folder of its own, because two processes cannot share one.
"""

import json
import shutil
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hub_answers import Answer, Request
from hub_repository import Repositories, Repository

HEADER = 48
BOOKEND = "f" * 64
VERIFIED, WITH_SHA256 = 1 << 31, 1 << 30


@dataclass(frozen=True)
class XetFile:
    """A file as a shard tells of it."""

    xet_hash: str
    sha256: str
    size: int


class XetFolders:
    def __init__(self, folder: Path, repositories: Repositories) -> None:
        self.folder = folder
        self.repositories = repositories
        self.count = 0

    def token(self, repository: Repository, request: Request) -> Answer:
        self.count += 1
        place = self.folder / str(self.count)
        place.mkdir(parents=True)
        found = {"casUrl": f"local://{place}", "accessToken": "xet", "exp": 1 << 40}
        headers = {"X-Xet-Cas-Url": str(found["casUrl"]), "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(found["exp"])}
        return Answer(200, json.dumps(found).encode(), {"Content-Type": "application/json", **headers})

    def adopt(self, repository: Repository, sha256: str) -> bool:
        for place in sorted(self.folder.iterdir()) if self.folder.is_dir() else []:
            for file in files(place):
                if file.sha256 == sha256:
                    self.repositories.store(repository, _content(place, file), sha256)
                    return True
        return False


def files(place: Path) -> Iterator[XetFile]:
    """Every file that the shards of a folder tell of."""
    for path in sorted(place.glob("xet/xorbs/shards/*.mdb")):
        yield from _files_of_shard(path.read_bytes())


def chunk_bytes(place: Path) -> int:
    """Bytes of all chunks in the folder, as they were sent."""
    return sum(path.stat().st_size for path in place.glob("xet/xorbs/xorbs/default.*") if not path.name.endswith(".tagset"))


def _files_of_shard(shard: bytes) -> Iterator[XetFile]:
    at = HEADER
    while (xet_hash := _hash(shard, at)) != BOOKEND:
        flags, segments = struct.unpack_from("<II", shard, at + 32)
        entries = [struct.unpack_from("<I", shard, at + 48 * (number + 1) + 36)[0] for number in range(segments)]
        at += 48 * (1 + segments) + (48 * segments if flags & VERIFIED else 0)
        if flags & WITH_SHA256:
            yield XetFile(xet_hash, _hash(shard, at), sum(entries))
            at += 48


def _hash(shard: bytes, at: int) -> str:
    """Four numbers of 64 bits, the lowest byte first."""
    return "".join(f"{number:016x}" for number in struct.unpack_from("<4Q", shard, at))


def _content(place: Path, file: XetFile) -> bytes:
    import hf_xet

    with tempfile.TemporaryDirectory() as folder:
        # Of a copy, because the publisher may still have the folder open.
        shutil.copytree(place, Path(folder) / "copy")
        with hf_xet.XetSession().new_file_download_group(endpoint=f"local://{folder}/copy") as group:
            group.start_download_file(hf_xet.XetFileInfo(file.xet_hash, file.size), f"{folder}/file")
        return (Path(folder) / "file").read_bytes()
