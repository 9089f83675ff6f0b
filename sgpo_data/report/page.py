"""The page: everything a report shows, put into its template, sealed by a content security policy, and kept small."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import duckdb
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sgpo_data.connection import connected
from sgpo_data.errors import DatasetError, first_line
from sgpo_data.health.health import Finding, Health, format_value
from sgpo_data.health.measures import MEASURES
from sgpo_data.loop.folder import FROZEN
from sgpo_data.loop.rounds import Run
from sgpo_data.report.drops import KEPT, Waterfall, waterfall
from sgpo_data.report.evaluations import evaluated
from sgpo_data.report.flow import HEIGHT, WIDTH, tall, wide
from sgpo_data.report.lineage import SETTINGS, models, origins
from sgpo_data.report.pictures import OtherRun, Pictures, pictures
from sgpo_data.report.samples import SampleRow, samples
from sgpo_data.report.text import PLACE, line, percent
from sgpo_data.sealed import policy, visible

BYTES = 5_000_000
"""Of the whole page, at most."""
MARGIN = 20_000
ROUNDS = 24
"""Shown of a run, the last ones: a longer one is told by its health."""
RECIPE_CHARACTERS = 200_000
UNFOLDED = 6
"""Of a list, the last ones; those before are folded."""


@dataclass(frozen=True)
class _SampleTable:
    html: Markup
    places: tuple[str, ...]
    outcomes: tuple[str, ...]
    shown: int
    left_out: int
    """For want of room."""


def page(run: Run, health: Health, other: OtherRun | None = None) -> str:
    """The report of a run as HTML that fetches nothing, with the numbers of another run beside; the same runs give the same page.

    Raises DatasetError if a part cannot be read, MissingExtraError if what draws the charts is not installed.
    """
    rounds = run.rounds[-ROUNDS:]
    try:
        with connected() as con:
            falls = [(made.place, waterfall(con, made.datasets["filtered"])) for made in rounds if "filtered" in made.datasets]
            drawn = pictures(con, rounds, health, other)
            found = list(samples(con, rounds))
    except duckdb.Error as error:
        raise DatasetError(f"{run.folder}: cannot be read ({first_line(error)}); sgpo check tells which dataset is broken") from error
    values = _values(run, health, falls, drawn, other)
    room = BYTES - MARGIN - len(_filled(values, _SampleTable(Markup(), (), (), 0, 0)).encode())
    return _filled(values, _rows(found, room))


def _values(run: Run, health: Health, falls: list[tuple[str, Waterfall]], drawn: Pictures, other: OtherRun | None) -> dict[str, object]:
    rounds = run.rounds[-ROUNDS:]
    places = {made.place for made in rounds}
    healthy = [each for each in health.rounds if each.place in places]
    return {
        "run": visible(run.name),
        "summary": _summary(run),
        "unfinished": [(made.place, made.missing) for made in run.rounds if made.missing],
        "rounds_left_out": len(run.rounds) - len(rounds),
        "other": visible(other.name) if other else None,
        "evaluations": [*evaluated(run.name, rounds), *(evaluated(other.name, other.rounds) if other else ())],
        "flows": [("wide", wide(rounds)), ("tall", tall(rounds))],
        "health": healthy,
        "health_rows": [(measure, [each.findings[at] for each in healthy]) for at, measure in enumerate(MEASURES)],
        "alarms": _alarms(health),
        "alarm_count": len(health.alarms),
        "unmeasured": _unmeasured(health),
        "words": health.words,
        "falls": falls,
        "pictures": drawn,
        "origins": origins(rounds),
        "models": models(rounds),
        "settings": SETTINGS,
        "recipe": _recipe(run),
    }


def _filled(values: dict[str, object], rows: _SampleTable) -> str:
    style, script = _file("report.css"), _file("report.js")
    sealed = {"policy": policy(style, script), "style": Markup(style), "script": Markup(script)}
    return environment().get_template("report.html.jinja").render(**values, rows=rows, **sealed)


def _rows(found: Sequence[SampleRow], room: int) -> _SampleTable:
    """As many rows as there is room for."""
    template = environment().get_template("row.html.jinja")
    parts: list[str] = []
    used: list[SampleRow] = []
    for row in found:
        # One stands open, so that it is seen what a row is.
        part = template.render(row=row, opened=not parts)
        size = len(part.encode())
        if size <= room:
            room -= size
            parts.append(part)
            used.append(row)
    places, outcomes = (tuple(dict.fromkeys(values)) for values in ((row.place for row in used), (row.outcome for row in used)))
    ordered = tuple(sorted(outcomes, key=lambda outcome: outcome != KEPT))
    return _SampleTable(Markup("".join(parts)), places, ordered, len(used), len(found) - len(used))


def _summary(run: Run) -> str:
    answered = sum(made.answers.manifest.rows for made in run.rounds if made.answers is not None)
    filtered = [made.datasets["filtered"].manifest for made in run.rounds if "filtered" in made.datasets]
    kept, judged = sum(each.outcomes.get(KEPT, 0) for each in filtered), sum(each.rows for each in filtered)
    trained = sum(made.model is not None for made in run.rounds)
    told = [f"{len(run.rounds)} round{'' if len(run.rounds) == 1 else 's'}"]
    told += [f"{answered:,} answers"] if answered else []
    told += [f"{kept:,} of {judged:,} rewrites kept ({percent(kept, judged)})"] if judged else []
    told += [f"{trained} model{'' if trained == 1 else 's'} trained"]
    return ", ".join(told)


def _alarms(health: Health) -> list[tuple[Finding, str]]:
    """The alarms by what is measured: one of them for its limit, and the numbers of every round."""
    found: dict[str, list[tuple[str, Finding]]] = {}
    for each in health.rounds:
        for finding in each.alarms:
            found.setdefault(finding.measure.name, []).append((each.place, finding))
    return [
        (alarms[0][1], ", ".join(f"{line(place, PLACE)} {format_value(each.value, each.measure.unit)}" for place, each in alarms)) for alarms in found.values()
    ]


def _typeset(text: str) -> str:
    """Numbers that do not part from their unit, and a minus that is one."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", re.sub(r"(?<=\d) %", "\u00a0%", text))


