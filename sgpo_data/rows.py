"""The columns that Python code touches, as types; `schemas/*.sql` declares them, a test holds the two together."""

from typing import Literal, NotRequired, TypedDict

Finish = Literal["stop", "length", "empty", "too_long", "refused", "timeout", "no_response", "no_reference", "duplicate", "contaminated"]
Role = Literal["refine", "improve"]


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


class Row(TypedDict):
    """A row of any table between `prompts` and `filtered`: each stage adds its columns and carries the rest.

    What a key means, its unit and when it is null stand in the schema's column comments.
    """

    prompt_id: str
    messages: list[Message]
    reference: str | None
    rejected: str | None
    source: str
    count: int
    duplicate_of: str | None
    contaminated_by: str | None
    sample: int
    response: NotRequired[str | None]
    finish: NotRequired[Finish]
    sampled_nll: NotRequired[float | None]
    sampled_tokens: NotRequired[int | None]
    policy: NotRequired[str]
    improved: NotRequired[str | None]
    improved_finish: NotRequired[Finish]
    improver: NotRequired[str]
    role: NotRequired[Role]
    improver_prompt: NotRequired[list[Message] | None]
    improve_template: NotRequired[str]
    refine_template: NotRequired[str | None]
    response_nll: NotRequired[float | None]
    response_tokens: NotRequired[int | None]
    improved_nll: NotRequired[float | None]
    improved_tokens: NotRequired[int | None]
    reference_nll: NotRequired[float | None]
    reference_tokens: NotRequired[int | None]
    improved_nll_given_draft: NotRequired[float | None]
    scorer: NotRequired[str]
    response_words: NotRequired[int | None]
    improved_words: NotRequired[int | None]
    reference_words: NotRequired[int | None]
    edited_words: NotRequired[int | None]
    reference_edited_words: NotRequired[int | None]
    response_repeats: NotRequired[int | None]
    improved_repeats: NotRequired[int | None]
    residue: NotRequired[str | None]
    response_reward: NotRequired[float | None]
    improved_reward: NotRequired[float | None]
    reward_model: NotRequired[str | None]
