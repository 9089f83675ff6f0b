"""What looks like a secret stays on this machine, and is named without being shown."""

from pathlib import Path

import duckdb
import pytest
from literal_rows import pair_row, row
from made import made_dataset

from sgpo_data.errors import GateError
from sgpo_data.hub.commit import text_file
from sgpo_data.publishing.secret_scan import _coarse, in_dataset, kinds, refuse_secrets

# Put together here, so that this file holds none.
AWS = "AKIA" + "IOSFODNN7ABCDEFG"
GITHUB = "ghp_" + "a1B2" * 9
HUB = "hf_" + "aBcD" * 8
PRIVATE = "-----BEGIN RSA " + "PRIVATE KEY-----"
GITLAB = "glpat-" + "x" * 20
GOOGLE = "AIza" + "b" * 35
SLACK = "xoxb-" + "123-456-abc"


@pytest.mark.parametrize("secret", [AWS, GITHUB, HUB, PRIVATE, GITLAB, GOOGLE, SLACK])
def test_the_format_of_a_key_is_known_wherever_it_stands(secret: str, tmp_path: Path) -> None:
    assert kinds(f"use {secret} for that")
    rows = [row("a"), row("b", response=f"export KEY={secret}\n"), row("c", messages=[{"role": "user", "content": "hi"}, {"role": "user", "content": secret}])]
    found = in_dataset(made_dataset(tmp_path / "x", "filtered", rows))
    assert [each.place.rpartition(": ")[2] for each in found] == ["response", "messages"]


@pytest.mark.parametrize("text", ["", "my password is hunter2", "hf_ and sk- are prefixes", "token = 5", "x" * 5000, "AKIA is a prefix", "a🙂b"])
def test_ordinary_text_is_no_secret(text: str) -> None:
    assert kinds(text) == []


def test_the_rough_patterns_of_the_query_are_patterns_of_duckdb() -> None:
    with duckdb.connect() as con:
        for pattern in _coarse():
            assert con.execute("SELECT regexp_matches('', ?)", [pattern]).fetchall() == [(False,)], pattern


def test_a_key_that_this_process_holds_is_found_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVER_API_KEY", "no format at all, but ours")
    assert kinds("it said: no format at all, but ours.") == ["the value of MY_SERVER_API_KEY"]


def test_rows_are_named_and_the_secret_is_not_shown(tmp_path: Path) -> None:
    chosen = [{"role": "assistant", "content": f"here: {GITHUB}"}]
    dataset = made_dataset(tmp_path / "x", "pairs", [pair_row("a"), pair_row("b", chosen=chosen)])
    with pytest.raises(GateError) as told:
        refuse_secrets([dataset], [text_file("README.md", "no secret"), text_file("sgpo/recipe.toml", f'key = "{HUB}"')])
    message = str(told.value)
    assert f"pairs: prompt_id {pair_row('b')['prompt_id']}, sample 0: chosen: GitHub Token" in message
    assert "sgpo/recipe.toml: Hugging Face token" in message
    assert "--allow-secrets" in message
    assert GITHUB not in message
    assert HUB not in message
    assert told.value.exit_code == 3
