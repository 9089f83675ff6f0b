"""What every use of DuckDB here shares: quoting, and a place to spill to."""

import tempfile
from pathlib import Path
from uuid import uuid4


def spill_folder() -> str:
    """A place for what does not fit in memory; DuckDB makes it when it is needed, and removes it when the connection closes."""
    return str(Path(tempfile.gettempdir()) / f"sgpo-{uuid4().hex[:12]}")


def quoted(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'
