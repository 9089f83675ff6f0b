"""improve: the improver rewrites every response."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field, JsonValue

from sgpo_data.engines import GenerateRequest, Generation, Sampling
from sgpo_data.rows import Finish, Message, Role, Row
from sgpo_data.stages import ENGINE_MODEL, GeneratingStage, ModelRole, row_key, row_seed
from sgpo_data.stages.improve.templates import Template, load_template


class Improve(GeneratingStage):
    """Rewrite every response: with the reference in sight (refine), or from the request and the draft alone (improve)."""

    stage_name: ClassVar[str] = "improve"
    revision: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("responses",)
    makes: ClassVar[tuple[str, ...]] = ("improved",)
    outcome: ClassVar[str] = "improved_finish"
    model_role: ClassVar[ModelRole] = ModelRole("improver", "--model", f"{ENGINE_MODEL}; that of the input if not given.", unnamed="policy")

    role: Role = Field("refine", description="refine shows the reference to the improver; improve does not.")
    improve_template: Template = Field(load_template("improve"), description="Template without the reference: improve, or a file.")
    refine_template: Template = Field(load_template("refine"), description="Template with the reference: refine, or a file.")
    sampling: Sampling = Sampling()

    def identity(self) -> JsonValue:
        """The fields, with the text of the templates; what their files are called does not count."""
        return {**self.model_dump(mode="json"), "improve_template": self.improve_template.text, "refine_template": self.refine_template.text}

    def settled(self, row: Row, author: str) -> Row | None:
        """The finished row if there is nothing to rewrite, or no reference to refine it with."""
        if row["finish"] != "stop":
            return self._row(row, author, text=None, finish="no_response")
        if self.role == "refine" and row["reference"] is None:
            return self._row(row, author, text=None, finish="no_reference")
        return None

    def unfit(self, rows: Iterable[Row]) -> str | None:
        """Rows without any reference, if it is to refine with them."""
        if self.role == "improve" or any(row["reference"] is not None for row in rows):
            return None
        return 'no row has a reference to refine with; take --role improve (role = "improve" in a recipe), or prompts with references'

    def request(self, row: Row) -> GenerateRequest:
        """The template of the role, rendered for the row."""
        key = row_key(row)
        return GenerateRequest(key, self._messages(row), row_seed(self.sampling.seed, self.stage_name, key), self.sampling)

    def answered(self, row: Row, answer: Generation, author: str) -> Row:
        """The row with its improved answer."""
        return self._row(row, author, text=answer.text, finish=answer.finish)

    def _messages(self, row: Row) -> list[Message]:
        if self.role == "improve":
            return self._improve_prompt(row)
        return self.refine_template.render(row["messages"], response=row["response"] or "", reference=row["reference"])

    def _improve_prompt(self, row: Row) -> list[Message]:
        return self.improve_template.render(row["messages"], response=row["response"] or "")

    def _row(self, row: Row, improver: str, *, text: str | None, finish: Finish) -> Row:
        return {
            **row,
            "improved": text,
            "improved_finish": finish,
            "improver": improver,
            "role": self.role,
            "improver_prompt": None if finish == "no_response" else self._improve_prompt(row),
            "improve_template": self.improve_template.digest,
            "refine_template": self.refine_template.digest if self.role == "refine" else None,
        }
