"""A raw source, local or on the Hub, as rows of table prompts."""

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
import orjson
import pyarrow as pa

from sgpo_data.connection import connected
from sgpo_data.errors import DatasetError, HubError, RecipeError, SchemaError, UsageError
from sgpo_data.names import PREFIX, hub_place
from sgpo_data.paths import local_path
from sgpo_data.rows import Message, Row
from sgpo_data.schema import schema
from sgpo_data.sources.binding import Bindings
from sgpo_data.sources.files import names_a_file, raw_files
from sgpo_data.sources.hub import HubSplit, hub_split
from sgpo_data.sources.left_out import LeftOut
from sgpo_data.sources.odd_row import OddRowError
from sgpo_data.sources.options import EvaluationReference, Source
from sgpo_data.sources.reading import prompt
from sgpo_data.sources.record import Record
from sgpo_data.sources.shapes import KNOWN_COLUMNS

logger = logging.getLogger(__name__)

BATCH_ROWS = 2048
BATCH_CHARACTERS = 1 << 24

PICKED = """
    -- A prompt with several answers has a row for each; a row without any is merged with the first of them, as equal rows are.
    WITH answered AS (
        SELECT prompt_id, reference, rejected, min(position) AS position, count(*) AS count
        FROM found
        WHERE held_out = $held_out
        GROUP BY prompt_id, reference, rejected
    ), numbered AS (
        SELECT
            *,
            reference IS NULL AND rejected IS NULL                                                                            AS bare,
            row_number() OVER (PARTITION BY prompt_id ORDER BY bare, position) - 1                                            AS sample,
            CASE WHEN sample = 0 THEN coalesce(sum(count) FILTER (WHERE bare) OVER (PARTITION BY prompt_id), 0) ELSE 0 END    AS merged
        FROM answered
    ), picked AS (
        SELECT
            prompt_id,
            min(position)                                                                  AS first,
            CASE WHEN $seed IS NOT NULL THEN sha256($seed::VARCHAR || '/' || prompt_id) END AS rank
        FROM answered
        GROUP BY prompt_id
        ORDER BY rank, first
        LIMIT $limit OFFSET $offset
    )
    SELECT
        prompt_id, messages, reference, rejected, source,
        (CASE WHEN numbered.bare THEN merged ELSE numbered.count + merged END)::BIGINT AS count,
        duplicates.duplicate_of, contaminated.contaminated_by, numbered.sample::INTEGER AS sample
    FROM found JOIN (SELECT position, sample, count, merged, bare FROM numbered) AS numbered USING (position) JOIN picked USING (prompt_id)
        LEFT JOIN duplicates USING (prompt_id) LEFT JOIN contaminated USING (prompt_id)
    WHERE numbered.sample = 0 OR NOT numbered.bare
    ORDER BY rank, first, numbered.sample
"""
MARKS = """
    CREATE TABLE duplicates (prompt_id VARCHAR, duplicate_of VARCHAR);
    CREATE TABLE contaminated (prompt_id VARCHAR, contaminated_by VARCHAR);
"""
UNFIT_ROWS = 1000
"""Where none of the first so many rows is of a shape, the rest is not looked at."""
THREADS = min(os.cpu_count() or 1, 4)
"""A thread needs its share of the memory, so more of them would need more."""


class RawContent(Protocol):
    """Rows that do not change, under an identity that says so."""

    @property
    def identity(self) -> str:
        """The same for the same rows, wherever they lie."""
        ...

    def records(self, columns: Collection[str]) -> Iterator[Record]:
        """Every row in order; of other columns than these, the values may be left out."""
        ...


