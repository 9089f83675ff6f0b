"""Claims about errors: each says whose turn it is, and the command ends with the code of that."""

import pytest
import typer
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data import errors
from sgpo_data.errors import MissingExtraError, SgpoError, first_line

EXITS = {
    "RecipeError": 1,
    "SchemaError": 1,
    "DatasetError": 1,
    "ModelError": 1,
    "QueryError": 1,
    "EngineError": 1,
    "MissingExtraError": 1,
    "UsageError": 2,
    "GateError": 3,
    "HubError": 4,
    "ServerError": 4,
    "StorageError": 4,
}


def test_every_error_has_its_exit_code() -> None:
    assert {kind.__name__: kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and kind in SgpoError.__subclasses__()} == EXITS


@pytest.mark.parametrize("name", EXITS)
def test_an_error_is_one_line_and_its_exit_code(name: str) -> None:
    kind = getattr(errors, name)
    failing = typer.Typer(cls=app.info.cls)

    @failing.command()
    def fail() -> None:
        raise MissingExtraError("report", "x") if kind is MissingExtraError else kind("here: is wrong; mend it")

    @failing.command()
    def other() -> None:
        """A second one, so that the first has a name."""

    done = CliRunner().invoke(failing, ["fail"])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (EXITS[name], "", 1)


@pytest.mark.parametrize(("said", "line"), [(" bad header.\nhint", "bad header"), ("", "OSError"), ("one line", "one line")])
def test_of_what_a_library_says_the_first_line_is_kept(said: str, line: str) -> None:
    assert first_line(OSError(said)) == line
