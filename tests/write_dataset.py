"""Writes a small finished dataset, for programs that cannot make one themselves: python tests/write_dataset.py FOLDER."""

import sys
from pathlib import Path

from literal_rows import row
from made import made_dataset

if __name__ == "__main__":
    made_dataset(Path(sys.argv[1]), "filtered", [row("a"), row("b", dropped_by="changed", failed_rules=["changed"])])
