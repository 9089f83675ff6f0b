"""Claims about residue: what of templates and of talk about the rewrite is found in answers, and what is left alone."""

import pytest

from sgpo_data.stages.improve.templates import Template, wording_of
from sgpo_data.text.residue import residue


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Fine.<|im_end|>\n<|im_start|>user", "<|im_end|>"),
        ("<|start_header_id|>assistant", "<|start_header_id|>"),
        ("a <｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
        ("[INST] hi [/INST]", "[INST]"),
        ("done</s>", "</s>"),
        ("<s>done", "<s>"),
        ("<<SYS>> be good", "<<SYS>>"),
        ("ok<end_of_turn>", "<end_of_turn>"),
        ("ok\n### Draft\nmore", "### Draft"),
        ("### Request", "### Request"),
        ("### Reference: \nmore", "### Reference"),
        ("ok\n### Response: more", "### Response:"),
        ("Here is the improved answer:\nParis.", "Here is the improved answer"),
        ("**Sure! Here's a rewritten, more precise version of the draft:**", "**Sure! Here's a rewritten, more precise version of the draft"),
        ("Here is a revised and more concise answer: x", "Here is a revised and more concise answer"),
        ("Here is your revised response: x", "Here is your revised response"),
        ("As requested, here is the rewritten answer. Paris", "As requested, here is the rewritten answer"),
        ("Below is an improved response:\nParis.", "Below is an improved response"),
        ("Below is the improved version:\nParis.", "Below is the improved version:"),
        ("**Revised version**:\nParis.", "**Revised version**:"),
        ("Fine.<end_of_utterance>", "<end_of_utterance>"),
        ("Improved answer:\nParis.", "Improved answer:"),
        ("Improved Response (concise):\nParis.", "Improved Response (concise):"),
        ("**Rewritten:**\n\nParis.", "**Rewritten:**"),
        ("Here is a more concise version:\nParis.", "Here is a more concise version:"),
        ("Hier ist die verbesserte Antwort:\nParis.", "Hier ist die verbesserte Antwort"),
        ("Voici la réponse améliorée :\nParis.", "Voici la réponse améliorée"),
        ("Aquí está la respuesta mejorada:\nParís.", "Aquí está la respuesta mejorada"),
        ("以下是改进后的回答：\n巴黎。", "以下是改进后的回答"),
        ("## Rewritten draft\nParis", "## Rewritten draft"),
        ("Paris.\n\nRevised Answer: Paris", "Revised Answer:"),
        ("Paris. I have rewritten the draft to be shorter.", "I have rewritten the draft"),
        ("The draft is already correct.", "The draft is already"),
        ("As the reference answer says, Paris.", "the reference answer"),
        ("I made a minor edit to the original text to be clearer.", "I made a minor edit to the original text"),
        ("The reference changed to a hexagon.", "The reference changed"),
        ("### Referenced Answer\nSix.", "### Referenced Answer"),
        ("Six.\n\n**Rewritten Answer**\nSix sides.", "**Rewritten Answer"),
        ("This text can be edited to answer the request and correct the reference.", "the request and correct the reference"),
        ("This text can be edited to be shorter.", "This text can be edited"),
        ("Rewrite the draft with the new reference,\n\nRain falls.", "Rewrite the draft"),
        ('The request is for a synonym for "happy", and the reference is "cheerful".', 'The request is for a synonym for "happy", and the reference'),
        ("word " * 500 + "I've improved the original answer.", "I've improved the original answer"),
    ],
)
def test_residue_is_what_a_template_or_the_task_left_behind(text: str, found: str) -> None:
    assert residue(text, wording_of(())) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The NBA draft takes place in June; the draft order is drawn by lot.",
        "The answer is 42. My response time is 3 ms.",
        "Here is the answer to your question: improved roads are better.",
        "Here is an improved recipe, with a better response of the dough.",
        "Use f <| g |> h, or x <- a[|1|], or [INSTALL], or <span> and <section>.",
        "### References\n1. Knuth\n### Drafting a contract\n### Requests per second",
        "Here is a new way to answer it, and the key to a better response.",
        "Below is the improved recipe. New version: 2.0. A revised version of the law was passed.",
        "I revised the contract and improved the garden.",
        "A better answer can be found in the manual.",
        "Improved roads, revised laws: both help. A more concise version exists.",
        "Draft a reply to the customer; the first draft was late.",
        "word " * 200 + "Here is the improved answer" + " word" * 200,
    ],
)
def test_ordinary_text_has_no_residue(text: str) -> None:
    assert residue(text, wording_of(())) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Rain falls. Rewrite the draft so that it rains.", "Rewrite the draft so that"),
        ("word " * 500 + "rewrite THE draft,\nso that" + " word" * 500, "rewrite THE draft,\nso that"),
        ("It answers the request as well as it can.", "It answers the request as"),
        ("Keep what is good in the draft.", "Keep what is good in the draft"),
        ("Paris. Write only the new answer.", "Write only the new answer"),
        ("No more than is needed.", None),
        ("Keep what is good. Change what is wrong, and use no more than is needed.", None),
        ("He answers as well as the reference desk does.", None),
        ("Rewrite the rules so that it answers your needs.", None),
    ],
)
def test_a_run_of_words_of_a_template_is_residue_and_everyday_words_are_not(text: str, found: str | None) -> None:
    assert residue(text, wording_of(())) == found


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        ("Rewrite the draft so that it rhymes: that is the task.", "What does 'rewrite the draft so that it rhymes' mean?"),
        ("Here is an improved version of the draft: Dear Sir, ...", "Improve this draft of a letter: Dear Sir"),
        ("I made a minor edit to the original text.", "Correct this text: She don't."),
        ("Here is the revised version:\nDear Sir", "Please revise this letter: Dear Sir"),
        ("Revised:\nDear Sir", "Shorten this: Dear Sir"),
        ("Here is a more formal version:\nDear Sir", "Rephrase it formally: Hi"),
        ("The reference is to chapter two.", "Whom does the reference in line 4 point to?"),
        ("The request is sent first; then the reference is resolved.", "How does a request with a reference travel?"),
    ],
)
def test_what_the_prompt_or_the_reference_says_is_no_residue(text: str, beside: str) -> None:
    assert residue(text, wording_of(())) is not None
    assert residue(text, wording_of(()), [beside]) is None


