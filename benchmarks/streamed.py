"""Filter and pair over rows in a bucket, read where they lie: seconds and peak memory of each command, by rows.

python benchmarks/streamed.py --rows 30000 240000 960000 > benchmarks/results/streamed.md
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep

import boto3
from moto.server import ThreadedMotoServer
from result import document, table
from rows import scored_rows

BUCKET = "bench"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def main() -> None:
    """Prints the table as a document; the server is in this process, the commands in their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[30_000, 240_000])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), help="Folder with room for about 2 KB a row; the bucket is in memory.")
    asked = parser.parse_args()
    os.environ |= CREDENTIALS
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    lines = []
    for rows in asked.rows:
        with tempfile.TemporaryDirectory(dir=asked.work) as folder:
            lines += _measured(rows, Path(folder))
    server.stop()
    print(document("Streamed", __doc__.partition("\n")[0], table(lines)))


def _measured(rows: int, work: Path) -> list[dict[str, object]]:
    scored_rows(work / "scored", rows)
    given, lines = "scored", list[dict[str, object]]()
    for stage in ("filter", "pair"):
        size = _put(work / given, f"{rows}/{given}")
        out = work / stage
        words = [str(Path(sys.executable).with_name("sgpo")), stage, f"s3://{BUCKET}/{rows}/{given}", "--stream", "-o", str(out), "--root", str(work / "root")]
        began = perf_counter()
        with subprocess.Popen([*words, "--progress", "none"], stdout=subprocess.DEVNULL) as running:
            peak = 0.0
            while running.poll() is None:
                peak = max(peak, _peak(running.pid))
                sleep(0.05)
        if running.returncode:
            raise SystemExit(f"{' '.join(words)} failed")
        seconds = perf_counter() - began
        lines.append({"rows": f"{rows:,}", "MiB there": f"{size:,.0f}", "command": stage, "seconds": f"{seconds:.1f}", "peak MiB": f"{peak:,.0f}"})
        print(lines[-1], file=sys.stderr)
        given = stage
    return lines


def _peak(process: int) -> float:
    """Most MiB that it has held so far; what the system counts for a child that has ended includes what this process held when it began."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _put(folder: Path, key: str) -> float:
    """Uploads the files of a dataset; their MiB."""
    files = [path for path in folder.iterdir() if path.is_file()]
    for path in files:
        boto3.client("s3").upload_file(str(path), BUCKET, f"{key}/{path.name}")
    return sum(path.stat().st_size for path in files) / 2**20


if __name__ == "__main__":
    main()
