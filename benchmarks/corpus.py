"""Made-up prompts with references: seeded, of realistic lengths, in a file of JSON lines."""

import json
import random
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

WORDS = 20_000
"""Different words; how often they come falls with their rank, as in any language."""
CHARACTERS = (200, 800)
"""Of a prompt, at least and at most; a reference is as long."""
SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "ai", "en", "or", "ist")]


def texts(rows: int, *, seed: int = 0, characters: tuple[int, int] = CHARACTERS) -> Iterator[tuple[str, str]]:
    """Prompts, each with its reference; the same seed gives the same ones."""
    dice = random.Random(seed)
    words = sorted({"".join(dice.choices(SYLLABLES, k=dice.choice((1, 2, 2, 3, 3, 4)))) for _ in range(WORDS)})
    dice.shuffle(words)
    weights = list(accumulate(1 / (rank + 3) for rank in range(len(words))))
    for _ in range(rows):
        yield _text(dice, words, weights, characters), _text(dice, words, weights, characters)


def write_prompts(path: Path, rows: int, *, characters: tuple[int, int] = CHARACTERS) -> Path:
    """A source of chats of two turns, as UltraChat has them."""
    with path.open("w", encoding="utf-8") as file:
        for prompt, reference in texts(rows, characters=characters):
            turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reference}]
            file.write(json.dumps({"messages": turns}) + "\n")
    return path


def _text(dice: random.Random, words: list[str], weights: list[float], characters: tuple[int, int]) -> str:
    missing = dice.randint(*characters)
    sentences: list[str] = []
    while missing > 0:
        sentence = " ".join(dice.choices(words, cum_weights=weights, k=dice.randint(4, 16))).capitalize() + dice.choice(".....?!")
        sentences.append(sentence)
        missing -= len(sentence) + 1
    return "\n".join(" ".join(sentences[at : at + 4]) for at in range(0, len(sentences), 4))
