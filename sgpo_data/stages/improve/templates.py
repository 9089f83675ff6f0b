"""The prompt templates of improve, by name or by file, rendered in Jinja's sandbox."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import JsonValue

from sgpo_data.errors import RecipeError
from sgpo_data.rows import Message
from sgpo_data.text.wording import TemplateWording

SHIPPED = ("improve", "refine")
TEMPLATE_FIELDS = ("improve_template", "refine_template")
"""Fields of the improve stage that hold one: recipes and flags name it, the stage has its text."""
_environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)


@dataclass(frozen=True)
class Template:
    """A Jinja template over `messages` (without system turns), `response` and, when refining, `reference`."""

    name: str
    text: str

    def __str__(self) -> str:
        """As a flag or a recipe names it."""
        return self.name

    @property
    def digest(self) -> str:
        """SHA-256 of the template's bytes, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def pieces(self) -> tuple[str, ...]:
        """The fixed text between what is filled in."""
        return tuple(node.data for node in _environment.parse(self.text).find_all(jinja2.nodes.TemplateData))

    def render(self, messages: Sequence[Message], *, response: str, reference: str | None = None) -> list[Message]:
        """The conversation to send: the system turns as they are, then one user turn.

        Raises RecipeError if the template asks for what it is not given, or for what the sandbox forbids.
        """
        values: dict[str, object] = {"messages": [m for m in messages if m["role"] != "system"], "response": response}
        if reference is not None:
            values["reference"] = reference
        try:
            content = _compiled(self.text).render(values)
        except jinja2.TemplateError as error:
            raise RecipeError(f"template {self.name}: {error}; it may use messages, response and, in refine, reference") from error
        return [*(m for m in messages if m["role"] == "system"), Message(role="user", content=content)]


@cache
def _compiled(text: str) -> jinja2.Template:
    return _environment.from_string(text)


def load_template(name: str, folder: Path = Path()) -> Template:
    """The template of this name: one that ships here (`improve`, `refine`) or a file, relative to `folder`.

    Raises RecipeError if there is none, or if it does not parse.
    """
    shipped = resources.files("sgpo_data.stages.improve").joinpath(f"{name}.jinja")
    try:
        text = (shipped if "/" not in name and shipped.is_file() else folder / name).read_text(encoding="utf-8")
        _environment.parse(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"template {name}: cannot be read ({error}); give improve, refine or a file") from error
    except jinja2.TemplateSyntaxError as error:
        raise RecipeError(f"template {name}: line {error.lineno}: {error.message}") from error
    return Template(name=name, text=text)


def recorded_templates(fields: JsonValue) -> tuple[Template, ...]:
    """The templates in the fields of an improve stage, as its manifest records them; none if they are of another stage."""
    texts = [(name, fields.get(name)) for name in TEMPLATE_FIELDS] if isinstance(fields, dict) else []
    return tuple(Template(name, text) for name, text in texts if isinstance(text, str))


def wording_of(templates: tuple[Template, ...]) -> TemplateWording:
    """What these templates say themselves; without any, what those say that ship here."""
    return _wording(templates or tuple(load_template(name) for name in SHIPPED))


@cache
def _wording(templates: tuple[Template, ...]) -> TemplateWording:
    return TemplateWording([piece for template in templates for piece in template.pieces])
