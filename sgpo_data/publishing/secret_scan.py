"""Secrets in what is about to leave this machine: the token formats of detect-secrets, and the keys that this process holds itself."""

import importlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from sgpo_data.connection import connected, quoted
from sgpo_data.errors import GateError
from sgpo_data.hub.commit import HubFile
from sgpo_data.schema import Column, schema
from sgpo_data.store.dataset import Dataset

if TYPE_CHECKING:
    from detect_secrets.plugins.base import RegexBasedDetector

FORMATS = {
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "npm": "NpmDetector",
    "openai": "OpenAIDetector",
    "private_key": "PrivateKeyDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
"""Modules of detect_secrets.plugins whose patterns are the format of one provider's keys. Its guesses, by entropy or by a word such as password, are
left out: text of conversations is full of them."""
OWN = {
    # https://huggingface.co/docs/hub/security-tokens, and two formats that are younger than detect-secrets 1.5.
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "OpenAI or Anthropic key": r"\bsk-(?:proj|svcacct|admin|ant-api03|ant-admin01)-[A-Za-z0-9_-]{40,}",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}",
}
HELD = re.compile(r"(?:^|_)(?:TOKEN|KEY|SECRET|PASSWORD)S?$")
"""Names of environment variables whose values are looked for as they stand."""
SHORTEST_HELD = 16
"""A shorter value is no key, but a word that text can hold by chance."""
SHOWN = 5


@dataclass(frozen=True)
class Secret:
    """One that was found; the text of it is never kept."""

    place: str
    """Dataset and key of the row with its column, or a file."""
    kind: str


def refuse_secrets(datasets: Sequence[Dataset], files: Sequence[HubFile]) -> None:
    """Nothing if no text column and no small file holds what looks like a secret.

    Raises GateError, which names rows and columns and shows no secret.
    """
    found = [secret for dataset in datasets for secret in in_dataset(dataset)]
    found += [Secret(file.path, kind) for file in files if isinstance(file.content, bytes) for kind in kinds(file.content.decode(errors="replace"))]
    if found:
        listed = [f"  {each.place}: {each.kind}" for each in found[:SHOWN]]
        more = [f"  and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        raise GateError(
            f"publish: {len(found)} texts hold what looks like a secret, so nothing was sent",
            *listed,
            *more,
            "take them out of the source and make the dataset again, or, if they are none, say so with --allow-secrets",
        )


def in_dataset(dataset: Dataset) -> list[Secret]:
    """Every text of the dataset that holds one, in the order of its rows; DuckDB finds the rows, detect-secrets has the last word."""
    columns = [column for column in schema(dataset.table).columns if _text(column)]
    texts = {column.name: _text(column) for column in columns}
    key = schema(dataset.table).key
    pattern = "|".join(f"(?:{each})" for each in _coarse())
    query = f"SELECT {', '.join(map(quoted, key))}, {', '.join(texts.values())} FROM rows WHERE " + " OR ".join(
        f"regexp_matches({text}, $pattern)" for text in texts.values()
    )
    found = []
    with connected() as con:
        dataset.relation(con).create_view("rows")
        rows = con.execute(query, {"pattern": pattern})
        while row := rows.fetchone():
            named = ", ".join(f"{name} {value}" for name, value in zip(key, row, strict=False))
            values = zip(texts, row[len(key) :], strict=True)
            found += [Secret(f"{dataset.table}: {named}: {name}", kind) for name, value in values if value for kind in kinds(value)]
    return found


def kinds(text: str) -> list[str]:
    """What kinds of secret stand in a text."""
    found = [kind for kind, pattern in OWN.items() if re.search(pattern, text)]
    found += [f"the value of {name}" for name, value in _held().items() if value in text]
    found += [plugin.secret_type for plugin in _plugins() if any(pattern.search(text) for pattern in plugin.denylist)]
    return list(dict.fromkeys(found))


def _text(column: Column) -> str:
    if column.sql_type == "VARCHAR":
        return quoted(column.name)
    if column.sql_type.startswith("STRUCT") and column.sql_type.endswith("[]"):
        return f"array_to_string(list_transform({quoted(column.name)}, lambda turn: turn.content), chr(10))"
    return ""


def _coarse() -> Iterator[str]:
    """Patterns that RE2 knows and that find at least what the exact ones find."""
    yield from OWN.values()
    yield from (re.escape(value) for value in _held().values())
    for plugin in _plugins():
        for pattern in plugin.denylist:
            flags = "(?i)" if pattern.flags & re.IGNORECASE else ""
            coarse = re.sub(r"\(\?[!=][^)]*\)", "", pattern.pattern)
            yield flags + re.sub(r"{(\d+),\d{4}}", r"{\1,}", coarse)


def _held() -> dict[str, str]:
    """Keys of this process by the name of their variable, and the Hub's login."""
    from huggingface_hub import get_token

    found = {name: value for name, value in os.environ.items() if HELD.search(name) and len(value) >= SHORTEST_HELD}
    token = get_token()
    return found | ({"the Hub's login": token} if token else {})


@cache
def _plugins() -> "list[RegexBasedDetector]":
    return [getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)() for module, name in FORMATS.items()]
