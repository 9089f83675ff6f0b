"""Claims about the command line as a whole."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from fake_model import model_folder
from literal_rows import pair_row, row
from made import made_dataset
from sgpo_data.cli.help import COMMON
from sgpo_data.cli.main import app
from typer.main import get_command
from typer.testing import CliRunner

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


def tree(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 (Typer's own Click has no types to name)
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from tree((*words, name), inner)


def command_of(words: tuple[str, ...]) -> Any:  # noqa: ANN401 (as above)
    return dict(COMMAND_TREE)[words]


COMMAND_TREE = list(tree((), get_command(app)))
SCREEN = 50
"""Lines, at 80 columns."""
HEAVY = ("torch", "transformers", "datasets", "trl", "vllm", "ray")


def test_help_imports_nothing_heavy() -> None:
    script = f"import sys, sgpo_data.cli.main as m\ntry: m.app(['--help'])\nexcept SystemExit: pass\nsys.exit(str([x for x in {HEAVY} if x in sys.modules]))"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "Stages" in finished.stdout
    assert finished.stderr.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_each_of_its_flags(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help-all"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    parameters = get_command(app).commands[command].params  # type: ignore[attr-defined]
    assert [parameter.name for parameter in parameters if not parameter.help] == []
    visible = [parameter for parameter in parameters if not getattr(parameter, "hidden", False)]
    assert all(option in shown.output for parameter in visible for option in parameter.opts[:1] if option.startswith("--"))


def test_a_flag_is_spelled_as_in_the_recipe_or_with_dashes() -> None:
    for flag in ("--sampling.max_tokens", "--sampling.max-tokens"):
        shown = CliRunner().invoke(app, ["seed", "missing.jsonl", "--model", "m", flag, "0"])
        assert shown.exit_code == 2
        assert "--sampling.max-tokens: Input should be greater than or equal to 1 (got 0)" in shown.stderr


def test_what_a_help_shows_first_are_flags() -> None:
    assert COMMON - {each.name for _, command in COMMAND_TREE for each in command.params} == set()


def test_a_command_is_spelled_with_underscores_too() -> None:
    assert CliRunner().invoke(app, ["score_ppl", "--help"]).exit_code == 0


def test_no_flag_is_shown_with_an_underscore() -> None:
    assert [option for _, command in COMMAND_TREE for each in command.params for option in each.opts if option.startswith("-") and "_" in option] == []


@pytest.mark.parametrize("words", [words for words, _ in COMMAND_TREE], ids=" ".join)
def test_a_help_fits_on_a_screen_and_the_rest_is_under_help_all(words: tuple[str, ...]) -> None:
    short, whole = (CliRunner().invoke(app, [*words, flag]) for flag in ("--help", "--help-all"))
    assert (short.exit_code, whole.exit_code) == (0, 0)
    assert len(short.output.splitlines()) <= SCREEN
    assert len(whole.output) >= len(short.output) - len(", 99 more flags")
    assert "--help-all" in short.output


@pytest.mark.parametrize("words", [words for words, command in COMMAND_TREE if hasattr(command, "commands")], ids=lambda words: " ".join(words) or "sgpo")
def test_what_a_command_does_is_told_whole_in_a_line_of_80_columns(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"}).output
    lines = [line for line in shown.partition(":\n")[2].partition("Options:\n")[0].splitlines() if line.startswith("  ")]
    assert len(lines) == len(command_of(words).commands)
    assert [line for line in lines if line.endswith("...")] == []


UNUSED = {
    "train": ("--tensor-parallel", "--ray", "--memory-share", "--base-url", "--request-seconds", "--window", "--part-rows", "--stream", "--allow-secrets"),
    "filter": ("--device", "--batch-tokens", "--data-parallel", "--ray", "--sharding", "--window", "--part-rows", "--report-to"),
    "pair": ("--device", "--base-url", "--sharding", "--progress"),
    "seed": ("--sharding", "--report-to", "--run-name"),
    "run": ("--stream", "--allow-secrets"),
}


@pytest.mark.parametrize("command", UNUSED)
def test_a_help_leaves_out_flags_that_do_nothing_there_and_a_script_can_still_give_them(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help-all"]).output
    assert [flag for flag in UNUSED[command] if f"{flag} " in shown] == []
    assert "--root " in shown
    taken = {option for each in command_of((command,)).params for option in each.opts}
    assert set(UNUSED[command]) <= taken


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "x.toml", "--nodes", "2"], "No such option: --nodes; sgpo train has it"),
        (["filter", "x", "--samples", "2"], "No such option: --samples; sgpo seed has it"),
        (["run", "x.toml", "--dry"], "No such option: --dry (Possible options: --dry-run)"),
        (["train", "x", "--modle", "y"], "No such option: --modle (Possible options: --model)"),
        (["run", "x.toml", "--zzz"], "No such option: --zzz "),
        (["publish", "pairs", "org/x"], "Missing option '--tag'. An example: sgpo publish pairs filtered org/my-pairs --tag v1 --dry-run"),
        (["evaluate", "answers", "m"], "Missing option '--set'. An example: sgpo evaluate answers models/next --set alpaca_eval -o next.json"),
        (["pair"], "Missing argument 'INPUT'. An example: sgpo pair filtered -o pairs"),
    ],
)
def test_an_option_that_is_unknown_or_missing_is_told_with_what_to_type(words: list[str], told: str) -> None:
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "120"})
    assert shown.exit_code == 2
    assert told in shown.stderr


@pytest.mark.parametrize("words", [words for words, command in COMMAND_TREE if not hasattr(command, "commands")], ids=" ".join)
def test_the_examples_of_a_help_are_commands(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"]).output.partition("Examples:\n")[2]
    commands = [shlex.split(part) for line in shown.splitlines() for part in line.split(" | ")]
    assert any(tuple(command[1 : len(words) + 1]) == words for command in commands)
    for command in commands:
        assert command[0] == "sgpo"
        # What is read is the command line alone; nothing runs.
        context = get_command(app).make_context("sgpo", command[1:])
        inner = get_command(app).commands[command[1]]  # type: ignore[attr-defined]
        rest = command[2:]
        while hasattr(inner, "commands"):
            inner, rest = inner.commands[rest[0]], rest[1:]
        assert inner.make_context(inner.name, rest, parent=context).info_name == inner.name


def test_a_missing_source_is_one_line(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["seed", "missing.jsonl", "--model", str(model_folder(tmp_path / "m"))])
    assert shown.exit_code == 1
    assert len(shown.stderr.strip().splitlines()) == 1
    assert "missing.jsonl" in shown.stderr
    assert shown.stdout == ""


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["seed", "promts.jsonl", "--model", "bsae"], ["no such file or folder: promts.jsonl; did you mean prompts.jsonl?", "bsae: ... did you mean base?"]),
        (["seed", "prompts.jsonl", "--model", "bsae"], ["bsae: ... did you mean base?"]),
        (["seed", "promts.jsonl", "--model", "base"], ["no such file or folder: promts.jsonl; did you mean prompts.jsonl?"]),
        (["score-ppl", "improvd", "--scorer", "bsae"], ["improvd: ... (did you mean improved?)", "bsae: ... did you mean base?"]),
        (["train", "improvd", "x", "--model", "bsae"], ["improvd: ... (did you mean improved?)", "x: ... here or in runs", "bsae: ... did you mean base?"]),
    ],
)
def test_an_input_and_a_model_that_are_both_mistyped_are_both_told(words: list[str], lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model_folder(Path("base"))
    Path("prompts.jsonl").write_text('{"prompt": "x"}\n')
    made_dataset(Path("improved"), "improved", [row("a")])
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 1
    told = shown.stderr.splitlines()
    assert len(told) == len(lines)
    assert all(line.startswith(begin) and line.endswith(end) for line, (begin, _, end) in zip(told, (each.partition("...") for each in lines), strict=True))


def test_an_empty_pipe_says_that_the_stage_before_failed() -> None:
    shown = CliRunner().invoke(app, ["improve", "-"], input="")
    assert shown.exit_code == 2
    assert "standard input is empty" in shown.stderr


@pytest.mark.parametrize("last", ["distinct_2      0.79    >= 0.10    ok", '{"reference": "runs/a", "passed": false}', "runs/a: 2 of 14 checks failed: longer"])
def test_a_pipe_that_ends_in_no_reference_says_that_the_stage_before_failed(last: str) -> None:
    shown = CliRunner().invoke(app, ["improve", "-"], input=f"check  value\n{last}\n")
    assert shown.exit_code == 2
    assert "standard input ends in no reference (got" in shown.stderr
    assert "the stage before it failed" in shown.stderr


def test_a_reference_with_spaces_comes_through_a_pipe(tmp_path: Path) -> None:
    made = made_dataset(tmp_path / "a:  b", "pairs", [pair_row()])
    assert CliRunner().invoke(app, ["lint", "-"], input=f"{made.folder}\n").exit_code == 0


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"{version('sgpo-data')}\n"


@pytest.mark.parametrize("words", [["--help"], ["seed", "--help"], ["run", "--help"]])
def test_a_help_text_of_which_the_first_lines_are_read_is_no_error(words: list[str]) -> None:
    assert _to_a_closed_pipe(*words) == (0, "")


def test_what_a_check_found_is_told_by_its_exit_code_though_nobody_reads_it(tmp_path: Path) -> None:
    whole = made_dataset(tmp_path / "whole", "responses", [row("a")])
    broken = made_dataset(tmp_path / "broken", "responses", [row("b")])
    broken.paths[0].write_bytes(b"")
    assert _to_a_closed_pipe("check", whole.folder) == (0, "")
    code, told = _to_a_closed_pipe("check", whole.folder, broken.folder)
    assert code == 3
    assert str(broken.folder) in told


@pytest.mark.parametrize("words", [["lint", "--min_rows", 1], ["lint", "--json", "--min_rows", 1]])
def test_a_lint_that_fails_stops_a_chain_though_nobody_reads_it(words: list[object], tmp_path: Path) -> None:
    pairs = made_dataset(tmp_path / "pairs", "pairs", [pair_row("a", chosen=[{"role": "assistant", "content": "I cannot help with that."}])])
    assert _to_a_closed_pipe(*words, pairs.folder)[0] == 3


def _to_a_closed_pipe(*words: object) -> tuple[int, str]:
    """Exit code and standard error of a command whose output nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    script = "from sgpo_data.cli.main import main; main()"
    try:
        finished = subprocess.run([sys.executable, "-c", script, *map(str, words)], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    return finished.returncode, finished.stderr


@pytest.mark.parametrize("command", ["pair", "filter", "improve", "diff", "sql"])
def test_a_model_in_the_place_of_a_dataset_is_called_one(command: str, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m")
    (model / "model.safetensors").write_bytes(b"weights")
    words = {"sql": ["sql", "SELECT 1 AS one", str(model)], "diff": ["diff", str(model), str(model)]}.get(command, [command, str(model)])
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 1
    assert "is a model folder" in shown.stderr
    assert len(shown.stderr.strip().splitlines()) == 1


def test_a_raw_file_in_the_place_of_a_dataset_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "x", "answer": "y"}\n')
    for words in (["improve", str(path)], ["inspect", str(path)]):
        shown = CliRunner().invoke(app, words)
        assert shown.exit_code == 1
        assert "file" in shown.stderr
        assert "no such" not in shown.stderr


def test_weights_that_can_not_be_read_are_found_in_a_model_of_another_program(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m")
    (model / "model.safetensors").write_bytes(b"")
    shown = CliRunner().invoke(app, ["check", str(model)])
    assert shown.exit_code == 3
    assert "model.safetensors: cannot be read" in shown.stderr


def test_a_rule_that_is_refused_is_named_by_its_flag() -> None:
    shown = CliRunner().invoke(app, ["filter", "nowhere", "--rule", "short=delete"])
    assert shown.exit_code == 2
    assert "--rule short: " in shown.stderr
    shown = CliRunner().invoke(app, ["filter", "nowhere", "--rule", "length=true"])
    assert shown.stderr == "--rule: length is a rule already; give this one another name\n"
    assert "Value error" not in shown.stderr
