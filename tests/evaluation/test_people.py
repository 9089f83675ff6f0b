"""Blind review by people: one harmless page, votes that survive a reload, and numbers that an independent calculation gives too."""

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from literal_rows import row
from made import made_dataset
from sgpo_data.cli.main import app
from typer.testing import CliRunner, Result
from vote_files import vote_file, votes_for

from sgpo_data.evaluation.answer_pairs import answer_pairs
from sgpo_data.evaluation.people import alpha
from sgpo_data.evaluation.review import Review, review
from sgpo_data.evaluation.review_page import review_page
from sgpo_data.store.dataset import open_dataset

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize

HOSTILE = "</p></script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><style>*{display:none!important}</style>"
CHROMIUM = next((found for name in ("chromium", "chromium-headless-shell", "google-chrome") if (found := shutil.which(name))), None)


def answer_file(path: Path, generator: str, texts: dict[str, str]) -> Path:
    rows = [{"dataset": "d", "instruction": name, "output": text, "generator": generator} for name, text in texts.items()]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def two_files(folder: Path, count: int = 10, *, text: str = "") -> tuple[str, str]:
    """Model `good` says yes, model `bad` no."""
    a = answer_file(folder / "a.json", "good", {f"question {number}": f"yes {number} {text}" for number in range(count)})
    b = answer_file(folder / "b.json", "bad", {f"question {number}": f"no {number} {text}" for number in range(count)})
    return str(a), str(b)


def reviewed(references: tuple[str, ...], folder: Path, *, items: int = 100, seed: int = 0) -> Review:
    return review(answer_pairs(references, folder), items=items, seed=seed)


