"""Charts as static SVG in the page's own colours, drawn by Vega-Lite."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape
from pydantic import JsonValue

from sgpo_data.errors import MissingExtraError
from sgpo_data.report.distributions import BINS, Distribution

WIDE, NARROW = (340, 210), (260, 170)
"""Width and height, axes included."""
POINTS = 240
"""Of a curve: more than its pixels tell nothing."""
DASHED = "reference"
FAINT = 0.4
"""Opacity of a line of the run beside."""
_ROUND = [value * 10**power for power in range(300) for value in (1, 2, 3, 5)]
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_MOST_TICKS = 8
# What Vega draws without ink.
_EMPTY = re.compile(r'<path class="(?:foreground|background)"[^>]*/>')
_HEAD = re.compile(r'<svg [^>]*(viewBox="[^"]*")>')


Spec = dict[str, JsonValue]
"""Vega-Lite."""


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    """As in the legend."""
    colour: str
    """A custom property of the page's style."""
    points: tuple[tuple[float | str, float], ...]
    dashed: bool = False
    faint: bool = False
    """Whether it is of the run beside."""


@dataclass(frozen=True)
class Style:
    """How the lines of a chart look."""

    form: str
    """Of the numbers beside the axis, as in D3."""
    zero: bool
    """Whether the axis begins at zero."""
    points: int | None
    """Area of a point; None: there are none."""
    size: tuple[int, int]
    rule: float | None
    """A level to see the lines against."""


@dataclass(frozen=True)
class Chart:
    """A picture with what it shows."""

    title: str
    note: str
    svg: Markup


def histograms(title: str, found: Distribution) -> Chart:
    """The perplexities of a round, each kind of answer as one outline over a logarithmic axis, the fences as upright lines."""
    axis: JsonValue = {"values": list(map(math.log, _ticks(found))), "labelExpr": "format(exp(datum.value), '.6~g')", "grid": False}
    x: Spec = {"field": "nats", "type": "quantitative", "title": "perplexity", "scale": {"domain": [found.low, found.high], "nice": False}, "axis": axis}
    layers: list[JsonValue] = [_outlines(found, x), *(layer for fence in found.fences for layer in _fence(fence))]
    medians = ", ".join(f"{each.of} {each.median:.3g}" for each in found.histograms if each.median is not None)
    fences = " and ".join(f"{fence:.3g}" for fence in found.fences)
    told = f"fences {fences}" if fences else f"{found.groups} groups have fences of their own" if found.groups else "no fences"
    return Chart(title, f"median {medians}; {told}", _svg({"layer": layers}, f"Perplexities of {title}: median {medians}; {told}", WIDE))


def _outlines(found: Distribution, x: Spec) -> Spec:
    values: list[JsonValue] = [
        {"kind": each.of, "nats": found.low + (found.high - found.low) * number / BINS, "share": each.shares[min(number, BINS - 1)]}
        for each in found.histograms
        for number in range(BINS + 1)
    ]
    names: list[JsonValue] = [each.of for each in found.histograms]
    dash: JsonValue = {"domain": names, "range": [[5, 3] if name == DASHED else [1, 0] for name in names]}
    return {
        "data": {"values": values},
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.6},
        "encoding": {
            "x": x,
            "y": {"field": "share", "type": "quantitative", "title": None, "axis": {"format": ".0%", "tickCount": 3}},
            "color": {"field": "kind", "type": "nominal", "scale": {"domain": names, "range": [f"var(--{name})" for name in names]}, "legend": None},
            "strokeDash": {"field": "kind", "type": "nominal", "scale": dash, "legend": None},
        },
    }


def _fence(fence: float) -> Iterator[Spec]:
    at: Spec = {"datum": math.log(fence), "type": "quantitative"}
    one: Spec = {"values": [{}]}
    yield {"data": one, "mark": {"type": "rule", "color": "var(--fence)", "strokeWidth": 1.4, "strokeDash": [6, 3]}, "encoding": {"x": at}}
    mark: Spec = {"type": "text", "text": f"{fence:.3g}", "align": "left", "baseline": "top", "dx": 3, "color": "var(--fence)", "fontSize": 11}
    yield {"data": one, "mark": mark, "encoding": {"x": at, "y": {"value": 0}}}


def over_rounds(title: str, lines: Sequence[Line], *, form: str, zero: bool = False) -> Chart | None:
    """Numbers of several rounds, a point each; None if there is none."""
    places: list[JsonValue] = list(dict.fromkeys(place for line in lines for place, _ in line.points))
    axis: Spec = {"labelAngle": 0 if len(places) <= 4 else -35, "labelLimit": 90, "grid": False, "labelOverlap": "greedy"}
    x: Spec = {"field": "x", "type": "ordinal", "title": None, "scale": {"domain": places}, "axis": axis}
    return _lines(title, lines, x, Style(form, zero, 34, WIDE, None))


