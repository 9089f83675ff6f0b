"""Places to write, of any text: written, or one line."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
from fuzzing import INPUTS, hold_both, numbered, refused, text
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.store.lock import claimed

IMPOSSIBLE = ["x" * 300, "x/" * 3000, "~no-such-user/x"]
COMMANDS = {
    "sql": ["sql", "SELECT 1", "--format", "csv", "-o"],
    "report": ["report", "no-run", "-o"],
    "gc": ["gc", "--root"],
    "publish": ["publish", "--tag", "v1", "--dry-run"],
}


@pytest.mark.parametrize("place", IMPOSSIBLE, ids=["a long name", "a long path", "no such user"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_place_that_no_file_system_holds_is_one_line(command: Sequence[str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*command, place, *(["a/b"] if command[0] == "publish" else [])])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_every_folder_to_write_is_written_or_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def write(place: str) -> None:
        with claimed(Path(place)):
            pass

    refusals = []
    # A place that is written is a folder and a lock, which takes as long as eight that are refused.
    for rng in islice(numbered("places"), INPUTS // 8):
        place = "x" + text(rng).replace("..", ".").replace("/", rng.choice(("/", "_")))
        refusals.append(refused(lambda place=place: write(place)))  # type: ignore[misc]
    hold_both(refusals)