MINE = Template(
    "mine.jinja",
    """You improve answers for a museum's audio guide. Stick to the facts below.

User question: {{ messages[-1].content }}
<draft>{{ response }}</draft>
{% if reference is defined %}
**Model answer**
{{ reference }}
{% endif %}
Question: {{ messages[-1].content }}
Answer:""",
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("You improve answers for a museum by walking.", "You improve answers for a"),
        ("Fine.</draft>", "</draft>"),
        ("**Model answer**\nIt is a vase.", "**Model answer**"),
        ("## Model Answer:\nIt is a vase.", "## Model Answer:"),
        ("User question: what is it?", "User question:"),
        ("Question: what is it?\nAnswer: a vase.", "Question:"),
        ("Answer: a vase.", None),
        ("The answer to the question is a vase.", None),
        ("Rewrite the rules so that it answers the request as well as the law does.", None),
        ("<draw>a vase</draw>", None),
    ],
)
def test_residue_is_that_of_the_template_in_use(text: str, found: str | None) -> None:
    assert residue(text, wording_of((MINE,))) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("请改写草稿，使其更好地回答请求。巴黎。", "请改写草稿，使其更好地"),
        ("巴黎是法国的首都。", None),
        ("请改写它。", None),
    ],
)
def test_runs_of_a_script_without_spaces_are_longer(text: str, found: str | None) -> None:
    template = Template("zh.jinja", "请改写草稿，使其更好地回答请求。\n{{ response }}")
    assert residue(text, wording_of((template,))) == found


@pytest.mark.parametrize("text", ["参考答案：巴黎。", "【参考答案】\n巴黎。", "草稿：巴黎\n原文：里昂"])
def test_a_heading_with_a_wide_colon_or_brackets_is_a_heading(text: str) -> None:
    template = Template("zh.jinja", "草稿：{{ response }}\n原文：{{ response }}\n【参考答案】\n{{ reference }}\n")
    assert residue(text, wording_of((template,))) is not None
    assert residue("答案：巴黎。", wording_of((template,))) is None
