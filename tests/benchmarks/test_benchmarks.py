"""The benchmarks run; how fast is for a quiet machine to say."""

import subprocess
import sys
from pathlib import Path

STREAM = Path(__file__).parent.parent.parent / "benchmarks" / "stream.py"


def test_the_stream_is_timed_for_every_stage_that_goes_row_by_row() -> None:
    finished = subprocess.run([sys.executable, STREAM, "--rows", "300", "--repeats", "1"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    lines = [line.split(" | ") for line in finished.stdout.splitlines() if line.startswith("| ")][2:]
    assert [line[0].removeprefix("| ") for line in lines] == ["seed", "seed", "improve", "score-ppl", "seed"]
