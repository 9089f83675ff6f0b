"""Filter and pair over many scored rows: seconds and peak memory, beside the same rules in datasets.map and in pandas.

python benchmarks/filter_pair.py --rows 100000 1000000 10000000 > benchmarks/results/filter_pair.md
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from result import document, table

if TYPE_CHECKING:
    import pandas as pd

OWN = "sgpo-data"
GOALS = {"datasets": 20, "pandas": 5}


def main() -> None:
    """Prints the tables as a document; each contender runs in a process of its own, on the same files."""
    asked = _asked()
    if asked.contender:
        print(json.dumps(_measured(asked.contender, asked.folder, asked.out)))
        return
    asked.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=asked.work) as folder:
        most = {OWN: max(asked.rows), "datasets": asked.datasets_rows}
        rows = [
            row for count in asked.rows for row in _compared(count, Path(folder), [name for name in _WORK if count <= most.get(name, asked.alternatives_rows)])
        ]
    print(document("filter and pair", __doc__.partition("\n")[0], table(rows), _verdict(rows)))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000])
    parser.add_argument("--alternatives-rows", type=int, default=1_000_000, help="Most rows that pandas is run on: it holds them all.")
    parser.add_argument("--datasets-rows", type=int, default=100_000, help="Most rows that datasets is run on: it takes a minute for so many.")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), help="Folder with room for about 3 KB a row.")
    parser.add_argument("--contender", choices=list(_WORK), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _compared(count: int, work: Path, contenders: list[str]) -> list[dict[str, object]]:
    folder = work / f"scored-{count}"
    subprocess.run([sys.executable, Path(__file__).with_name("rows.py"), str(folder), "--rows", str(count)], check=True, stdout=sys.stderr)
    lines: list[dict[str, object]] = []
    first = None
    for contender in contenders:
        with tempfile.TemporaryDirectory(dir=work) as out:
            words = [sys.executable, __file__, "--contender", contender, "--folder", str(folder), "--out", out]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found
        if found["outcomes"] != first["outcomes"] or found["pairs"] != first["pairs"]:
            raise SystemExit(f"{contender} decides otherwise: {found} in place of {first}")
        print(f"{count} rows, {contender}: {found['seconds']:.1f} s, {found['peak_mib']:.0f} MiB", file=sys.stderr)
        lines.append(
            {
                "rows": f"{count:,}",
                "program": contender,
                "seconds": f"{found['seconds']:.1f}",
                "rows/s": f"{count / found['seconds']:,.0f}",
                "peak MiB": f"{found['peak_mib']:,.0f}",
                "times slower": f"{found['seconds'] / first['seconds']:.1f}",
                "pairs": f"{found['pairs']:,}",
            }
        )
    return lines


def _verdict(rows: list[dict[str, object]]) -> str:
    goals = ", ".join(f"{times} times faster than {program}" for program, times in GOALS.items())
    own = [str(row["peak MiB"]) for row in rows if row["program"] == OWN]
    return f"Goals: {goals}; memory flat over rows, and under 4,096 MiB (it is {', '.join(own)} MiB). All programs decide alike, or this fails."


def _measured(contender: str, folder: Path, out: Path) -> dict[str, object]:
    started = perf_counter()
    outcomes, pairs = _WORK[contender](folder, out)
    seconds = perf_counter() - started
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    return {"seconds": seconds, "peak_mib": peak / 1024, "outcomes": dict(sorted(outcomes.items())), "pairs": pairs}


def _sgpo_data(folder: Path, out: Path) -> tuple[dict[str, int], int]:
    from sgpo_data.running.runner import run
    from sgpo_data.stages.filter.filter import Filter
    from sgpo_data.stages.pair.pair import Pair

    filtered = run(Filter(), str(folder), out=out / "filtered").manifest
    pairs = run(Pair(), str(out / "filtered"), out=out / "pairs").manifest
    return filtered.outcomes, pairs.rows


def _gate_failures(row: dict[str, object]) -> list[str]:
    """The rules of filter up to unique, for one row, as one writes them for datasets.map."""
    response, improved, edited = row["response_words"], row["improved_words"], row["edited_words"]
    assert isinstance(response, int)
    assert isinstance(improved, int)
    assert isinstance(edited, int)
    repeats = row["improved_repeats"]
    assert isinstance(repeats, int)
    longer = max(response, improved)
    failed = []
    if row["finish"] != "stop" or row["improved_finish"] != "stop" or row["residue"] is not None or response == 0 or improved == 0:
        failed.append("finished")
    if edited / longer < 0.05 or edited < min(8, -(-longer // 4)):
        failed.append("changed")
    if edited / longer > 0.9:
        failed.append("incremental")
    if not 0.5 <= improved / response <= 2.0:
        failed.append("length")
    if improved > 3 and repeats / (improved - 3) > 0.5:
        failed.append("repetition")
    return failed


def _datasets(folder: Path, out: Path) -> tuple[dict[str, int], int]:
    import numpy as np
    from datasets import disable_progress_bars, load_dataset  # type: ignore[import-untyped]

    disable_progress_bars()
    rows = load_dataset("parquet", data_files=[str(path) for path in sorted(folder.glob("*.parquet"))], split="train", cache_dir=str(out / "cache"))
    seen: set[tuple[object, object]] = set()

    def gated(row: dict[str, object]) -> dict[str, object]:
        failed = _gate_failures(row)
        if not failed:
            answer = row["prompt_id"], row["improved"]
            failed = ["unique"] if answer in seen else []
            seen.add(answer)
        nll, tokens = row["improved_nll"], row["improved_tokens"]
        if row["finish"] == "stop" and row["improved_finish"] == "stop" and nll is None:
            failed.append("unscored")
        assert isinstance(tokens, int)
        if tokens < 8:
            failed.append("too_short")
        return {"failed_rules": failed, "mean_nll": None if nll is None else nll / tokens}  # type: ignore[operator]

    rows = rows.map(gated, load_from_cache_file=False)
    passing = rows.filter(lambda row: not row["failed_rules"], load_from_cache_file=False)
    q1, q3 = np.quantile(np.array(passing["mean_nll"]), [0.25, 0.75])
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)

    def fenced(row: dict[str, object]) -> dict[str, object]:
        mean, failed = row["mean_nll"], list(row["failed_rules"])  # type: ignore[call-overload]
        if mean is not None and not low <= mean <= high:
            failed.append("ppl")
        return {"failed_rules": failed, "dropped_by": failed[0] if failed else None}

    def paired(row: dict[str, object]) -> dict[str, object]:
        answers = {"chosen": row["improved"], "rejected": row["response"]}
        return {"prompt": row["messages"], **{name: [{"role": "assistant", "content": text}] for name, text in answers.items()}}

    rows = rows.map(fenced, load_from_cache_file=False)
    rows.to_parquet(str(out / "filtered.parquet"))
    kept = rows.filter(lambda row: row["dropped_by"] is None and row["improved"] != row["response"], load_from_cache_file=False)
    pairs = kept.map(paired, remove_columns=[name for name in kept.column_names if name not in _PAIR_COLUMNS], load_from_cache_file=False)
    pairs.to_parquet(str(out / "pairs.parquet"))
    return dict(Counter(name or "kept" for name in rows["dropped_by"])), len(pairs)


_PAIR_COLUMNS = (
    *("prompt_id", "sample", "improved_nll", "improved_tokens", "response_nll", "response_tokens"),
    *("edited_words", "source", "policy", "improver", "scorer"),
)


def _pandas(folder: Path, out: Path) -> tuple[dict[str, int], int]:
    import pandas as pd

    return _pandas_decided(pd.read_parquet(sorted(folder.glob("*.parquet"))), out, _object_turns)  # type: ignore[call-overload]


def _pandas_arrow(folder: Path, out: Path) -> tuple[dict[str, int], int]:
    import pandas as pd

    return _pandas_decided(pd.read_parquet(sorted(folder.glob("*.parquet")), dtype_backend="pyarrow"), out, _arrow_turns)  # type: ignore[call-overload]


def _pandas_decided(frame: "pd.DataFrame", out: Path, turns: "Callable[[pd.Series[str]], object]") -> tuple[dict[str, int], int]:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    response, improved, edited = (frame[name].to_numpy(dtype=float) for name in ("response_words", "improved_words", "edited_words"))
    longer = np.maximum(response, improved)
    whole = ((frame["finish"] == "stop") & (frame["improved_finish"] == "stop")).to_numpy(dtype=bool)
    failed = {
        "finished": ~whole | frame["residue"].notna().to_numpy() | (response == 0) | (improved == 0),
        "changed": (edited / longer < 0.05) | (edited < np.minimum(8, np.ceil(longer / 4))),
        "incremental": edited / longer > 0.9,
        "length": (improved / response < 0.5) | (improved / response > 2.0),
        "repetition": frame["improved_repeats"].to_numpy(dtype=float) / np.maximum(improved - 3, 1) > 0.5,
    }
    passing = ~np.any(list(failed.values()), axis=0)
    failed["unique"] = np.zeros(len(frame), dtype=bool)
    failed["unique"][passing] = frame.loc[passing, ["prompt_id", "improved"]].duplicated().to_numpy()
    tokens, nll = frame["improved_tokens"].to_numpy(dtype=float), frame["improved_nll"].to_numpy(dtype=float, na_value=np.nan)
    failed["unscored"] = whole & np.isnan(nll)
    failed["too_short"] = tokens < 8
    mean = nll / tokens
    q1, q3 = np.quantile(mean[~np.any(list(failed.values()), axis=0)], [0.25, 0.75])
    failed["ppl"] = (mean < q1 - 1.5 * (q3 - q1)) | (mean > q3 + 1.5 * (q3 - q1))
    matrix, names = np.column_stack(list(failed.values())), np.array(list(failed))
    offsets = pa.array(np.concatenate([[0], matrix.sum(axis=1).cumsum()]).astype(np.int32))
    frame["failed_rules"] = pd.array(pa.ListArray.from_arrays(offsets, pa.array(names[matrix.nonzero()[1]])), dtype=pd.ArrowDtype(pa.list_(pa.string())))  # type: ignore[call-overload]
    dropped = np.where(matrix.any(axis=1), names[matrix.argmax(axis=1)], None)
    frame["dropped_by"] = pd.array(dropped, dtype=pd.ArrowDtype(pa.string()))
    frame.to_parquet(out / "filtered.parquet", compression="zstd")
    kept = frame[frame["dropped_by"].isna() & (frame["improved"] != frame["response"])]
    pairs = kept[[*_PAIR_COLUMNS]].copy()
    pairs["prompt"], pairs["chosen"], pairs["rejected"] = kept["messages"], turns(kept["improved"]), turns(kept["response"])
    pairs.to_parquet(out / "pairs.parquet", compression="zstd")
    return dict(Counter(name or "kept" for name in dropped)), len(pairs)


def _object_turns(texts: "pd.Series[str]") -> object:
    return [[{"role": "assistant", "content": text}] for text in texts]


def _arrow_turns(texts: "pd.Series[str]") -> object:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    found = pa.array(texts, pa.string())
    roles = pa.array(np.full(len(found), "assistant"))
    lists = pa.ListArray.from_arrays(pa.array(np.arange(len(found) + 1, dtype=np.int32)), pa.StructArray.from_arrays([roles, found], ["role", "content"]))  # type: ignore[call-overload]
    return pd.array(lists, dtype=pd.ArrowDtype(lists.type))


_WORK: dict[str, Callable[[Path, Path], tuple[dict[str, int], int]]] = {
    OWN: _sgpo_data,
    "pandas": _pandas,
    "pandas, Arrow": _pandas_arrow,
    "datasets": _datasets,
}


if __name__ == "__main__":
    main()
