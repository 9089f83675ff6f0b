"""A raw source, local, on the Hub or in a bucket, as rows of table prompts."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa

from sgpo_data.buckets.fetch import fetched_files
from sgpo_data.connection import connected
from sgpo_data.errors import DatasetError, HubError, RecipeError, SchemaError, StorageError, UsageError
from sgpo_data.execution import ROOT
from sgpo_data.names import PREFIX, BucketPlace, HubRows, bucket_place, hub_place
from sgpo_data.paths import bracketed, local_path, nearby
from sgpo_data.rows import Message, Row
from sgpo_data.schema import schema
from sgpo_data.sources.binding import Bindings
from sgpo_data.sources.files import could_be_on_hub, could_be_read, raw_files
from sgpo_data.sources.hub import HubSplit, hub_split
from sgpo_data.sources.left_out import LeftOut
from sgpo_data.sources.odd_row import OddRowError
from sgpo_data.sources.options import EvaluationReference, Source, SourceReference
from sgpo_data.sources.picking import pick
from sgpo_data.sources.reading import prompt
from sgpo_data.sources.record import RawContent
from sgpo_data.sources.shapes import KNOWN_COLUMNS

logger = logging.getLogger(__name__)

BATCH_ROWS = 2048
BATCH_CHARACTERS = 1 << 24

MARKS = """
    CREATE TABLE duplicates (prompt_id VARCHAR, duplicate_of VARCHAR);
    CREATE TABLE contaminated (prompt_id VARCHAR, contaminated_by VARCHAR);