def _unmeasured(health: Health) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """What is not measured: by round, by reason, the numbers."""
    found = []
    for each in health.rounds:
        reasons: dict[str, list[str]] = {}
        for finding in each.findings:
            if finding.why:
                reasons.setdefault(finding.why, []).append(finding.measure.label)
        found.append((each.place, list(reasons.items())))
    return found


def _recipe(run: Run) -> str:
    path = run.folder / FROZEN
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    cut = "" if len(text) <= RECIPE_CHARACTERS else f"\n… {len(text) - RECIPE_CHARACTERS:,} more characters"
    return visible(text[:RECIPE_CHARACTERS]) + cut


def _limit(finding: Finding) -> str:
    """What makes it an alarm."""
    measure = finding.measure
    if finding.limit is None or measure.bound is None:
        return ""
    if measure.bound in ("above", "below"):
        return f"{measure.bound} {format_value(finding.limit, measure.unit)}"
    return f"{100 * finding.limit:.0f} % {'above' if measure.bound == 'growth' else 'below'} the round before"


@cache
def environment() -> Environment:
    """What the templates of a report are filled by."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_file))
    environment.filters |= {"visible": visible, "short": lambda text: line(text, PLACE), "typeset": _typeset}
    environment.globals |= {"format_value": format_value, "limit": _limit, "percent": percent, "width": WIDTH, "height": HEIGHT, "unfolded": UNFOLDED}
    return environment


@cache
def _file(name: str) -> str:
    return resources.files("sgpo_data.report").joinpath(name).read_text(encoding="utf-8")