def people(folder: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", "people", *map(str, arguments), "--root", str(folder / "runs")])


def counted(folder: Path, *arguments: str | Path) -> dict[str, Any]:
    result = people(folder, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_page_does_not_tell_who_wrote_what_whichever_model_is_named_first(tmp_path: Path) -> None:
    a, b = two_files(tmp_path)
    page = review_page(reviewed((a, b), tmp_path))
    assert page == review_page(reviewed((b, a), tmp_path))
    assert "good" not in page.replace("equally good or bad", "")
    assert "bad" not in page.replace("equally good or bad", "")
    shown = reviewed((a, b), tmp_path, seed=1)
    assert [item.pair.key for item in shown.items] != [item.pair.key for item in reviewed((a, b), tmp_path).items]
    assert {item.a_is_first for item in shown.items} == {True, False}


def test_the_same_seed_shows_the_same_items_and_fewer_are_the_first_of_more(tmp_path: Path) -> None:
    references = two_files(tmp_path, 30)
    assert reviewed(references, tmp_path, items=30).items[:7] == reviewed(references, tmp_path, items=7).items


def test_equal_and_empty_answers_are_left_out_and_counted(tmp_path: Path) -> None:
    a = answer_file(tmp_path / "a.json", "a", {"1": "x", "2": "same  text", "3": " ", "4": "only here"})
    b = answer_file(tmp_path / "b.json", "b", {"1": "y", "2": "same text", "3": "z"})
    found = answer_pairs((str(a), str(b)), tmp_path)
    assert len(found.pairs) == 1
    assert dict(found.left_out) == {"in one of them alone": 1, "with equal answers": 1, "without an answer": 1}


def test_a_dataset_of_responses_is_compared_with_an_official_file_by_the_prompt(tmp_path: Path) -> None:
    from sgpo_data.sources.source import prompt_id

    messages: list[Any] = [{"role": "user", "content": "question 0"}]
    made_dataset(tmp_path / "responses", "responses", [row("p", prompt_id=prompt_id(messages), messages=messages, response="mine")])
    found = answer_pairs((str(tmp_path / "responses"), two_files(tmp_path)[0]), tmp_path)
    assert [(pair.a, pair.b.strip()) for pair in found.pairs] == [("mine", "yes 0")]
    assert (found.a, found.b) == ("model-p", "good")


def test_arena_hard_and_ifeval_files_are_read_as_they_are(tmp_path: Path) -> None:
    arena = {"uid": "u", "model": "m", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": {"answer": "one"}}]}
    (tmp_path / "arena.jsonl").write_text(json.dumps(arena) + "\n")
    (tmp_path / "ifeval.jsonl").write_text(json.dumps({"prompt": "q", "response": "two"}) + "\n")
    found = answer_pairs((str(tmp_path / "arena.jsonl"), str(tmp_path / "ifeval.jsonl")), tmp_path)
    assert [(pair.a, pair.b) for pair in found.pairs] == [("one", "two")]
    assert (found.a, found.b) == ("m", "ifeval")


def filtered(folder: Path, kept: int, dropped: int) -> str:
    rows = [row(f"k{number}") for number in range(kept)] + [row(f"d{number}", dropped_by="length", failed_rules=["length"]) for number in range(dropped)]
    made_dataset(folder / "filtered", "filtered", rows)
    return str(folder / "filtered")


def test_kept_and_dropped_rows_are_shown_in_equal_numbers_and_the_votes_judge_the_filter(tmp_path: Path) -> None:
    reference = filtered(tmp_path, 40, 10)
    shown = reviewed((reference,), tmp_path, items=16)
    groups = [item.pair.group for item in shown.items]
    assert (groups.count("kept"), groups.count("dropped")) == (8, 8)
    # Of the kept, improved wins 6 of 8; of the dropped 2 of 8.
    kept, dropped = iter("aaaaaabb"), iter("aabbbbbb")
    sides = "".join(next(kept) if group == "kept" else next(dropped) for group in groups)
    found = counted(tmp_path, reference, "--votes", vote_file(tmp_path / "v.json", shown, "ann", votes_for(shown, sides)))
    assert {name: rate["rate"] for name, rate in found["by_group"].items()} == {"kept": 0.75, "dropped": 0.25}
    assert found["with_filter"]["share"] == 0.75


def test_swapping_the_two_models_mirrors_the_numbers(tmp_path: Path) -> None:
    a, b = two_files(tmp_path)
    shown = reviewed((a, b), tmp_path)
    votes = vote_file(tmp_path / "v.json", shown, "ann", votes_for(shown, "aaaaaaabbt"))
    one, other = counted(tmp_path, a, b, "--votes", votes), counted(tmp_path, b, a, "--votes", votes)
    assert one["win_rate"]["rate"] == pytest.approx(0.75)
    assert other["win_rate"]["rate"] == pytest.approx(0.25)
    assert other["win_rate"]["low"] == pytest.approx(1 - one["win_rate"]["high"], abs=0.02)
    assert one["first_rate"] == other["first_rate"]


def ordinal_alpha(views: list[list[float | None]]) -> float:
    """Krippendorff 2011, by its definition: observed over expected disagreement of pairable values."""
    units = [[value for view in views if (value := view[at]) is not None] for at in range(len(views[0]))]
    units = [unit for unit in units if len(unit) > 1]
    values = sorted({value for unit in units for value in unit})
    count = {value: sum(unit.count(value) for unit in units) for value in values}
    total = sum(count.values())

    def distance(one: float, two: float) -> float:
        low, high = sorted((one, two))
        return float((sum(count[value] for value in values if low <= value <= high) - (count[low] + count[high]) / 2) ** 2)

    observed = sum(distance(*pair) / (len(unit) - 1) for unit in units for pair in itertools.permutations(unit, 2)) / total
    expected = sum(count[one] * count[two] * distance(one, two) for one in values for two in values) / (total * (total - 1))
    return 1 - observed / expected


VIEWS: list[list[list[float | None]]] = [
    [[1, 1, 0, 0.5, 1], [1, 0, 0, 0.5, 1]],
    [[1, None, 0, 0.5, 1, 0], [1, 0, None, 0, 1, 0], [0.5, 0, 0, 0.5, None, 1]],
    [[1, 0, 1, 0], [0, 1, 0, 1]],
]


@pytest.mark.parametrize("views", VIEWS)
def test_alpha_is_that_of_its_definition(views: list[list[float | None]]) -> None:
    assert alpha(views) == pytest.approx(ordinal_alpha(views))


@pytest.mark.parametrize("views", [[[1, 1], [1, 1]], [[1, None], [None, 0]], [[1.0, 0.0]]])
def test_alpha_is_not_defined_where_no_two_views_can_differ(views: list[list[float | None]]) -> None:
    assert alpha(views) is None


def test_several_people_are_rows_of_evaluations_and_agree_as_far_as_they_do(tmp_path: Path) -> None:
    a, b = two_files(tmp_path)
    shown = reviewed((a, b), tmp_path)
    files = [vote_file(tmp_path / f"{name}.json", shown, name, votes_for(shown, sides)) for name, sides in (("ann", "aaaabbttaa"), ("bob", "aabbbbt"))]
    found = counted(tmp_path, a, b, "--votes", files[0], "--votes", files[1])
    assert found["people"] == ["person:ann", "person:bob"]
    assert (found["win_rate"]["items"], found["win_rate"]["votes"]) == (10, 17)
    assert found["win_rate"]["rate"] == pytest.approx((1 + 1 + 0.5 + 0.5 + 0 + 0 + 0.5 + 0.5 + 1 + 1) / 10)
    assert found["among_people"]["items"] == 7
    made = open_dataset(Path(found["reference"]))
    assert made.table == "evaluations"
    rows = made.scan().collect().to_dicts()
    assert len(rows) == 17
    assert {(each["first_answer"].split()[0], each["first"]) for each in rows} == {("yes", "good"), ("no", "bad")}
    good = [each["first_score"] if each["first"] == "good" else 1 - each["first_score"] for each in rows if each["judge"] == "person:ann"]
    assert sum(good) == 7
    assert counted(tmp_path, a, b, "--votes", files[1], "--votes", files[0])["win_rate"] == found["win_rate"]


def test_people_are_held_against_a_judge_by_the_texts_that_both_saw(tmp_path: Path) -> None:
    a, b = two_files(tmp_path)
    shown = reviewed((a, b), tmp_path)
    judge = vote_file(tmp_path / "judge.json", shown, "judge", votes_for(shown, "aaaaaaaabb"))
    judged = counted(tmp_path, a, b, "--votes", judge, "-o", tmp_path / "judged")
    votes = vote_file(tmp_path / "v.json", shown, "ann", votes_for(shown, "aaaaaabbbt"))
    found = counted(tmp_path, a, b, "--votes", votes, "--judge", judged["reference"])
    assert found["with_judge"]["items"] == 10
    assert found["with_judge"]["share"] == pytest.approx(7 / 9)
    made_dataset(tmp_path / "filtered", "filtered", [row()])
    refused = people(tmp_path, a, b, "--votes", votes, "--judge", tmp_path / "filtered")
    assert refused.exit_code == 1
    assert "holds filtered; give the evaluations" in refused.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"review": "0" * 32}, "votes of another review"),
        ({"votes": [{"item": "x", "vote": "first", "seconds": 1.0}]}, "item x is not in the review"),
        ({"votes": [{"item": "x", "vote": "third", "seconds": 1.0}]}, "not what a review page saves"),
        ({"reviewer": ""}, "not what a review page saves"),
        ({"reviewer": "a\x1b[31m"}, "is no name that can be shown"),
        ({"votes": []}, "no vote is in them"),
    ],
)
def test_votes_that_do_not_fit_are_refused_in_one_line(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    a, b = two_files(tmp_path)
    shown = reviewed((a, b), tmp_path)
    result = people(tmp_path, a, b, "--votes", vote_file(tmp_path / "v.json", shown, "ann", votes_for(shown, "ab"), change))
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_one_person_counts_once(tmp_path: Path) -> None:
    a, b = two_files(tmp_path)
    shown = reviewed((a, b), tmp_path)
    files = [vote_file(tmp_path / f"{name}.json", shown, name, votes_for(shown, "ab")) for name in ("ann", "Ann")]
    result = people(tmp_path, a, b, "--votes", files[0], "--votes", files[1])
    assert "is in several files" in result.stderr


def test_the_page_is_written_where_it_is_asked_for_and_never_into_a_dataset(tmp_path: Path) -> None:
    a, b = two_files(tmp_path)
    assert people(tmp_path, a, b, "-o", tmp_path / "r.html").stdout.strip() == str(tmp_path / "r.html")
    inside = filtered(tmp_path, 1, 1)
    assert people(tmp_path, a, b, "-o", Path(inside) / "r.html").exit_code == 2


def test_no_answer_is_markup_of_the_page(tmp_path: Path) -> None:
    references = two_files(tmp_path, 3, text=HOSTILE + "\u202e")
    page = review_page(reviewed(references, tmp_path))
    assert HOSTILE not in page
    assert page.count("<script") == 1
    assert "\u202e" not in page
    assert not re.search(r"<[^>]*(?:src|href)=", page)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium or Chrome on this machine")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


DESK: "ViewportSize" = {"width": 1280, "height": 800}
PHONE: "ViewportSize" = {"width": 390, "height": 844}


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_ten_votes_with_a_reload_between_are_saved_loaded_and_imported(browser: "Browser", size: "ViewportSize", tmp_path: Path) -> None:
    references = two_files(tmp_path, 10, text=HOSTILE)
    assert people(tmp_path, *references, "-o", tmp_path / "r.html").exit_code == 0
    context = browser.new_context(viewport=size, has_touch=size is PHONE)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "r.html").as_uri())

    def vote(better: str) -> None:
        """For the answer that begins so, by key at the desk and by finger on the phone."""
        first = page.locator("article:visible .first p").inner_text().startswith(better)
        if size is DESK:
            page.keyboard.press("1" if first else "ArrowRight")
        else:
            page.locator(f"[data-vote={'first' if first else 'second'}]").tap()

    for better in ("yes", "no", "yes", "yes", "yes"):
        vote(better)
    page.locator("#undo").click()
    assert page.locator("#place").inner_text() == "4 of 10 done"
    seen = page.locator("article:visible").get_attribute("id")
    page.locator("#reviewer").fill("Ann 1u")
    # Read behind what is being written: nobody reloads within the same millisecond.
    page.evaluate("transaction('readonly', (store) => store.get(review))")
    page.reload()
    page.locator("article:visible").wait_for()
    assert page.locator("#place").inner_text() == "4 of 10 done"
    assert page.locator("#reviewer").input_value() == "Ann 1u"
    assert page.locator("article:visible").get_attribute("id") == seen
    for better in ("yes", "yes", "no", "yes", "yes"):
        vote(better)
    page.locator("[data-vote=equal]").click()
    assert page.locator("#end").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    with page.expect_download() as download:
        page.locator("#save").click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name.startswith("votes-ann-1u-")

    other = browser.new_context(viewport=size).new_page()
    other.goto((tmp_path / "r.html").as_uri())
    other.locator("#load").set_input_files(saved)
    other.get_by_text("10 votes loaded.").wait_for()
    assert other.locator("#place").inner_text() == "10 of 10 done"
    assert page.title() == other.title() == "Which answer is better?"
    assert errors == []
    found = counted(tmp_path, *references, "--votes", saved)
    assert found["people"] == ["person:Ann 1u"]
    assert found["win_rate"]["rate"] == pytest.approx(0.75)
    assert (found["win_rate"]["votes"], found["win_rate"]["ties"]) == (10, 1)
    context.close()