"""
UNFIT_ROWS = 1000
"""Where none of the first so many rows is of a shape, the rest is not looked at."""
THREADS = min(os.cpu_count() or 1, 4)
"""A thread needs its share of the memory, so more of them would need more."""


@dataclass(frozen=True)
class OpenedSource:
    """A source whose content is fixed and whose rows are not read yet."""

    reference: str
    source: Source
    content: RawContent
    evaluation: tuple["EvaluationSet", ...] = ()
    more: tuple["OpenedReference", ...] = ()
    """Further sources, after this one."""

    @property
    def identity(self) -> str:
        """`file:` and a SHA-256 over names and contents, or `hub:org/name@commit/config/split`; how it is read is not in it."""
        return self.content.identity

    @property
    def local(self) -> bool:
        """Whether it can be read without the Hub, its evaluation sets too."""
        return not isinstance(self.content, HubSplit) and all(each.opened.local for each in (*self.evaluation, *self.more))

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
            empty = True
            for batch in pick(con, (self.source, *(each.opened.source for each in self.more))).to_arrow_reader(BATCH_ROWS).cast(schema("prompts").arrow):
                empty = False
                yield batch
            if empty:
                fields = self.source.model_dump(include={"held_out", "take", "offset", "limit"})
                told = ", ".join(f"{name} = {value}" for name, value in fields.items())
                raise RecipeError(f"{self.reference}: no prompt is left; source has {told}")

    def _fill(self, con: duckdb.DuckDBPyConnection, left_out: LeftOut | None) -> None:
        """Table `found`: one row per raw row that is on the side to be taken; for near duplicates, of either side."""
        types = pa.schema([("position", pa.int64()), ("origin", pa.int32()), ("held_out", pa.bool_()), *schema("prompts").arrow])
        con.from_arrow(types.empty_table()).create("found")
        con.begin()
        total = 0
        batch: list[dict[str, object]] = []
        characters = 0
        for total, (origin, row) in enumerate(self._rows(left_out), 1):
            held_out = self.source.holds_out(row["prompt_id"])
            if self.source.near_duplicates is not None or held_out == (self.source.take == "held_out"):
                batch.append({"position": total, "origin": origin, "held_out": held_out, **row})
                characters += sum(len(message["content"]) for message in row["messages"]) + len(row["reference"] or "") + len(row["rejected"] or "")
            if len(batch) == BATCH_ROWS or characters > BATCH_CHARACTERS:
                con.from_arrow(pa.Table.from_pylist(batch, types)).insert_into("found")
                batch, characters = [], 0
        con.from_arrow(pa.Table.from_pylist(batch, types)).insert_into("found")
        con.commit()
        if not total:
            raise DatasetError(f"{self.reference}: no rows")

    def _rows(self, left_out: LeftOut | None) -> Iterator[tuple[int, Row]]:
        """The rows of all sources with the number of each, from 0; of several, the name of each stands before its files."""
        if not self.more:
            yield from ((0, row) for row in self.prompts(left_out))
            return
        warnings = left_out.warnings if left_out else []
        parts = ((_name(self.reference, self.content), self), *((each.name, each.opened) for each in self.more))
        for origin, (name, opened) in enumerate(parts):
            own = _name(opened.reference, opened.content)
            for row in opened.prompts(LeftOut(opened.reference, warnings=warnings)):
                yield origin, {**row, "source": name if row["source"] == own else f"{name}/{row['source']}"}

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
class OpenedReference:
    """A source that an entry with options names."""

    name: str
    """As a column has it: of a file or folder the last part of its path, so that its place does not count."""
    opened: OpenedSource
    entry: EvaluationReference

    @property
    def pinned(self) -> str:
        """The entry that stands for what was opened: a Hub dataset at its commit."""
        hub = HubRows.parsed(self.opened.identity)
        return self.entry.pinned(hub.commit) if hub else self.entry.moved(str)


@dataclass(frozen=True)
class EvaluationSet(OpenedReference):
    """A source whose prompts are kept out of others."""

    def prompts(self) -> Iterator[list[Message]]:
        """The messages of each row.

        Raises what reading a source raises, with the name of the set.
        """
        try:
            yield from (row["messages"] for row in self.opened.prompts())
        except (DatasetError, SchemaError, HubError) as error:
            raise type(error)(f"evaluation set {self.name}: {error} (its options go behind it, as PATH?split=test)") from error


def open_source(reference: str, source: Source, *, store: Path = ROOT / "store") -> OpenedSource:
    """The source at a path, or on the Hub: `org/name` where there is no such path, or `hf://datasets/org/name@revision`; its evaluation sets likewise.

    Hashes files, resolves a revision to its commit, downloads nothing from the Hub; files in a bucket (`s3://bucket/path`) are fetched into the store.

    Raises DatasetError if it is not there, RecipeError if the options do not go with it, HubError if the Hub cannot be asked, StorageError if a bucket cannot.
    """
    if source.share is not None and not source.more:
        raise RecipeError(f"{reference}: source.share is for several sources (got {source.share}); set source.limit, or add a source")
    content = _content(reference, source, store)
    opened = OpenedSource(reference, source, content, open_evaluation_sets(source.decontaminate, store))
    return replace(opened, more=open_more(source.more, opened, store))


def open_more(entries: tuple[str, ...], first: OpenedSource, store: Path) -> tuple[OpenedReference, ...]:
    """The further sources that these entries of `more` name, beside the first one.

    Raises what `open_source` raises, RecipeError also if two have one name.
    """
    found: list[OpenedReference] = []
    for text in entries:
        entry = SourceReference.parsed(text)
        content = _content(entry.path, entry.source, store)
        name = entry.options.get("name") or _name(entry.path, content)
        if name in (_name(first.reference, first.content), *(each.name for each in found)):
            raise RecipeError(f"{text}: two sources are called {name}, and rows would not tell them apart; give it another with name = ...")
        found.append(OpenedReference(name, OpenedSource(entry.path, entry.source, content), entry))
    return tuple(found)


def _name(reference: str, content: RawContent) -> str:
    return content.name if isinstance(content, HubSplit) else local_path(reference).resolve().name


def open_evaluation_sets(entries: tuple[str, ...], store: Path) -> tuple[EvaluationSet, ...]:
    """The sets that these entries of `decontaminate` name.

    Raises what `open_source` raises, RecipeError also if two have one name.
    """
    found: list[EvaluationSet] = []
    for text in entries:
        entry = EvaluationReference.parsed(text)
        try:
            content = _content(entry.path, entry.source, store)
        except (DatasetError, RecipeError, HubError, StorageError, UsageError) as error:
            raise type(error)(f"evaluation set {text}: {error}") from error
        name = entry.options.get("name") or _name(entry.path, content)
        if name in [each.name for each in found]:
            raise RecipeError(f"evaluation set {text}: two sets are called {name}; give one another name, as PATH?name=...")
        found.append(EvaluationSet(name, OpenedSource(entry.path, entry.source, content), entry))
    return tuple(found)


def _content(reference: str, source: Source, store: Path) -> RawContent:
    place = hub_place(reference)
    if place is not None:
        if place.path:
            raise DatasetError(
                f"{reference}: no dataset of ours there; for raw rows write {PREFIX}org/name@revision, and what of it with source.config and source.split"
            )
        return _hub(reference, place.repository, source, place.revision)
    bucket = bucket_place(reference)
    path = local_path(reference) if bucket is None else _fetched(bucket, store)
    if path.exists() or not could_be_on_hub(reference):
        set_in_vain = [name for name in ("config", "revision") if getattr(source, name) is not None]
        if set_in_vain:
            raise RecipeError(f"{reference}: source.{set_in_vain[0]} is for datasets on the Hub (got {getattr(source, set_in_vain[0])!r}); remove it")
        return raw_files(path, source.split)
    try:
        return _hub(reference, reference, source, None)
    except HubError as error:
        raise HubError(f"{error}; and there is no local path {reference}{bracketed(nearby(path))}") from error
    except DatasetError as error:
        raise DatasetError(f"{error}; and there is no local path {reference}{bracketed(nearby(path))}") from error


def _fetched(place: BucketPlace, store: Path) -> Path:
    """What of a bucket could be read, in the store."""
    found = fetched_files(place, store, could_be_read)
    if found is None:
        raise DatasetError(f"{place}: no file of a known kind there; see what there is with: aws s3 ls {place}")
    return found


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
