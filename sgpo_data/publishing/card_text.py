"""What the card of a published dataset tells a reader: what it is, how it was made, its columns, how to load it and how to make it again."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson
from pydantic import JsonValue

from sgpo_data.connection import connected
from sgpo_data.evaluation.summary import EvaluationSummary
from sgpo_data.names import HubPlace
from sgpo_data.publishing.lineage import Lineage
from sgpo_data.schema import schema
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import Identity, Manifest, ModelManifest

ABOUT = {
    "pairs": "preference pairs: the answers of a model, and better ones, as `trl.DPOTrainer` reads them",
    "examples": "training examples as `trl.SFTTrainer` reads them",
    "filtered": "every answer and its rewrite with their likelihoods, and why each row is kept or not",
    "scored": "answers and their rewrites with their likelihoods",
    "improved": "answers and their rewrites",
    "responses": "answers of a model",
    "prompts": "prompts",
}
TRAINERS = {"pairs": "DPOTrainer", "examples": "SFTTrainer"}
NUMBERS = """
SELECT
    count(*)                                                                AS pairs,
    quantile_disc(chosen_tokens, 0.5)                                       AS "tokens of chosen, median",
    quantile_disc(rejected_tokens, 0.5)                                     AS "tokens of rejected, median",
    count(*) FILTER (chosen_tokens > rejected_tokens)                       AS "pairs whose chosen is longer",
    quantile_disc(edited_words, 0.5)                                        AS "words edited, median",
    count(*) FILTER (chosen_nll / chosen_tokens < rejected_nll / rejected_tokens) AS "pairs whose chosen is likelier per token under the scorer",
    count(DISTINCT prompt_id)                                               AS prompts
