"""Answers as the ids that are scored and trained."""

from collections.abc import Sequence

from sgpo_data.engines.chat import Chat
from sgpo_data.rows import Message


def answer_ids(chat: Chat, answer: str, messages: Sequence[Message] = ({"role": "user", "content": "q"},)) -> list[int]:
    """The ids of an answer, its end of turn included."""
    read = chat.rendering(messages, answer)
    assert read is not None
    return read.answer
