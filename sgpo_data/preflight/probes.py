"""Prompts unlike most training prompts, each with a good answer: by length, script and domain."""

from collections.abc import Mapping

_STORY = (
    "Read the note and answer the question at its end. On Monday the gardener planted four rows of beans and watered them twice. On Tuesday it rained, so "
    "she stayed inside, mended a rake and wrote to her brother about the fence. On Wednesday the wind broke two stakes; she tied the plants to new ones. "
    "On Thursday her brother came with a ladder, a saw and a basket of apples, and by evening the fence was whole again. "
)

PROBES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "long": (
        (f"{_STORY}What did she plant on Monday?", "On Monday she planted four rows of beans."),
        (f"{_STORY}Why did she stay inside on Tuesday?", "She stayed inside because it rained that day."),
        (f"{_STORY}What did the wind do on Wednesday?", "The wind broke two of the stakes."),
        (f"{_STORY}What did her brother bring?", "Her brother brought a ladder, a saw and a basket of apples."),
        (f"{_STORY}What did she mend?", "She mended a rake, and later the fence was repaired too."),
        (f"{_STORY}When was the fence whole again?", "It was whole again by Thursday evening."),
    ),
    "script": (
        ("Какая столица Франции?", "Столица Франции — Париж."),
        ("日本の首都はどこですか。", "日本の首都は東京です。"),
        ("ما هي عاصمة مصر؟", "عاصمة مصر هي القاهرة."),
        ("भारत की राजधानी क्या है?", "भारत की राजधानी नई दिल्ली है।"),
        ("중국의 수도는 어디입니까?", "중국의 수도는 베이징입니다."),
        ("Ποια είναι η πρωτεύουσα της Ελλάδας;", "Η πρωτεύουσα της Ελλάδας είναι η Αθήνα."),
    ),
    "domain": (
        ("Write a Python function that adds two numbers.", "def add(a, b):\n    return a + b"),
        ("What is the derivative of x squared?", "The derivative of x squared is 2x."),
        ("Solve 3x + 6 = 21.", "Subtract 6 to get 3x = 15, then divide by 3: x = 5."),
        ("Write an SQL query that counts the rows of table users.", "SELECT count(*) FROM users;"),
        ("Which organ pumps blood through the body?", "The heart pumps blood through the body."),
        ("What does HTTP status 404 mean?", "It means that the server did not find what was asked for."),
    ),
}
"""By kind: (prompt, good answer)."""
