"""Random inputs, each the same from its number on every machine, and the two outcomes that are allowed."""

import copy
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence

from sgpo_data.errors import SgpoError
from sgpo_data.printable import HOSTILE

INPUTS = int(os.environ.get("SGPO_TEST_FUZZ", "2000"))

TEXTS = (
    "", " ", "a", "Name a tool.", "\0", "a\0b", "\ud800", "x\udcffy", "\x1b[31mred", "a\nb", "a\r\nb", "\u202eabc", "\u2028", "é" * 90, "🦊",
    "NaN", "null", "5e-7", "~", "~nobody", "~nobody/x", "/", "..", "../x", "x" * 300,
    "x/" * 3000, "'", '"', "{{ 7 * 7 }}", "hf://", "hf://datasets/a/b@c/d", "openai:", "a/b",
    "a/b@\0",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf"))


def numbered(what: str) -> Iterator[random.Random]:
    """A source of chance for each input."""
    return (random.Random(f"{what}/{number}") for number in range(INPUTS))


def refused(work: Callable[[], object]) -> str | None:
    """Nothing if it went well, the message of one of our errors if it did not; anything else is raised."""
    try:
        work()
    except SgpoError as caught:
        error = caught
    else:
        return None
    lines = str(error).split("\n")
    assert all(lines), lines
    assert not any(HOSTILE.search(line) for line in lines), lines
    assert len(lines) == len(error.args), lines
    return lines[0]


def hold_both(refusals: Sequence[str | None], *, least: float = 0.05) -> None:
    """Holds that a share of the inputs is taken and a share refused: a loop of which one never happens tests half of what it should."""
    taken = refusals.count(None) / len(refusals)
    assert least < taken < 1 - least, f"{taken:.1%} of {len(refusals)} inputs are taken"


def value(rng: random.Random, depth: int = 3) -> object:
    """Any value of JSON, and a little more than JSON has."""
    kind = rng.randrange(9 if depth else 7)
    if kind < 3:
        return text(rng)
    if kind < 5:
        return rng.choice(NUMBERS)
    if kind < 7:
        return rng.choice((None, True, False))
    if kind == 7:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {text(rng): value(rng, depth - 1) for _ in range(rng.randrange(4))}


def text(rng: random.Random) -> str:
    return (
        rng.choice(TEXTS) if rng.random() < 0.7 else "".join(chr(rng.choice((rng.randrange(0x300), rng.randrange(0x11000)))) for _ in range(rng.randrange(12)))
    )


def changed(rng: random.Random, whole: object) -> object:
    """The same with one to three of its values replaced, taken away, doubled or wrapped."""
    found = {"": copy.deepcopy(whole)}
    for _ in range(rng.randint(1, 3)):
        holder, key = rng.choice(list(_places(found, "")))
        old = holder[key]  # type: ignore[index]
        match rng.randrange(6):
            case 0 if isinstance(holder, list) or key != "":
                del holder[key]  # type: ignore[arg-type]
            case 1:
                holder[key] = [old, old]  # type: ignore[index]
            case 2:
                holder[key] = {text(rng): old}  # type: ignore[index]
            case _:
                holder[key] = value(rng)  # type: ignore[index]
    return found[""]


def _places(holder: dict[str, object] | list[object], _: str) -> Iterator[tuple[dict[str, object] | list[object], str | int]]:
    items: list[tuple[str | int, object]] = [*holder.items()] if isinstance(holder, dict) else [*enumerate(holder)]
    for key, held in items:
        yield holder, key
        if isinstance(held, dict | list):
            yield from _places(held, "")


def written(rng: random.Random, whole: object) -> bytes:
    """The value as JSON, now and then cut, torn, nested or with other bytes in it."""
    encoded = json.dumps(whole, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")
    match rng.randrange(16):
        case 0:
            return encoded[: rng.randrange(len(encoded) + 1)]
        case 1:
            at = rng.randrange(len(encoded) + 1)
            return encoded[:at] + bytes(rng.randrange(256) for _ in range(rng.randint(1, 3))) + encoded[at:]
        case 2:
            return b"[" * 100_000
        case 3:
            depth = rng.choice((900, 1100, 3000))
            return b'{"a":' * depth + encoded + b"}" * depth
        case 4:
            return encoded.replace(b"1", b"9" * 5000)
        case 5:
            return rng.choice((b"", b"\xef\xbb\xbf" + encoded, b"<html>503</html>", encoded.decode(errors="replace").encode("utf-16")))
        case _:
            return encoded
