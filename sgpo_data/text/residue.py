"""Residue: what of templates, or of talk about the rewrite, stands in an answer."""

import re
from collections.abc import Sequence

from sgpo_data.text.wording import TemplateWording

_TOKEN = re.compile(
    r"<(?:"
    r"[|｜][^|｜<>\s]{1,40}[|｜]>"
    r"|/?s>"
    r"|(?:start|end)_of_(?:turn|utterance)>"
    r"|/?SYS>>"
    r"|<SYS>>"
    r"|(?:bos|eos|pad|unk)>"
    r")"
    r"|\[/?INST\]"
)
_HEADER = re.compile(r"(?:\A|\n)(### (?:(?:Request|Draft|Reference|Instruction)(?=:?[ \t]{0,3}(?:\r?\n|\Z))|(?:Response|Input|User|Human|Assistant|System):))")
_BETTER = r"(?:improved|rewritten|revised|refined|better|updated|corrected|edited|polished|enhanced|new)"
_NOUNS = ("answer", "response", "draft", "reply", "rewrite")
_GIVEN = ("draft", "reference", "text", "sentence", "passage")
"""What a user can give to be worked on."""
_ASKED = re.compile(
    r"rewr[io]t|revis|refin|improv|correct|polish|edit|proofread|shorten|simplif|paraphras|rephras|summar|translat|concise|version"
    r"|überarbeit|verbesser|korrig|améliore|corrig|mejor|revisa|改|润色|翻译|版",
    re.IGNORECASE,
)
"""Words of a prompt that asks for another version of a text, which an answer may then announce."""
_TEXT = rf"(?:{'|'.join(_NOUNS)})"
_WORD = r"(?!(?:to|of|for|with|in|on|that|which|who)\b)[\w,-]{1,20} "
_INTRODUCED = r"(?:(?:sure|certainly|absolutely|of course|okay|ok|as requested)\W{1,3})?(?:here(?:['’]s| is)|below is) "
_OPENING = re.compile(
    r"\W{0,8}(?:"
    rf"{_INTRODUCED}(?:the|my|your|an?) (?:{_WORD}){{0,3}}?{_BETTER}"
    rf",? (?:{_WORD}){{0,3}}?(?:version of (?:the|your|my) (?:{_WORD})?)?{_TEXT}\b"
    rf"|(?:the |my )?{_BETTER} {_TEXT}(?: \([^()\n]{{1,30}}\))?\W{{0,4}}(?::|\n)"
    rf"|(?:{_INTRODUCED})?(?:the |my |your |an? )?(?:rewritten|revised|refined|improved|corrected|polished) version\W{{0,4}}(?::|\n)"
    rf"|(?:please )?(?:rewrite|revise|edit|improve|refine|correct) the (?:original |given )?{_TEXT}\b"
    rf"|{_INTRODUCED}(?:the|a|an|my|your) (?:more [\w-]{{1,20}}|clearer|shorter|simpler) version\W{{0,4}}(?::|\n)"
    r"|(?:rewritten|revised|refined|improved|corrected|polished)\W{0,3}:\W{0,3}\n"
    r"|hier ist (?:die|eine) (?:verbesserte|überarbeitete|korrigierte) (?:antwort|version|fassung)\b"
    r"|voici (?:la|une|ma) (?:réponse|version) (?:améliorée|révisée|corrigée|réécrite)\b"
    r"|aquí (?:está|tienes?) (?:la|una|mi) (?:respuesta|versión) (?:mejorada|revisada|corregida)\b"
    r"|(?:以下|这)是(?:我)?(?:改进|修改|改写|优化|润色)(?:后|过)的(?:回答|答案|版本|回复)"
    r"|the reference (?:answer |text )?(?:is|was|has|says|states|changed|mentions|gives|shows|should|could|needs|does|can)\b"
    r"|(?:compared (?:to|with)|unlike) the (?:original |first )?draft\b"
    r"|the (?:original |first )?draft "
    r"(?:is (?:already|correct|good|mostly|incorrect|wrong)|already|answers|lacks|omits|misses|fails|could be|needs to|should be|does not|doesn['’]t)\b"
    r")",
    re.IGNORECASE,
)
_ANNOUNCED = re.compile(r"\b(?:version|fassung|versión)\b|版本|^\W*(?:rewritten|revised|refined|improved|corrected|polished)\W*$", re.IGNORECASE)
_TALK = re.compile(
    rf"\bthe (?:(?:original |given )?draft|reference) (?:answer|response)\b"
    rf"|\bI(?:['’]ve| have)? (?:rewrote|rewritten|revised|improved|refined|edited|corrected) the (?:{_WORD})?{_TEXT}\b"
    rf"|\bI(?:['’]ve| have)? made (?:{_WORD}){{0,3}}(?:edit|change|correction|revision|improvement|adjustment)s? to the (?:{_WORD})?"
    rf"(?:{_TEXT}|text|sentence)\b"
    rf"|\bth(?:is|e) (?:{_TEXT}|text) (?:can|could|should|may|might|needs to) be (?:edited|rewritten|revised|improved|corrected|refined)\b"
    rf"|(?:\A|\n)\W{{0,4}}(?:the )?{_BETTER} {_TEXT}\W{{0,4}}:"
    rf"|(?:\A|\n)(?:#{{1,6}} ?|\*\*)(?:the )?(?:referenced?|draft|original|{_BETTER}) {_TEXT}\b(?=\W{{0,4}}(?:\n|\Z))"
    rf"|(?:\A|\n)\W{{0,4}}(?:changes|improvements|edits|corrections)(?: I)? made to the {_TEXT}\b",
    re.IGNORECASE,
)
_MARGIN = 400
"""Characters at either end of an answer where talk about the rewrite is looked for: it comes before the answer or after it."""


def residue(text: str, wording: TemplateWording, beside: Sequence[str] = ()) -> str | None:
    """What of a template or of talk about the rewrite stands in a text, as it stands there; None if nothing does.

    The first token of a chat template, else the first header of a prompt, else what it repeats of the wording of the templates in use, else
    the first talk about the rewrite. `beside` are the turns of the prompt and the reference: an answer may repeat their words, and speak of a draft or
    a reference that they speak of.
    """
    token = _TOKEN.search(text)
    if token is not None:
        return token.group()
    header = _HEADER.search(text) if "### " in text else None
    if header is not None:
        return header.group(1)
    return wording.repeated(text, beside) or _talk(text, beside)


def _talk(text: str, beside: Sequence[str]) -> str | None:
    opening = _OPENING.match(text)
    if opening is not None and not _spoken_of(opening.group(), beside):
        return opening.group().strip()
    return _talk_near(text, 0, beside) or _talk_near(text, max(len(text) - _MARGIN, 0), beside)


def _talk_near(text: str, start: int, beside: Sequence[str]) -> str | None:
    lowered = text[start : start + _MARGIN].lower()
    # Talk names what it talks of; most text does not, and is spared the slower pattern.
    if not any(noun in lowered for noun in (*_NOUNS, "text")):
        return None
    return next((each.group().strip() for each in _TALK.finditer(text, start, start + _MARGIN) if not _spoken_of(each.group(), beside)), None)


def _spoken_of(talk: str, beside: Sequence[str]) -> bool:
    """Whether it talks of a draft, a reference or a text that was there before any rewrite, or announces the version that was asked for."""
    lowered = talk.lower()
    announced = _ANNOUNCED.search(talk) is not None and any(_ASKED.search(other) for other in beside)
    return announced or any(noun in lowered and any(noun in other.lower() for other in beside) for noun in _GIVEN)