def over_steps(title: str, lines: Sequence[Line], *, form: str, rule: float | None = None) -> Chart | None:
    """Curves of a training; None if nothing was logged."""
    x: Spec = {"field": "x", "type": "quantitative", "title": "step", "axis": {"grid": False, "tickCount": 4}, "scale": {"nice": False, "zero": False}}
    thinned = [replace(line, points=_thinned(line.points)) for line in lines]
    few = max((len(line.points) for line in thinned), default=0) <= 24
    return _lines(title, thinned, x, Style(form, False, 18 if few else None, NARROW, rule))


def _lines(title: str, lines: Sequence[Line], x: Spec, style: Style) -> Chart | None:
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    values: list[JsonValue] = [{"x": at, "y": value, "line": line.name} for line in lines for at, value in line.points]
    names: list[JsonValue] = [line.name for line in lines]
    colour: Spec = {"domain": names, "range": [f"var(--{line.colour})" for line in lines]}
    dash: Spec = {"domain": names, "range": [[2, 3] if line.dashed else [1, 0] for line in lines]}
    shade: Spec = {"domain": names, "range": [FAINT if line.faint else 1 for line in lines]}
    mark: Spec = {"type": "line", "strokeWidth": 1.8}
    layers: list[JsonValue] = [
        {
            "mark": {**mark, "point": {"filled": True, "size": style.points}} if style.points else mark,
            "encoding": {
                "x": x,
                "y": {"field": "y", "type": "quantitative", "title": None, "axis": {"format": style.form, "tickCount": 4}, "scale": {"zero": style.zero}},
                "color": {"field": "line", "type": "nominal", "scale": colour, "legend": None},
                "strokeDash": {"field": "line", "type": "nominal", "scale": dash, "legend": None},
                "opacity": {"field": "line", "type": "nominal", "scale": shade, "legend": None},
            },
        }
    ]
    if style.rule is not None:
        layers.append({"data": {"values": [{}]}, "mark": {"type": "rule", "color": "var(--muted)"}, "encoding": {"y": {"datum": style.rule}}})
    ends = ", ".join(f"{line.name} from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}" for line in lines)
    return Chart(title, "", _svg({"data": {"values": values}, "layer": layers}, f"{title}: {ends}", style.size))


def _thinned(points: tuple[tuple[float | str, float], ...]) -> tuple[tuple[float | str, float], ...]:
    """Every so many-th point, the last one too."""
    if len(points) <= POINTS:
        return points
    return tuple(points[round(number * (len(points) - 1) / (POINTS - 1))] for number in range(POINTS))


def _ticks(found: Distribution) -> list[float]:
    """A few round perplexities: evenly spaced where the axis is short, by decades where it is long."""
    low, high = math.exp(found.low), math.exp(min(found.high, 700))
    if high < 4 * low:
        step = next((step for step in _STEPS if (high - low) / step <= _MOST_TICKS), (high - low) / 2)
        return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    inside = [tick for tick in _ROUND if low <= tick <= high]
    thinner = ([tick for tick in inside if f"{tick:.0e}"[0] in kept] for kept in ("1235", "125", "13", "1"))
    return next((ticks for ticks in thinner if len(ticks) <= _MOST_TICKS), inside[:: max(1, math.ceil(len(inside) / _MOST_TICKS))])


def _svg(spec: Spec, told: str, size: tuple[int, int]) -> Markup:
    try:
        import vl_convert
    except ImportError as error:
        raise MissingExtraError("report", "vl-convert-python") from error
    whole: Spec = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "width": size[0], "height": size[1], "background": None, "config": _CONFIG}
    drawn = _EMPTY.sub("", vl_convert.vegalite_to_svg({**whole, **spec}))
    head = _HEAD.match(drawn)
    assert head is not None
    # Sized by the page; Vega escapes the texts it draws.
    return Markup(f'<svg {head[1]} role="img" aria-label="{escape(told)}">') + Markup(drawn[head.end() :])


_CONFIG: JsonValue = {
    "aria": False,
    "autosize": {"type": "fit", "contains": "padding"},
    "padding": 2,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)", "titleColor": "var(--muted)", "titleFontWeight": "normal", "labelFontSize": 11, "titleFontSize": 11,
        "domainColor": "var(--rule)", "tickColor": "var(--rule)", "gridColor": "var(--rule)", "tickSize": 4, "labelPadding": 4,
    },
    "axisY": {"domain": False, "ticks": False, "minExtent": 32},
}  # fmt: skip
