"""pair: preference pairs or training examples, as TRL reads them."""

from importlib import resources
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sgpo_data.errors import RecipeError, SchemaError
from sgpo_data.schema import schema
from sgpo_data.stages import Decision, TableStage

if TYPE_CHECKING:
    import duckdb

_QUERIES = {
    ("pairs", "filtered"): "pairs_from_filtered.sql",
    ("pairs", "responses"): "pairs_from_responses.sql",
    ("pairs", "prompts"): "pairs_from_prompts.sql",
    ("examples", "filtered"): "examples_from_filtered.sql",
    ("examples", "prompts"): "examples_from_prompts.sql",
}


class Pair(TableStage):
    """Make what a model is trained on: preference pairs, or examples of rewriting.

    Pairs are improved over response (of filtered: SGPO), reference over response (of responses: SPIN) or the given two (of prompts: DPO).
    Examples are rewrites with some references replayed beside them (of filtered), or references (of prompts: plain SFT).
    Chosen and rejected always differ. A prompt that its source marked as a near duplicate or as contaminated is left out, its reference too.
    """

    stage_name: ClassVar[str] = "pair"
    revision: ClassVar[int] = 2
    reads: ClassVar[tuple[str, ...]] = ("filtered", "responses", "prompts")
    makes: ClassVar[tuple[str, ...]] = ("pairs", "examples")
    needs_rows: ClassVar[bool] = True
    outcome: ClassVar[str] = "source"

    kind: Literal["pairs", "examples"] = Field("pairs", description="pairs: for preference training; examples: for supervised training.")
    replay: float = Field(
        0.2, ge=0, description="examples of filtered: references replayed per rewrite, each of another prompt, so that answering is not unlearned."
    )
    per_prompt: int | None = Field(None, ge=1, description="Most pairs or rewrites of one prompt, the lowest samples first; none for all.")
    limit: int | None = Field(None, ge=1, description="Most pairs or examples, before replay, drawn by rank of a hash; none for all.")
    seed: int = Field(0, ge=0, description="Seed of the hashes that limit and replay draw by.")

    @property
    def writes(self) -> str:
        """`pairs` or `examples`."""
        return self.kind

    def rows_made(self, rows: int) -> None:
        """Unknown beforehand: it depends on what was dropped and marked."""

    def table(self, con: "duckdb.DuckDBPyConnection", source: str) -> Decision:
        """The pairs or examples, in the order of `input`, replayed references after all rewrites; there may be none.

        Raises RecipeError if this kind cannot be made of this table, SchemaError if prompts hold no preferences to pair.
        """
        query = _QUERIES.get((self.kind, source))
        if query is None:
            others = ", ".join(f"{kind} of {table}" for kind, table in _QUERIES)
            raise RecipeError(f"pair: kind = {self.kind} cannot be made of {source}; what can be made is {others}")
        if (self.kind, source) == ("pairs", "prompts"):
            _require_rejected(con)
        for name, value in (("seed", self.seed), ("per_prompt", self.per_prompt), ("limit", self.limit)):
            con.execute(f'SET VARIABLE "{name}" = ?', [value])
        con.execute("SET VARIABLE last_position = (SELECT coalesce(max(position), 0) FROM input)")
        con.execute(_sql(query))
        drawn = self.per_prompt is not None or self.limit is not None
        if drawn:
            con.execute(_sql("picked.sql"))
        selected = "candidates WHERE get_bit(getvariable('picked'), position::INTEGER) = 1" if drawn else "candidates"
        if (self.kind, source) == ("examples", "filtered") and self.replay > 0:
            return self._with_replay(con, selected)
        return Decision(rows=con.sql(f"SELECT {self._columns} FROM {selected}"), facts=_left_out(con) if source == "prompts" else {})

    @property
    def _columns(self) -> str:
        return ", ".join(f'"{name}"' for name in schema(self.kind).column_names)

    def _with_replay(self, con: "duckdb.DuckDBPyConnection", selected: str) -> Decision:
        # Half is rounded up, as SQL does.
        con.execute(f"SET VARIABLE replayed = (SELECT round(?::DOUBLE * count(*))::BIGINT FROM {selected})", [self.replay])
        con.execute(_sql("replayed.sql"))
        ((wanted, found),) = con.execute("SELECT getvariable('replayed'), count(*) FROM replayed").fetchall()
        short = f"replay = {self.replay} asks for {wanted} references, but only {found} prompts have one"
        rows = con.sql(f"SELECT {self._columns} FROM {selected} UNION ALL SELECT {self._columns} FROM references_replayed")
        return Decision(rows=rows, warnings=(short,) if found < wanted else (), facts={"replayed": float(found)})


def _left_out(con: "duckdb.DuckDBPyConnection") -> dict[str, float]:
    """Prompts that their source marked, by mark; of other tables their finish says it."""
    ((contaminated, duplicate),) = con.execute(
        "SELECT count(contaminated_by), count(duplicate_of) FILTER (WHERE contaminated_by IS NULL) FROM input"
    ).fetchall()
    return {"left_out.contaminated": float(contaminated), "left_out.duplicate": float(duplicate)}


def _require_rejected(con: "duckdb.DuckDBPyConnection") -> None:
    ((rows, given),) = con.execute("SELECT count(*), count(rejected) FROM input").fetchall()
    if rows and not given:
        raise SchemaError(
            f"pair: none of {rows} prompts has a rejected answer, so there is nothing to pair; "
            "give a preference dataset, or run seed, improve, score-ppl and filter first"
        )


def _sql(name: str) -> str:
    return resources.files("sgpo_data.stages.pair").joinpath(name).read_text(encoding="utf-8")
