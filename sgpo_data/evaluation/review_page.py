"""The page that people vote on: one file that fetches nothing, shows what models wrote as text, and does not say who wrote it."""

from functools import cache
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sgpo_data.evaluation.review import Review
from sgpo_data.sealed import policy, visible


def review_page(review: Review) -> str:
    """The review as HTML; the same review gives the same page. Whoever reads its source learns no more than whoever looks at it."""
    style, script = _file("review.css"), _file("review.js")
    values = {"review": review, "style": Markup(style), "script": Markup(script), "policy": policy(style, script)}
    return _environment().get_template("review.html.jinja").render(values)


@cache
def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_file))
    environment.filters["visible"] = visible
    return environment


@cache
def _file(name: str) -> str:
    return resources.files("sgpo_data.evaluation").joinpath(name).read_text(encoding="utf-8")
