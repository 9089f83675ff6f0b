"""What is wrong with a text that is no TOML: where, and what to type in its place."""

import re
import tomllib

_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_WRITES = "TOML writes key = value, texts in quotes"


def toml_fault(text: str, error: tomllib.TOMLDecodeError) -> str:
    """The place of the fault, the parser's words or better ones for what is often mistyped, and what to do."""
    found = _PLACE.search(str(error))
    what = str(error)[: found.start()] if found else str(error)
    if found is None or found["line"] is None:
        return f"end of document: {_words(what, '')}"
    line, column = int(found["line"]), int(found["column"])
    before, after = _split(text, line, column)
    if before.rstrip().endswith(","):
        return _comma_fault(before, after, what, line, column)
    return f"{_place(line, column)}: {_words(what, after)}"


def _split(text: str, line: int, column: int) -> tuple[str, str]:
    """What stands before the place and from it on."""
    # The parser takes both ends of a line for one character.
    text = text.replace("\r\n", "\n")
    at = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
    return text[:at], text[at:]


def _place(line: int, column: int) -> str:
    return f"line {line}, column {column}"


def _comma_fault(before: str, after: str, what: str, line: int, column: int) -> str:
    """Of a fault that is the comma before it, or the end of the line after that."""
    if what.startswith("Invalid initial character for a key part") and after[:1] in ("}", "\n"):
        comma = before.rstrip()
        place = _place(comma.count("\n") + 1, len(comma) - comma.rfind("\n") - 1)
        if after.lstrip().startswith("}"):
            return f"{place}: a comma before the }} of a table; remove it, TOML takes none there"
        return f"{place}: a table in {{ }} goes on in the next line; write it in one line, or as a [table] with one for each key"
    return f"{_place(line, column)}: {_words(what, after)}"


def _words(what: str, after: str) -> str:
    """The parser's words, and what to type."""
    if what == "Invalid value" and (name := re.match(r"True|False|None", after)):
        return f"{name[0]} is no value of TOML; " + ("leave the key out" if name[0] == "None" else f"write {name[0].lower()}")
    if what.startswith("Expected newline or end of document") and after.startswith(","):
        return "a comma at the end of a line; remove it"
    if what.startswith("Unescaped '\\'"):
        return f"{what}; write it twice, or the text in single quotes"
    if what.startswith("Cannot overwrite a value"):
        return "the key stands there a second time; remove one of them"
    return f"{what}; {_WRITES}"