FROM rows
"""
"""Counts and medians that are values of the data, so that the same rows give the same card."""


def sections(
    configs: Mapping[str, Dataset], lineage: Lineage, *, repository: str, tag: str, split: str, recipe: bool, evaluation: EvaluationSummary | None
) -> Iterator[str]:
    """The lines of the card below its front matter."""
    name = repository.partition("/")[2]
    first, dataset = next(iter(configs.items()))
    yield from (f"# {name} {tag}", "")
    yield f"{ABOUT.get(dataset.table, dataset.table).capitalize()}. Made with `sgpo-data` from a model's own generations, with every step it came from."
    yield ""
    yield from _table(("config", "holds", "rows", "fingerprint"), [_config(name, each.manifest) for name, each in configs.items()])
    if evaluation is not None:
        yield from evaluation_section(evaluation, f"Of the model that this round gave, `{_cell(evaluation.model)}`")
    yield from _made([each.manifest for each in configs.values()], lineage)
    for name, each in configs.items():
        if each.table == "pairs":
            yield from (f"### Numbers of `{name}`", "", *_table(("number", "value"), _numbers(each)))
    yield from ("## Load", "", *_loading(repository, tag, split, first, dataset.table))
    for name, each in configs.items():
        rows = [(f"`{column.name}`", f"`{column.sql_type}`", _cell(column.comment or "")) for column in schema(each.table).columns]
        yield from (f"## Columns of `{name}`", "", f"{schema(each.table).comment}", "", *_table(("column", "type", "meaning"), rows))
    yield from _again(repository, tag, recipe=recipe)


def evaluation_section(found: EvaluationSummary, whose: str) -> Iterator[str]:
    """The lines of a card that tell an evaluation; `whose` says of which model."""
    yield from ("## Evaluation", "", f"{whose}, on {_cell(found.set)}. Intervals are 95 %, by a bootstrap.", "")
    yield from _table(("number", "value", "against"), [(each.name, each.value, _cell(each.against)) for each in found.numbers])


def _config(name: str, manifest: Manifest) -> Sequence[str]:
    return f"`{name}`", _cell(schema(manifest.table).comment), str(manifest.rows), f"`{manifest.fingerprint[:16]}`"


def _made(published: Sequence[Manifest], lineage: Lineage) -> Iterator[str]:
    yield from ("## How it was made", "", "From the sources down; each step reads the one that its inputs name.", "")
    steps = [*reversed(lineage.datasets), *published]
    models = [_model_row(model) for model in reversed(lineage.models)]
    yield from _table(("step", "made", "rows in", "rows", "of", "by model"), [_step_row(each) for each in steps])
    if models:
        yield from _table(("training", "model", "rows", "of", "start"), models)
    if lineage.gone:
        gone = ", ".join(f"{each.made_name}" for each in lineage.gone)
        yield from (f"The manifests of {gone} were not at hand when this was published.", "")
    for each in steps:
        if each.table == "filtered":
            yield from (f"### Why rows of {each.made_name} are kept or not", "", *_table(("outcome", "rows", "share"), _shares(each)))
    yield from ("<details><summary>Settings of every step</summary>", "")
    for identity in [each.identity for each in steps] + [each.identity for each in reversed(lineage.models)]:
        yield from (f"`{identity.made_name}`", "", "```json", _settings(identity), "```", "")
    yield from ("</details>", "")


def _step_row(manifest: Manifest) -> Sequence[str]:
    identity = manifest.identity
    return (
        f"`{identity.stage}`",
        f"`{manifest.made_name}`",
        str(manifest.rows_in),
        str(manifest.rows),
        _inputs(identity),
        ", ".join(f"{role} `{_cell(record.identity)}`" for role, record in identity.models.items()) or "none",
    )


def _model_row(manifest: ModelManifest) -> Sequence[str]:
    start = manifest.identity.models["start"].identity
    return "`train`", f"`train:{manifest.fingerprint[:32]}`", str(manifest.rows), _inputs(manifest.identity), f"`{_cell(start)}`"


def _inputs(identity: Identity) -> str:
    told = [f"`{each.made_name}`" if each.table else f"`{_cell(each.fingerprint[:64])}`" for each in identity.inputs]
    return ", ".join(told)


def _shares(manifest: Manifest) -> list[Sequence[str]]:
    return [(f"`{_cell(name)}`", str(rows), f"{100 * rows / max(manifest.rows, 1):.1f} %") for name, rows in manifest.outcomes.items()]


def _numbers(dataset: Dataset) -> list[Sequence[str]]:
    with connected() as con:
        dataset.relation(con).create_view("rows")
        found = con.execute(NUMBERS)
        names = [name for name, *_ in found.description or ()]
        values = found.fetchone() or ()
    return [(name, str(value)) for name, value in zip(names, values, strict=True) if value is not None]


def _loading(repository: str, tag: str, split: str, config: str, table: str) -> Iterator[str]:
    yield from (
        "```python",
        "from datasets import load_dataset",
        "",
        f'{table} = load_dataset("{repository}", "{config}", split="{split}", revision="{tag}")',
        "```",
        "",
    )
    files = f"{HubPlace(repository, tag, config)}/*.parquet"
    yield from ("```python", "import polars as pl", "", f'{table} = pl.scan_parquet("{files}")', "```", "")
    yield from ("```sql", f"-- DuckDB\nFROM '{files}';", "```", "")
    if table in TRAINERS:
        trainer, start = TRAINERS[table], "the/model-that-wrote-them" if table == "pairs" else "a/model"
        yield from ("```python", f"from trl import {trainer}", "", f'{trainer}(model="{start}", train_dataset={table}).train()', "```", "")
    yield from ("```sh", f'sgpo sql "SELECT count(*) FROM {table}" {HubPlace(repository, tag, config)}', "```", "")


def _again(repository: str, tag: str, *, recipe: bool) -> Iterator[str]:
    what = "the recipe" if recipe else "the commands"
    yield from ("## Make it again", "", "```sh", f"sgpo reproduce {HubPlace(repository, tag, '')}", "```", "")
    yield f"writes {what} that made this version, and says what is needed, which fingerprints will be the same, and where sampled text or weights may differ."
    yield ""


def _settings(identity: Identity) -> str:
    fields: JsonValue = identity.fields
    # A fence in a template would end the block.
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode().replace("```", "\\u0060\\u0060\\u0060")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + " --- |" * len(head)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _cell(text: str) -> str:
    """A text as one cell: no line ends, no bars, no markup of its own."""
    return re.sub(r"([|<>`])", lambda found: {"|": "\\|", "<": "&lt;", ">": "&gt;", "`": "'"}[found[0]], " ".join(text.split()))
