"""sgpo lint: whether pairs or examples are fit to train on."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sgpo_data.analysis.options import LintThresholds
from sgpo_data.errors import GateError
from sgpo_data.execution import ROOT, Execution
from sgpo_data.sources.options import Source

from .flags import built, parameters
from .printing.closed_pipe import closed_pipe_allowed
from .references import typed

if TYPE_CHECKING:
    from sgpo_data.analysis.lint import LintFinding
    from sgpo_data.store.dataset import Dataset


def add_lint(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("lint", help=inspect.getdoc(LintThresholds), rich_help_panel="Look")(_command())


def _command() -> Callable[..., None]:
    def command(reference: str, root: Path, json: bool, **given: object) -> None:
        # DuckDB and Arrow take a while to import: --help does without.
        from sgpo_data.running.linting import lint_reference

        thresholds = built(LintThresholds, given)
        checked = lint_reference(typed(reference), thresholds, built(Source, given, prefix="source."), Execution(root=root))
        _show(checked.dataset, checked.findings, thresholds, as_json=json)

    own: dict[str, tuple[object, object]] = {
        "reference": (
            Annotated[str, typer.Argument(metavar="PAIRS", help="Pairs or examples, or raw preferences; - reads the reference from standard input.")],
            inspect.Parameter.empty,
        ),
        "root": (Annotated[Path, typer.Option(help="Folder that holds what was made.")], ROOT),
        "json": (Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the table and the reference.")], False),
    }
    keyword = inspect.Parameter.KEYWORD_ONLY
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            *(inspect.Parameter(name, keyword, annotation=annotation, default=default) for name, (annotation, default) in own.items()),
            *parameters(LintThresholds, panel="What is let through"),
            *parameters(Source, panel="How a raw source is read", prefix="source."),
        ]
    )
    return command


def _show(dataset: "Dataset", findings: "tuple[LintFinding, ...]", thresholds: LintThresholds, *, as_json: bool) -> None:
    """Prints the findings, warnings to standard error; raises GateError if one failed."""
    rows, place = dataset.manifest.rows, dataset.folder
    failed, warned = ([finding for finding in findings if finding.verdict == verdict] for verdict in ("failed", "warn"))
    if as_json:
        checks = [{**asdict(finding), "passed": finding.verdict != "failed"} for finding in findings]
        with closed_pipe_allowed():
            print(orjson.dumps({"reference": str(place), "rows": rows, "passed": not failed, "checks": checks}).decode())
    else:
        with closed_pipe_allowed():
            print("\n".join(_lines(findings)))
    if rows < thresholds.min_rows:
        print(f"{place}: {rows} rows are too few to judge (min_rows = {thresholds.min_rows}), so none fails; --min-rows {rows} judges them", file=sys.stderr)
    if warned:
        print(f"{place}: {len(warned)} of {len(findings)} checks warn: {_past(warned)}", file=sys.stderr)
    if failed:
        raise GateError(f"{place}: {len(failed)} of {len(findings)} checks failed: {_past(failed)}; mend the rows, or change a threshold")
    if not as_json:
        print(place)


def _past(findings: "list[LintFinding]") -> str:
    return ", ".join(f"{each.check} {_number(each, each.value)} ({each.flag} = {_number(each, each.threshold)})" for each in findings)


def _sign(finding: "LintFinding") -> str:
    if finding.check == "length_bias":
        return "<= ±"
    return ">= " if finding.flag.startswith("min_") else "<= "


def _lines(findings: "tuple[LintFinding, ...]") -> list[str]:
    head = ("check", "value", "threshold", "verdict", "detail", "example")
    rows = [
        (
            each.check,
            _number(each, each.value),
            f"{_sign(each)}{_number(each, each.threshold)}",
            "-" if each.verdict is None else "FAILED" if each.verdict == "failed" else each.verdict,
            each.detail,
            each.example or "",
        )
        for each in findings
    ]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]


def _number(finding: "LintFinding", value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if finding.check in ("length_bias", "distinct_2") else f"{value:.1%}"
