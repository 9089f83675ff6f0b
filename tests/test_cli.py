"""Claims about the command line as a whole."""

import subprocess
import sys
from pathlib import Path

import pytest
from fake_model import model_folder
from sgpo_data.cli.main import app
from typer.main import get_command
from typer.testing import CliRunner

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]
HEAVY = ("torch", "transformers", "datasets", "trl", "vllm", "ray")


def test_help_imports_nothing_heavy() -> None:
    script = f"import sys, sgpo_data.cli.main as m\ntry: m.app(['--help'])\nexcept SystemExit: pass\nsys.exit(str([x for x in {HEAVY} if x in sys.modules]))"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "Stages" in finished.stdout
    assert finished.stderr.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_each_of_its_flags(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    parameters = get_command(app).commands[command].params  # type: ignore[attr-defined]
    assert [parameter.name for parameter in parameters if not parameter.help] == []
    assert all(option in shown.output for parameter in parameters for option in parameter.opts[:1] if option.startswith("--"))


def test_a_flag_is_spelled_as_in_the_recipe_or_with_dashes() -> None:
    for flag in ("--sampling.max_tokens", "--sampling.max-tokens"):
        shown = CliRunner().invoke(app, ["seed", "missing.jsonl", "--model", "m", flag, "0"])
        assert shown.exit_code == 2
        assert "--sampling.max_tokens: Input should be greater than or equal to 1 (got 0)" in shown.stderr


def test_a_missing_source_is_one_line(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["seed", "missing.jsonl", "--model", str(model_folder(tmp_path / "m"))])
    assert shown.exit_code == 1
    assert len(shown.stderr.strip().splitlines()) == 1
    assert "missing.jsonl" in shown.stderr
    assert shown.stdout == ""


def test_an_empty_pipe_says_that_the_stage_before_failed() -> None:
    shown = CliRunner().invoke(app, ["improve", "-"], input="")
    assert shown.exit_code == 2
    assert "standard input is empty" in shown.stderr
