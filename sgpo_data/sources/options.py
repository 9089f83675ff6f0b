"""How a raw source is read: the options, which decide its prompts."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, urlencode

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sgpo_data.names import without_revision
from sgpo_data.sources.shapes import PART_NAMES, ShapeName


def _mapping(columns: tuple[str, ...]) -> tuple[str, ...]:
    for entry in columns:
        part, equals, column = entry.partition("=")
        if not (equals and column) or part not in PART_NAMES:
            raise ValueError(f"{entry!r} is not part=column; the parts are {', '.join(PART_NAMES)}")
    if len({entry.partition("=")[0] for entry in columns}) < len(columns):
        raise ValueError("a part stands twice")
    return columns


def _evaluation_sets(references: tuple[str, ...]) -> tuple[str, ...]:
    for reference in references:
        EvaluationReference.parsed(reference)
    return references


class Source(BaseModel):
    """How a raw source is read.

    All rows are read and exact duplicates merged; then prompts are marked; then prompts are held out, each by a hash of its own id; then the rest is
    ordered and cut. So with one seed, disjoint (offset, limit) are disjoint prompts, and a prompt that is held out is so in every source that holds it.
    A mark depends on the whole source and on no slice of it, and a marked prompt keeps its place: it is a row that nothing is generated from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: str | None = Field(None, description="Hub only: configuration of the dataset.")
    split: str = Field("train", description="Split of a dataset on the Hub, or of a folder whose file names tell splits.")
    revision: str | None = Field(None, description="Hub only: commit, or a branch or tag that is resolved to one.")
    shape: Literal["auto", ShapeName] = Field("auto", description="What a row is; auto tells it by the names of the columns.")
    columns: Annotated[tuple[str, ...], AfterValidator(_mapping)] = Field((), description="Columns of other names, as part=column: prompt=q.")
    strict: bool = Field(
        False, exclude_if=lambda value: not value, description="Refuse the source at the first row that cannot be read, in place of leaving such rows out."
    )
    limit: int | None = Field(None, ge=1, description="Take at most this many prompts.")
    offset: int = Field(0, ge=0, description="Leave out this many prompts first.")
    shuffle_seed: int | None = Field(None, ge=0, description="Order prompts by a hash of this and their id; without it they stay in the order of the source.")
    held_out: float = Field(0.0, ge=0, lt=1, description="Share of the prompts that is held out, drawn by a hash of their id.")
    take: Literal["train", "held_out"] = Field("train", description="Which prompts to take: those that are not held out, or those that are.")

    near_duplicates: float | None = Field(
        None,
        ge=0.5,
        le=1,
        description="Mark prompts whose word 3-grams are alike to those of another, by this Jaccard similarity; 0.8 is usual. None are if not given: "
        "several questions about one long text are alike too.",
    )
    decontaminate: Annotated[tuple[str, ...], AfterValidator(_evaluation_sets)] = Field(
        (),
        description="Mark prompts that share 13 words in a row with these evaluation sets: files, folders or Hub datasets, with options behind, as "
        "openai/gsm8k?config=main&split=test (config, split, revision, shape, columns, name).",
    )

    @model_validator(mode="after")
    def _something_is_held_out(self) -> Self:
        if self.take == "held_out" and not self.held_out:
            raise ValueError("take = held_out needs held_out above 0")
        return self

    def holds_out(self, prompt_id: str) -> bool:
        """Whether this prompt is held out; a greater share holds out the same prompts and more."""
        if not self.held_out:
            return False
        drawn = int.from_bytes(hashlib.sha256(f"held_out/{prompt_id}".encode()).digest()[:8], "big") / 2**64
        return drawn < self.held_out


@dataclass(frozen=True)
class EvaluationReference:
    """An entry of `decontaminate`: where an evaluation set is, and how it is read."""

    path: str
    options: dict[str, str]
    """As they were written."""

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The entry that is written as PATH?option=value&option=value.

        Raises ValueError if it says nothing that can be followed.
        """
        path, _, query = text.partition("?")
        options = dict(parse_qsl(query))
        unknown = sorted(options.keys() - EVALUATION_OPTIONS)
        if not path or unknown or len(options) < query.count("&") + bool(query):
            fault = f"no option {unknown[0]}" if unknown else "not a path with options behind"
            raise ValueError(f"{text!r}: {fault}; write PATH?option=value&option=value with {', '.join(EVALUATION_OPTIONS)}")
        reference = cls(path, options)
        _ = reference.source
        return reference

    @property
    def source(self) -> Source:
        """How it is read."""
        fields: dict[str, object] = {key: value for key, value in self.options.items() if key != "name"}
        return Source.model_validate({**fields, "columns": self.options["columns"].split(",")} if "columns" in self.options else fields)

    def moved(self, located: Callable[[str], str]) -> str:
        """The same entry with its path as `located` gives it."""
        return self._written(located(self.path), self.options)

    def pinned(self, commit: str) -> str:
        """The same entry at a commit of the Hub."""
        return self._written(without_revision(self.path), {**self.options, "revision": commit})

    def _written(self, path: str, options: dict[str, str]) -> str:
        return f"{path}?{urlencode(options, safe='=,/')}" if options else path


EVALUATION_OPTIONS = ("config", "split", "revision", "shape", "columns", "name")
