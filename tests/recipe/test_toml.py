"""Claims about what is said of a text that is no TOML."""

from pathlib import Path

import pytest

from sgpo_data.errors import RecipeError
from sgpo_data.recipe.file import parsed

COMMA = "a comma before the } of a table; remove it, TOML takes none there"
GOES_ON = "a table in { } goes on in the next line; write it in one line, or as a [table] with one for each key"
WRITES = "TOML writes key = value, texts in quotes"
CASES = {
    "a comma before the end of a table": ("source = { limit = 3, }", f"line 2, column 21: {COMMA}"),
    "one without a space": ("source = { limit = 3,}", f"line 2, column 21: {COMMA}"),
    "one before the end in the next line": ("source = { limit = 3,\n}", f"line 2, column 21: {COMMA}"),
    "one behind a table inside": ("seed = { sampling = { top_p = 1 }, }", f"line 2, column 34: {COMMA}"),
    "a table of several lines": ("source = { path = 'x',\n  limit = 3 }", f"line 2, column 22: {GOES_ON}"),
    "a comma at the end of a line": ("seed = 1,", "line 2, column 9: a comma at the end of a line; remove it"),
    "a word of Python": ("seed = True", "line 2, column 8: True is no value of TOML; write true"),
    "nothing as Python has it": ("seed = None", "line 2, column 8: None is no value of TOML; leave the key out"),
    "a path of Windows": ('path = "C:\\here"', "line 2, column 13: Unescaped '\\' in a string; write it twice, or the text in single quotes"),
    "a key twice": ("seed = 1\nseed = 2\n", "line 3, column 9: the key stands there a second time; remove one of them"),
    "a text without quotes": ("adapter = here", f"line 2, column 11: Invalid value; {WRITES}"),
    "a table that has no end": ("source = { limit = 3", f"end of document: Unclosed inline table; {WRITES}"),
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", CASES)
def test_a_text_that_is_no_toml_is_told_with_its_place_and_what_to_type(name: str, end: str) -> None:
    line, fault = CASES[name]
    with pytest.raises(RecipeError) as refused:
        parsed(f'model = "base"\n{line}'.replace("\n", end), Path("x.toml"))
    assert str(refused.value).splitlines() == ["x.toml: 1 fault", f"  {fault}"]
