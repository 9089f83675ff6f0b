"""Token ids of a conversation and its answers, under the chat template of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import jinja2

from sgpo_data.errors import MissingExtraError, ModelError, first_line
from sgpo_data.rows import Message

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerBase

_SENTINEL = "sgpo-data-answer-7f3a"


class Chat:
    """A tokenizer with its chat template; text is templated once, and its ids are never made from a joined string."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, place: str) -> None:
        if not tokenizer.chat_template:
            raise ModelError(f"{place}: the tokenizer has no chat template; add chat_template.jinja to the folder")
        self.tokenizer = tokenizer
        self.end_of_turn = _end_of_turn(tokenizer, place=place)
        """Id of the token that ends an answer, as the template writes it."""

    def prompt_ids(self, messages: Sequence[Message]) -> list[int] | None:
        """The conversation up to where the answer begins; None if the template refuses it.

        The template decides about the beginning of sequence, as it does in training; written twice, it counts once.
        """
        turns = [{"role": message["role"], "content": message["content"]} for message in messages]
        try:
            encoded = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True)
        except (jinja2.TemplateError, ValueError):
            # transformers refuses an empty conversation with a ValueError.
            return None
        ids: list[int] = cast("BatchEncoding", encoded)["input_ids"]
        while len(ids) > 1 and ids[0] == ids[1] == self.tokenizer.bos_token_id:
            ids = ids[1:]
        return ids or None

    def answer_ids(self, answer: str) -> list[int]:
        """The answer as it is, then the end of turn.

        An answer is untrusted: `<|im_end|>` written in it is tokenised as the characters it is made of, not as the special token, if the tokenizer can.
        A generation never has such a token in its text either, so both are read alike.
        """
        ids: list[int] = self.tokenizer(answer, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [*ids, self.end_of_turn]

    def stop_ids(self, generation_eos: int | Sequence[int] | None) -> frozenset[int]:
        """Ids that end an answer: the end of turn, the tokenizer's end of sequence, and those of the model's generation config."""
        listed = [generation_eos] if isinstance(generation_eos, int) else generation_eos or []
        own = self.tokenizer.eos_token_id
        return frozenset([self.end_of_turn, *listed, *([] if own is None else [own])])

    def text(self, ids: Sequence[int]) -> str:
        """The text of answer ids, without special tokens; bytes that are no UTF-8, as of a character cut in half, become U+FFFD."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def load_chat(folder: Path) -> Chat:
    """The chat of a model folder.

    Raises ModelError if it holds no tokenizer or no chat template.
    """
    # Rows are tokenised one by one: a pool of threads gains nothing for one, and where the cores are busy it triples the wait.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("models", "transformers") from error
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        raise ModelError(f"{folder}: no tokenizer.json, so this is no model folder; give a folder that save_pretrained wrote")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: the tokenizer cannot be read: {first_line(error)}") from error
    return Chat(tokenizer, place=str(folder))


def _end_of_turn(tokenizer: PreTrainedTokenizerBase, *, place: str) -> int:
    """The first special token that the template writes after an answer; the end of sequence if it writes none."""
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _SENTINEL}]
    try:
        rendered = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except jinja2.TemplateError as error:
        raise ModelError(f"{place}: the chat template refuses a question and an answer: {first_line(error)}; mend chat_template.jinja") from error
    tail: list[int] = tokenizer(rendered.rpartition(_SENTINEL)[2], add_special_tokens=False)["input_ids"]
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    found = next((token for token in tail if token in special), tokenizer.eos_token_id)
    if found is None:
        raise ModelError(f"{place}: neither the chat template nor the tokenizer has an end of turn; set eos_token in tokenizer_config.json")
    return int(found)
