"""The experiment's results as a table with intervals and three plots: `python benchmarks/method/summary.py WORK > benchmarks/results/method.md`."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

import vl_convert
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

from result import document, table

from method.experiment import results

PICTURES = Path(__file__).parents[1] / "results"

Rows = Sequence[Mapping[str, object]]


def main() -> None:
    """Prints the document and writes the plots beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--no-pictures", action="store_true", help="The table alone.")
    arguments = parser.parse_args()
    found = results(arguments.work)
    budgets = sorted({int(str(row["budget"])) for row in found})
    level = 1 - 0.05 / max(1, len(budgets))
    if not arguments.no_pictures:
        _draw(found)
    shown = [name for name in TITLES if not arguments.no_pictures and (name != "references" or len(budgets) > 1)]
    note = (
        f"Mean share of constraints met by answers to held-out prompts, with its {level:.2%} interval over seeds (t; 95 % corrected for the "
        f"{len(budgets)} budgets looked at). gain: over `sft` of the same seed. kept, better, worse: of the last round."
    )
    print(document("Does the loop help? Methods by number of references", note, table(list(_table(found, level))), _pictures(shown)))


def _table(found: Rows, level: float) -> Iterable[Mapping[str, object]]:
    last = _last(found)
    base = {(row["budget"], row["seed"]): float(str(row["sampled"])) for row in last if row["method"] == "sft"}
    for key in dict.fromkeys((str(row["method"]), int(str(row["budget"])), row["after"]) for row in sorted(last, key=lambda row: int(str(row["budget"])))):
        rows = [row for row in last if (row["method"], row["budget"], row["after"]) == key]
        gains = [float(str(row["sampled"])) - base[row["budget"], row["seed"]] for row in rows if (row["budget"], row["seed"]) in base]
        shares = {name: _mean([row[name] for row in rows if name in row], "{:.0%}") for name in ("kept", "better", "worse")}
        yield {
            "references": key[1],
            "method": key[0],
            "after": key[2],
            "seeds": len(rows),
            "sampled": _interval([float(str(row["sampled"])) for row in rows], level),
            "gain": "" if key[0] == "sft" else _interval(gains, level, sign=True),
            "greedy": _interval([float(str(row["greedy"])) for row in rows], level),
            "words": _mean([row["words"] for row in rows], "{:.1f}"),
            "distinct-2": _mean([row["distinct_2"] for row in rows], "{:.2f}"),
            **shares,
        }


def _last(found: Rows) -> list[Mapping[str, object]]:
    """What each cell came to: the model after each training on pairs, or the last where there is none."""
    kept: list[Mapping[str, object]] = []
    by_cell: dict[tuple[object, ...], list[Mapping[str, object]]] = {}
    for row in found:
        by_cell.setdefault((row["method"], row["budget"], row["seed"]), []).append(row)
    for rows in by_cell.values():
        phases = [f"{row['phase']}-{row['round']}" for row in rows]
        wanted = [number for number, row in enumerate(rows) if "better" in row] or [len(rows) - 1]
        kept += [{**rows[number], "after": phases[number]} for number in wanted]
    return kept


def _interval(values: Sequence[float], level: float, *, sign: bool = False) -> str:
    if not values:
        return ""
    mean = f"{fmean(values):{'+' if sign else ''}.3f}"
    if len(values) == 1:
        return mean
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return f"{mean} ± {half:.3f}"


def _mean(values: Sequence[object], form: str) -> str:
    return form.format(fmean(float(str(value)) for value in values)) if values else ""


def _pictures(shown: Sequence[str]) -> str:
    return "\n".join(f"![{TITLES[name]}](method-{name}.svg)" for name in shown)


TITLES = {"references": "grade by number of references", "rounds": "grade over rounds", "pairs": "gain by the share of pairs that are better"}


def _draw(found: Rows) -> None:
    last = _last(found)
    base = {(row["budget"], row["seed"]): float(str(row["sampled"])) for row in last if row["method"] == "sft"}
    y = {"field": "grade", "type": "quantitative", "scale": {"zero": False}, "aggregate": "mean"}
    colour = {"field": "method", "type": "nominal"}
    references = [{"method": f"{row['method']} {row['after']}" if row["method"] == "sgpo" else row["method"], **_point(row)} for row in last]
    x = {
        "field": "references",
        "type": "quantitative",
        "scale": {"type": "log"},
        "axis": {"values": sorted({int(str(row["references"])) for row in references})},
    }
    _write("references", references, {"mark": {"type": "line", "point": True}, "encoding": {"x": x, "y": y, "color": colour}})
    rounds = [{"model": f"{row['phase']}-{row['round']}", **_point(row)} for row in found if row["method"] == "sgpo"]
    order = list(dict.fromkeys(row["model"] for row in rounds))
    encoding = {"x": {"field": "model", "type": "ordinal", "sort": order}, "y": y, "color": {"field": "references", "type": "nominal"}}
    _write("rounds", rounds, {"mark": {"type": "line", "point": True}, "encoding": encoding})
    pairs = [
        {"better": float(str(row["better"])) - float(str(row["worse"])), "gain": float(str(row["sampled"])) - base[row["budget"], row["seed"]], **row}
        for row in last
        if "better" in row and (row["budget"], row["seed"]) in base
    ]
    encoding = {
        "x": {"field": "better", "type": "quantitative", "title": "share of pairs better, less share worse"},
        "y": {"field": "gain", "type": "quantitative"},
        "color": colour,
    }
    _write("pairs", pairs, {"mark": "point", "encoding": encoding})


def _point(row: Mapping[str, object]) -> dict[str, object]:
    return {"references": row["budget"], "grade": float(str(row["sampled"]))}


def _write(name: str, rows: Rows, spec: Mapping[str, object]) -> None:
    whole = {"data": {"values": list(rows)}, "title": TITLES[name], "width": 420, "height": 260, "background": "white", **spec}
    (PICTURES / f"method-{name}.svg").write_text(vl_convert.vegalite_to_svg(whole), encoding="utf-8")


if __name__ == "__main__":
    main()