def test_the_policy_stops_what_escaping_would_miss(browser: "Browser", tmp_path: Path) -> None:
    page = browser.new_page()
    (tmp_path / "r.html").write_text(review_page(reviewed(two_files(tmp_path), tmp_path)).replace("<main>", f"<main>{HOSTILE}", 1))
    page.goto((tmp_path / "r.html").as_uri())
    page.locator("[data-vote=first]").click()
    assert page.locator("#place").inner_text() == "1 of 10 done"
    assert page.title() == "Which answer is better?"


def test_a_vote_without_a_name_is_not_saved_and_a_strange_file_is_not_loaded(browser: "Browser", tmp_path: Path) -> None:
    page = browser.new_context().new_page()
    (tmp_path / "r.html").write_text(review_page(reviewed(two_files(tmp_path), tmp_path)))
    (tmp_path / "x.json").write_text('{"review": "other", "votes": []}')
    page.goto((tmp_path / "r.html").as_uri())
    page.locator("[data-vote=first]").click()
    page.locator("#save").click()
    assert "Write your name first" in page.locator("#message").inner_text()
    page.locator("#load").set_input_files(tmp_path / "x.json")
    page.get_by_text("x.json holds no votes of this page.").wait_for()
    assert page.locator("#place").inner_text() == "1 of 10 done"