@dataclass(frozen=True)
class OpenedSource:
    """A source whose content is fixed and whose rows are not read yet."""

    reference: str
    source: Source
    content: RawContent
    evaluation: tuple["EvaluationSet", ...] = ()

    @property
    def identity(self) -> str:
        """`file:` and a SHA-256 over names and contents, or `hub:org/name@commit/config/split`; how it is read is not in it."""
        return self.content.identity

    @property
    def local(self) -> bool:
        """Whether it can be read without the Hub, its evaluation sets too."""
        return not isinstance(self.content, HubSplit) and all(each.opened.local for each in self.evaluation)

    def batches(self, left_out: LeftOut | None = None) -> Iterator[pa.RecordBatch]:
        """Rows of table prompts, in the order asked for, `count` being that of the whole source; counts in `left_out` what is not read.

        Reads the source and the evaluation sets once, before the first row; meanwhile they wait in a temporary DuckDB file, so memory is bounded
        by its limit and the n-grams of the evaluation sets.

        Raises DatasetError if the source cannot be read or has no rows, SchemaError at the first row that is no prompt, HubError if the
        download fails, RecipeError if the options leave no prompt.
        """
        with (
            tempfile.TemporaryDirectory(prefix="sgpo-source-") as folder,
            connected("fixed", database=Path(folder) / "found.duckdb", settings={"threads": THREADS}) as con,
        ):
            self._fill(con, left_out)
            self._mark(con)
            options: dict[str, object] = {"seed": self.source.shuffle_seed, "limit": self.source.limit, "offset": self.source.offset}
            options["held_out"] = self.source.take == "held_out"
            empty = True
            for batch in con.sql(PICKED, params=options).to_arrow_reader(BATCH_ROWS).cast(schema("prompts").arrow):
                empty = False
                yield batch
            if empty:
                fields = self.source.model_dump(include={"held_out", "take", "offset", "limit"})
                told = ", ".join(f"{name} = {value}" for name, value in fields.items())
                raise RecipeError(f"{self.reference}: no prompt is left; source has {told}")

    def _fill(self, con: duckdb.DuckDBPyConnection, left_out: LeftOut | None) -> None:
        """Table `found`: one row per raw row that is on the side to be taken; for near duplicates, of either side."""
        types = pa.schema([("position", pa.int64()), ("held_out", pa.bool_()), *schema("prompts").arrow])
        con.from_arrow(types.empty_table()).create("found")
        con.begin()
        total = 0
        batch: list[dict[str, object]] = []
        characters = 0
        for total, row in enumerate(self.prompts(left_out), 1):
            held_out = self.source.holds_out(row["prompt_id"])
            if self.source.near_duplicates is not None or held_out == (self.source.take == "held_out"):
                batch.append({"position": total, "held_out": held_out, **row})
                characters += sum(len(message["content"]) for message in row["messages"]) + len(row["reference"] or "") + len(row["rejected"] or "")
            if len(batch) == BATCH_ROWS or characters > BATCH_CHARACTERS:
                con.from_arrow(pa.Table.from_pylist(batch, types)).insert_into("found")
                batch, characters = [], 0
        con.from_arrow(pa.Table.from_pylist(batch, types)).insert_into("found")
        con.commit()
        if not total:
            raise DatasetError(f"{self.reference}: no rows")

    def _mark(self, con: duckdb.DuckDBPyConnection) -> None:
        """Tables `contaminated` and `duplicates`: prompts that nothing is to be generated from, and why."""
        con.execute(MARKS)
        # Polars and the n-grams are of use only where they are asked for.
        if self.evaluation:
            from sgpo_data.sources.contamination import mark_contaminated

            mark_contaminated(con, {each.name: each.prompts() for each in self.evaluation})
        if self.source.near_duplicates is not None:
            from sgpo_data.sources.near_duplicates import mark_near_duplicates

            mark_near_duplicates(con, self.source.near_duplicates)

    def prompts(self, left_out: LeftOut | None = None) -> Iterator[Row]:
        """One row per raw row, in order, its duplicates not merged; rows that cannot be read, or are of another shape, are left out and counted.

        Raises SchemaError at the first such row if the source is strict, has no other, or begins with a thousand of no shape.
        """
        counted = left_out or LeftOut(self.reference)
        given = dict(entry.split("=", 1) for entry in self.source.columns)
        bindings = Bindings(self.reference, self.source.shape, given)
        read = 0
        for record in self.content.records(KNOWN_COLUMNS.union(given.values())):
            try:
                binding = bindings.of(record)
                found = prompt(record, binding)
            except OddRowError as error:
                if self.source.strict:
                    raise
                counted.row(error)
                if bindings.shape is None and sum(counted.reasons.values()) == UNFIT_ROWS:
                    break
                continue
            read += 1
            counted.unread(record, binding, found)
            yield Row(
                prompt_id=prompt_id(found.messages),
                messages=found.messages,
                reference=found.reference,
                rejected=found.rejected,
                source=record.source,
                count=1,
                duplicate_of=None,
                contaminated_by=None,
                sample=0,
            )
        counted.close(read)


