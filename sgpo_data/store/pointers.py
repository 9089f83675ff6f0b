"""Git LFS pointers: what a clone holds in place of a file that was not fetched."""

from pathlib import Path

START = b"version https://git-lfs.github.com/spec/"
"""https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: how every pointer begins."""


def pointer_fault(path: Path) -> str | None:
    """What is wrong with a file that is a pointer; None of any other file, and of one that cannot be read."""
    try:
        with path.open("rb") as file:
            pointer = file.read(len(START)) == START
    except OSError:
        return None
    return f"a Git LFS pointer, not the file itself; run git lfs pull in {path.parent}" if pointer else None
