"""What keeps a page harmless whatever it shows: unseen characters written out, and a policy that lets only its own script run."""

import base64
import hashlib
import re

# Controls that HTML does not allow or show, and what turns a line around or hides in it. Marks that a script needs (LRM, RLM, ZWJ, ZWNJ) stay.
_UNSEEN = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u206f\\ufeff\\ufff9-\\uffff\\U000e0000-\\U000e007f]")


def visible(text: str) -> str:
    """The text with unseen characters as their code points; \\r\\n is a line break."""
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def policy(style: str, script: str) -> str:
    """A content security policy: nothing is fetched, and no style or script runs but these two."""
    return f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