@dataclass(frozen=True)
class EvaluationSet:
    """A source whose prompts are kept out of others."""

    name: str
    """As column `contaminated_by` has it: of a file or folder the last part of its path, so that its place does not count."""
    entry: EvaluationReference
    opened: OpenedSource

    def prompts(self) -> Iterator[list[Message]]:
        """The messages of each row.

        Raises what reading a source raises, with the name of the set.
        """
        try:
            yield from (row["messages"] for row in self.opened.prompts())
        except (DatasetError, SchemaError, HubError) as error:
            raise type(error)(f"evaluation set {self.name}: {error} (its options go behind it, as PATH?split=test)") from error

    @property
    def pinned(self) -> str:
        """The entry of `decontaminate` that stands for what was opened: a Hub dataset at its commit."""
        return self.entry.pinned(self.opened.content.commit) if isinstance(self.opened.content, HubSplit) else self.entry.moved(str)


def open_source(reference: str, source: Source) -> OpenedSource:
    """The source at a path, or on the Hub: `org/name` where there is no such path, or `hf://datasets/org/name@revision`; its evaluation sets likewise.

    Hashes files, resolves a revision to its commit, downloads nothing.

    Raises DatasetError if it is not there, RecipeError if the options do not go with it, HubError if the Hub cannot be asked.
    """
    return OpenedSource(reference, source, _content(reference, source), open_evaluation_sets(source.decontaminate))


def open_evaluation_sets(entries: tuple[str, ...]) -> tuple[EvaluationSet, ...]:
    """The sets that these entries of `decontaminate` name.

    Raises what `open_source` raises, RecipeError also if two have one name.
    """
    found: list[EvaluationSet] = []
    for text in entries:
        entry = EvaluationReference.parsed(text)
        try:
            content = _content(entry.path, entry.source)
        except (DatasetError, RecipeError, HubError, UsageError) as error:
            raise type(error)(f"evaluation set {text}: {error}") from error
        name = entry.options.get("name") or (content.name if isinstance(content, HubSplit) else local_path(entry.path).resolve().name)
        if name in [each.name for each in found]:
            raise RecipeError(f"evaluation set {text}: two sets are called {name}; give one another name, as PATH?name=...")
        found.append(EvaluationSet(name, entry, OpenedSource(entry.path, entry.source, content)))
    return tuple(found)


def _content(reference: str, source: Source) -> RawContent:
    place = hub_place(reference)
    if place is not None:
        if place.path:
            raise DatasetError(
                f"{reference}: no dataset of ours there; for raw rows write {PREFIX}org/name@revision, and what of it with source.config and source.split"
            )
        return _hub(reference, place.repository, source, place.revision)
    path = local_path(reference)
    if path.exists() or names_a_file(reference) or not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", reference):
        set_in_vain = [name for name in ("config", "revision") if getattr(source, name) is not None]
        if set_in_vain:
            raise RecipeError(f"{reference}: source.{set_in_vain[0]} is for datasets on the Hub (got {getattr(source, set_in_vain[0])!r}); remove it")
        return raw_files(path, source.split)
    try:
        return _hub(reference, reference, source, None)
    except HubError as error:
        raise HubError(f"{error}; and there is no local path {reference}") from error
    except DatasetError as error:
        raise DatasetError(f"{error}; and there is no local path {reference}") from error


def _hub(reference: str, name: str, source: Source, revision: str | None) -> HubSplit:
    if revision is not None and source.revision not in (None, revision):
        raise RecipeError(f"{reference}: revision {revision} here, and source.revision is {source.revision}; keep one")
    return hub_split(name, config=source.config, split=source.split, revision=revision or source.revision)


def prompt_id(messages: list[Message]) -> str:
    """First 32 hex digits of the SHA-256 of the messages' canonical JSON.

    Canonical: only role and content, keys sorted, no spaces, characters beyond ASCII as they are, in UTF-8.
    """
    kept = [{"content": message["content"], "role": message["role"]} for message in messages]
    return hashlib.sha256(orjson.dumps(kept)).hexdigest()[:32]
