"""A conversation with its answer as token ids: one rendering by the chat template, from which prompt and answer are cut by their offsets."""

from __future__ import annotations

import json
import logging
import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sgpo_data.engines import ChatTemplate, GenerateRequest, Generation, ScoreRequest
from sgpo_data.engines.loading import DEFAULT_TEMPLATE
from sgpo_data.engines.reading import read_by_library
from sgpo_data.engines.template import SENTINEL, Frame, TokenizerTemplate
from sgpo_data.engines.turns import Span
from sgpo_data.errors import MissingExtraError, ModelError
from sgpo_data.rows import Finish, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

ANCHOR = "x"
"""Decoded before an answer, so that the answer is not the beginning of a text, whose first space some tokenizers drop."""


_WARNED: set[tuple[str, str]] = set()


@dataclass(frozen=True, slots=True)
class Rendering:
    """Ids of a conversation that ends with an answer."""

    prompt: list[int]
    answer: list[int]
    """From the first token that holds a character of the answer to the end of turn, which is there unless the answer was cut."""
    closing: list[int]
    """What the template writes after the end of turn; neither scored nor trained."""
    altered: bool
    """Whether the template writes the answer otherwise than it stands, white space at its ends aside; the ids are those of the answer as it stands."""
    unknown: bool
    """Whether the answer has characters that the tokenizer does not know: its ids say nothing of them, so it is neither scored nor trained."""


class Chat:
    """A tokenizer with its chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, place: str, template: ChatTemplate = DEFAULT_TEMPLATE) -> None:
        if not tokenizer.is_fast:
            raise ModelError(f"{place}: the tokenizer tells no offsets, so prompt and answer cannot be told apart; give a folder with tokenizer.json")
        self.tokenizer = tokenizer
        self.template = TokenizerTemplate(tokenizer, place=place, arguments=template.template, name=template.template_name)
        self._special = _pattern(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
        self._prefixes = _prefixes(tokenizer)
        self.end_of_turn, self.writes_end = self._end_of_turn(place)
        """Id of the token that ends an answer, as the template writes it; the end of sequence if it writes none."""
        self._anchor = list(self._ids(ANCHOR)[0])
        self._anchor_text = self._decoded(self._anchor)
        self._before, self._after = self._glue()
        self._warn(place)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int] | None:
        """The conversation up to where the answer begins; None if the template refuses it or loses a turn of it.

        The template decides about the beginning of sequence, as it does in training; written twice, it counts once.
        """
        frame = self.template.frame(messages)
        if frame is None:
            return None
        start = len(frame.head)
        ids, offsets = self._conversation(frame.head + SENTINEL, frame, (start, start))
        return ids[: _first(offsets, start)] or None

    def rendering(self, messages: Sequence[Message], answer: str, *, ended: bool = True) -> Rendering | None:
        """The conversation with its answer; None if the template refuses it or loses a turn of it.

        An answer that is not `ended` was cut before its end of turn, so it has none. `<|im_end|>` written in a turn is the characters it is made of.
        """
        frame = self.template.frame(messages)
        if frame is None:
            return None
        head, tail = frame.head, frame.tail
        written = self.template.written(messages, answer, frame)
        altered = written is None
        body = answer if written is None else written
        if not (self.writes_end and ended):
            tail = ""
        start, stop = len(head), len(head) + len(body)
        ids, offsets = self._conversation(head + body + tail, frame, (start, stop))
        first = _first(offsets, start)
        if not tail:
            closed = [*ids[first:], *([self.end_of_turn] if ended else [])]
            return Rendering(ids[:first], closed, [], altered, self.tokenizer.unk_token_id in ids[first:])
        after = next((place for place in range(first, len(ids)) if offsets[place][0] >= stop and ids[place] == self.end_of_turn), len(ids) - 1)
        # GPT-2 calls the end of turn unknown too.
        return Rendering(ids[:first], ids[first : after + 1], ids[after + 1 :], altered, self.tokenizer.unk_token_id in ids[first:after])

    def generation(self, request: GenerateRequest, ids: list[int], *, stopped: bool, nll: float) -> Generation:
        """What was sampled, as text; `stopped` tells that the last id is one that stops an answer."""
        text = self.text(ids[:-1] if stopped else ids, ended=stopped)
        finish: Finish = "length" if not stopped else "stop" if text.strip() else "empty"
        read = self.rendering(request.messages, text, ended=stopped)
        # Any of the tokens that stop an answer ends it.
        kept = len(ids) - stopped
        same = read is not None and read.answer[: len(read.answer) - stopped] == ids[:kept]
        return Generation(request.key, text=text, finish=finish, nll=nll, tokens=len(ids), retokenized=not same)

    def stop_ids(self, generation_eos: int | Sequence[int] | None) -> frozenset[int]:
        """Ids that end an answer: the end of turn, the tokenizer's end of sequence, and those of the model's generation config."""
        listed = [generation_eos] if isinstance(generation_eos, int) else generation_eos or []
        own = self.tokenizer.eos_token_id
        return frozenset([self.end_of_turn, *listed, *([] if own is None else [own])])

    def text(self, ids: Sequence[int], *, ended: bool = True) -> str:
        """The text of answer ids, without special tokens; bytes that are no UTF-8, as of a character cut in half, become U+FFFD.

        Spaces that the template writes around every answer are not the answer's.
        """
        text = self._decoded([*self._anchor, *ids]).removeprefix(self._anchor_text).removeprefix(self._before)
        return text.removesuffix(self._after) if ended else text

    def tokens(self, answer: str) -> int:
        """How many tokens an answer has without a prompt, its end of turn included."""
        return len(self._ids(answer, plain=True)[0]) + 1

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _ids(self, text: str, *, plain: bool = False) -> tuple[list[int], list[tuple[int, int]]]:
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=plain)
        return encoded["input_ids"], encoded["offset_mapping"]

    def _conversation(self, text: str, frame: Frame, answer: Span) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and offsets of a rendered text; special tokens are those that the template wrote, and a turn that holds the text of one is its characters."""
        foreign = [(start, stop) for start, stop in (*frame.turns, answer) if self._special.search(text[start:stop])]
        if not foreign:
            ids, offsets = self._ids(text)
        else:
            ids, offsets, done = [], [], 0
            for start, stop in [*foreign, (len(text), len(text))]:
                for begin, end, plain in ((done, start, False), (start, stop, True)):
                    more, places = self._piece(text, begin, end, plain=plain)
                    ids, offsets = [*ids, *more], [*offsets, *places]
                done = stop
        while len(ids) > 1 and ids[0] == ids[1] == self.tokenizer.bos_token_id:
            ids, offsets = ids[1:], offsets[1:]
        return ids, offsets

    def _piece(self, text: str, begin: int, end: int, *, plain: bool) -> tuple[list[int], list[tuple[int, int]]]:
        """A part of a text tokenized apart, without the space that some tokenizers put before every text."""
        if begin == end:
            return [], []
        guard = "\n" if begin and self._prefixes else ""
        ids, offsets = self._ids(guard + text[begin:end], plain=plain)
        first = _first(offsets, len(guard))
        shift = begin - len(guard)
        return ids[first:], [(start + shift, stop + shift) for start, stop in offsets[first:]]

    def _warn(self, place: str) -> None:
        """Says what the template does, once in a process: a model is loaded for one stage after the other."""
        end = str(self.tokenizer.convert_ids_to_tokens(self.end_of_turn))
        for warning in self.template.warnings(has_end=self.writes_end, end=end):
            if (place, warning) not in _WARNED:
                _WARNED.add((place, warning))
                log.warning("%s: %s", place, warning)

    def _end_of_turn(self, place: str) -> tuple[int, bool]:
        """The first special token that the template writes after an answer, and whether it writes one."""
        tail = self._ids(self.template.tail)[0]
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        found = next((token for token in tail if token in special), None)
        if found is not None:
            return int(found), True
        if self.tokenizer.eos_token_id is None:
            raise ModelError(f"{place}: neither the chat template nor the tokenizer has an end of turn; set eos_token in tokenizer_config.json")
        return int(self.tokenizer.eos_token_id), False

    def _glue(self) -> tuple[str, str]:
        """The spaces that stand around every answer when its ids are read: the template's own, and those that a tokenizer puts before a text."""
        head, tail = self.template.head, self.template.tail
        ids, offsets = self._ids(head + SENTINEL + (tail if self.writes_end else ""))
        first, stop = _first(offsets, len(head)), len(head) + len(SENTINEL)
        end = next((at for at in range(first, len(ids)) if offsets[at][0] >= stop and ids[at] == self.end_of_turn), len(ids))
        before, _, after = self._decoded([*self._anchor, *ids[first:end]]).removeprefix(self._anchor_text).partition(SENTINEL)
        return before if before.isspace() else "", after if after.isspace() else ""


