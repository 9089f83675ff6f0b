"""The prompts of a judge, by name or by file, rendered in Jinja's sandbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sgpo_data.errors import RecipeError, UsageError
from sgpo_data.evaluation.judge.verdict import Reading
from sgpo_data.rows import Message

SHIPPED: dict[str, tuple[Reading, int]] = {"label": ("label", 16), "grade": ("grade", 2048)}
"""How the verdict of each prompt that ships here is read, and the tokens it takes."""
_environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)


@dataclass(frozen=True)
class JudgePrompt:
    """A Jinja template over `messages`, `first_answer` and `second_answer`."""

    name: str
    text: str

    @property
    def ships(self) -> bool:
        """Whether its name gives it here too."""
        return self.name in SHIPPED and load_prompt(self.name) == self

    def render(self, messages: Sequence[Message], *, first_answer: str, second_answer: str) -> list[Message]:
        """The conversation to send: one user turn.

        Raises RecipeError if the template asks for what it is not given, or for what the sandbox forbids.
        """
        try:
            content = _compiled(self.text).render(messages=messages, first_answer=first_answer, second_answer=second_answer)
        except jinja2.TemplateError as error:
            raise RecipeError(f"prompt {self.name}: {error}; it may use messages, first_answer and second_answer") from error
        return [Message(role="user", content=content)]


def reading_of(name: str, reading: Reading | None) -> tuple[Reading, int]:
    """How the verdict of the prompt of this name is read, and the tokens it takes; what is said of the reading goes before what its prompt says.

    Raises UsageError if nobody says it.
    """
    if name in SHIPPED:
        usual, tokens = SHIPPED[name]
        return reading or usual, tokens
    if reading is None:
        raise UsageError(f"--prompt {name}: say how its verdict is read, with --reading label or --reading grade")
    return reading, SHIPPED[reading][1]


@cache
def _compiled(text: str) -> jinja2.Template:
    return _environment.from_string(text)


def load_prompt(name: str) -> JudgePrompt:
    """The prompt of this name, or of a file.

    Raises RecipeError if there is none, if it does not parse, or if it does not show both answers.
    """
    shipped = resources.files("sgpo_data.evaluation.judge").joinpath(f"{name}.jinja")
    try:
        text = (shipped if name in SHIPPED else Path(name)).read_text(encoding="utf-8")
        _environment.parse(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"prompt {name}: cannot be read ({error}); give {' or '.join(SHIPPED)}, or a file") from error
    except jinja2.TemplateSyntaxError as error:
        raise RecipeError(f"prompt {name}: line {error.lineno}: {error.message}") from error
    prompt = JudgePrompt(name, text)
    shown = prompt.render([Message(role="user", content="r\0")], first_answer="f\0", second_answer="s\0")[0]["content"]
    missing = [part for part, mark in (("messages", "r\0"), ("first_answer", "f\0"), ("second_answer", "s\0")) if mark not in shown]
    if missing:
        raise RecipeError(f"prompt {name}: does not show {' and '.join(missing)}, so nothing could be judged by it")
    return prompt
