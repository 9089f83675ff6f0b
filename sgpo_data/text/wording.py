"""The wording of prompt templates: runs of words, headings and tags, and what of it an answer repeats."""

import re
from collections.abc import Iterable, Iterator, Sequence

from sgpo_data.text.words import UNSPACED, words

FEWEST_WORDS = 5
_WEIGHT = 7.0
"""What a run weighs that cannot stand in an answer by chance: "no more than is needed" is anybody's, "rewrite the draft so that" is not."""
_LONG = 5
"""Letters of a word that weighs 2; a shorter one weighs 1."""
_CHARACTER = 0.7
"""What a character of a script without spaces weighs."""
_UNSPACED = re.compile(f"[{UNSPACED}]")
_HEADING = re.compile(
    r"^[ \t>]{0,4}(?:"
    r"(?:#{1,6}[ \t]*|\*\*|__|\[|【|={2,}[ \t]*|-{2,}[ \t]*)"
    r"(?P<marked>[^\W_][^\n:：*_=\]】#]{0,60}?)[ \t]*(?:[:：]?(?:\*\*|__|\]|】|={2,}|-{2,}|#{1,6}))?[ \t]*(?:[:：]|\r?$)"
    r"|(?P<bare>[^\W_][^\n:：#*]{0,60})[:：]"
    r")",
    re.MULTILINE,
)
_TAG = re.compile(r"</?[A-Za-z][\w-]{0,40}>")
_EVERYDAY = frozenset(("answer", "context", "example", "input", "instruction", "instructions", "output", "question", "response", "task", "text"))
"""Names of parts that an answer speaks of anyway."""
_NEAR = 200
"""Characters within which two parts are spoken of together."""


class TemplateWording:
    """What templates say themselves, apart from what they are filled with."""

    def __init__(self, pieces: Iterable[str]) -> None:
        texts = [*pieces]
        # A mark alone, such as a colon, is everybody's.
        self._pieces = sorted({text.strip() for text in texts if any(map(str.isalnum, text))}, key=len, reverse=True)
        headings = dict(each for text in texts for each in _headings(text))
        self.runs = tuple(dict.fromkeys(run for text in texts for run in _runs(text)))
        """The least runs of words, as they stand in a `normal` text; a longer one holds one of them."""
        # Most answers lack the longest word of most runs: looking that up first spares the search.
        self._longest = tuple((run, max(run.split(), key=len)) for run in self.runs)
        self._rarest = tuple(dict.fromkeys(longest for _, longest in self._longest))
        self.tags = tuple(dict.fromkeys(tag for text in texts for tag in _TAG.findall(text)))
        self._headings = frozenset(headings)
        self.parts = tuple(name for name, marked in headings.items() if marked and name.isalpha() and name not in _EVERYDAY)
        """What the template calls its parts, such as draft and reference."""
        self.marks = (*self.runs, *self.tags, *self._headings)
        """A text that repeats any of it has one of these in it, as far as letters and digits go."""
        self._part = re.compile(rf"\bthe ({'|'.join(self.parts)})\b", re.IGNORECASE) if self.parts else None

    def without(self, text: str) -> str:
        """What a template was filled with, of a text that is one filled in; any other text as it is."""
        for piece in self._pieces:
            text = text.replace(piece, "\n")
        return text

    def repeated(self, text: str, beside: Sequence[str]) -> str | None:
        """The first tag, heading, run or talk of parts of the templates that stands in the text, as it stands there; None if there is none.

        What stands in a text of `beside` too, the turns of the prompt and the reference, does not count.
        """
        tag = next((tag for tag in self.tags if tag in text and not any(tag in other for other in beside)), None)
        return tag or self._repeated_heading(text, beside) or self._repeated_run(text, beside) or self._talk_of_parts(text, beside)

    def _repeated_heading(self, text: str, beside: Sequence[str]) -> str | None:
        everyday: dict[str, str] = {}
        for heading in _HEADING.finditer(text) if self._headings else ():
            name = normal(heading["marked"] or heading["bare"]).strip()
            if name not in self._headings or _stands(f" {name} ", beside):
                continue
            if heading["marked"] or " " in name:
                return heading.group().strip()
            everyday.setdefault(name, heading.group().strip())
        # A word and a colon may be anybody's, two of one template are not.
        return next(iter(everyday.values())) if len(everyday) > 1 else None

    def _repeated_run(self, text: str, beside: Sequence[str]) -> str | None:
        small = text.lower()
        if not any(longest in small for longest in self._rarest):
            # Splitting a text into its words takes longest, and few texts come so far.
            return None
        own = normal(text)
        there = set(own.split())
        run = next((run for run, longest in self._longest if longest in there and run in own and not _stands(run, beside)), None)
        if run is None:
            return None
        found = re.search(r"[\W_]*".join(map(re.escape, run.split())), text, re.IGNORECASE)
        return run.strip() if found is None else found.group()

    def _talk_of_parts(self, text: str, beside: Sequence[str]) -> str | None:
        last: re.Match[str] | None = None
        for part in self._part.finditer(text) if self._part is not None else ():
            if _stands(f" {part[1].lower()}", beside):
                continue
            if last is not None and last[1].lower() != part[1].lower() and part.start() - last.end() < _NEAR:
                return text[last.start() : part.end()]
            last = part
        return None


def normal(text: str) -> str:
    """The words of a text in small letters, a space around each; marks are left out."""
    return f" {' '.join(word for word in words(text.lower()) if word[0].isalnum())} "


def _stands(phrase: str, beside: Sequence[str]) -> bool:
    # Few answers come so far that the prompt has to be looked at.
    return any(phrase in normal(text) for text in beside)


def _headings(text: str) -> Iterator[tuple[str, bool]]:
    """Name of each heading, and whether it has more of a mark than a colon."""
    for heading in _HEADING.finditer(text):
        name = normal(heading["marked"] or heading["bare"]).strip()
        if name and (heading["marked"] or name.count(" ") < FEWEST_WORDS):
            yield name, heading["marked"] is not None


def _runs(text: str) -> Iterator[str]:
    """From each word on, the shortest run that weighs enough."""
    found = normal(text).split()
    for start in range(len(found)):
        weight = 0.0
        for end in range(start, len(found)):
            word = found[end]
            weight += _CHARACTER if _UNSPACED.match(word) else 2.0 if len(word) >= _LONG else 1.0
            if weight >= _WEIGHT and end - start + 1 >= FEWEST_WORDS:
                yield f" {' '.join(found[start : end + 1])} "
                break