class AnswerReader:
    """Reads the answers that are to be scored, and counts those that have characters which the tokenizer does not know."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._unknown = 0

    def renderings(self, request: ScoreRequest) -> list[Rendering | None]:
        """Each answer of a request with its prompt; None of one that cannot be scored.

        That is where the template refuses the prompt, where the answer has unknown characters, and where it was cut before it had a token.
        """
        read = [self.chat.rendering(request.messages, answer, ended=place not in request.cut) for place, answer in enumerate(request.answers)]
        self._unknown += sum(each is not None and each.unknown for each in read)
        return [None if each is None or each.unknown or not each.answer else each for each in read]

    def warn(self) -> None:
        """Says how many there were, if any."""
        if self._unknown:
            log.warning("score: %d likelihoods are null, of answers with characters that the tokenizer does not know; train leaves them out too", self._unknown)


def _first(offsets: Sequence[tuple[int, int]], start: int) -> int:
    """Place of the first token that holds a character from `start` on; tokens stand in the order of the text."""
    return bisect_right(offsets, start, key=itemgetter(1))


def _pattern(texts: Iterable[str]) -> re.Pattern[str]:
    listed = sorted((re.escape(text) for text in texts), key=len, reverse=True)
    return re.compile("|".join(listed) or r"(?!)")


def _prefixes(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether it puts a space before a text that it reads alone."""
    alone = cast(list[int], tokenizer("a", add_special_tokens=False)["input_ids"])
    behind = cast(list[int], tokenizer("\na", add_special_tokens=False)["input_ids"])
    return behind[-len(alone) :] != alone


def load_chat(folder: Path, template: ChatTemplate = DEFAULT_TEMPLATE) -> Chat:
    """The chat of a model folder.

    Raises ModelError if it holds no tokenizer or no such chat template.
    """
    # Rows are tokenised one by one: a pool of threads gains nothing for one, and where the cores are busy it triples the wait.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("models", "transformers") from error
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        raise ModelError(f"{folder}: no tokenizer.json, so this is no model folder; give a folder that save_pretrained wrote")
    with read_by_library(f"{folder}: the tokenizer cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    _refuse_too_large(tokenizer, folder)
    return Chat(tokenizer, place=str(folder), template=template)


def _refuse_too_large(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Nothing if the model has an embedding for every token, as far as its config tells."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        rows = config.get("vocab_size") or config["text_config"]["vocab_size"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    token, number = max(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    if isinstance(rows, int) and number >= rows:
        raise ModelError(
            f"{folder}: the tokenizer has token {number} ({token}), and the model {rows} embeddings; resize them, or give the tokenizer that goes with it"
        )
