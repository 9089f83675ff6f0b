"""A report: one file that shows what a run holds and runs nothing that a model wrote."""

import base64
import hashlib
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from literal_rows import Values, row
from made_run import Tables, made_model, made_run, planned
from sgpo_data.cli.main import app
from typer.testing import CliRunner

from sgpo_data.health.health import health
from sgpo_data.loop.rounds import Run, open_run
from sgpo_data.report.charts import histograms
from sgpo_data.report.distributions import BINS, Distribution, Histogram
from sgpo_data.report.page import BYTES, page
from sgpo_data.report.pictures import OtherRun
from sgpo_data.report.samples import CHARACTERS
from sgpo_data.report.text import count, line
from sgpo_data.sealed import visible
from sgpo_data.text.word_diff import sides, word_diff

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = "</p></script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><style>*{display:none}</style>"
RIGHT_TO_LEFT = "مرحبا بالعالم"
EMOJI = "👩‍👩‍👧 🏳️‍🌈 e\u0301"
ENDLESS = "word <b>&amp; " * 80_000
"""A line of more than 1 MB."""
VOID = ("col", "meta", "input", "img", "br", "link")


class Page(HTMLParser):
    """The elements of a page, each with its attributes, and the text inside each kind."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, Mapping[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, tag: str) -> list[Mapping[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(run: Run) -> str:
    return page(run, health(run))


def parsed(run: Run) -> Page:
    return Page(report(run))


def filtered(count: int) -> list[Values]:
    kept = [row(f"p{number}", improved_nll=100.0 + number, reference_nll=None if number % 2 else 90.0) for number in range(count)]
    dropped = [row(f"d{number}", dropped_by="changed", failed_rules=["changed", "length"]) for number in range(count // 3)]
    return [*kept, *dropped]


def whole_run(tmp_path: Path) -> Run:
    """Two rounds, the second with pairs and a trained model."""
    run = made_run(tmp_path, {"a-1": {"filtered": filtered(6)}, "a-2": {"filtered": filtered(9), "pairs": [pair("x", "y", "a")]}})
    curves = {name: [0.1 * step for step in range(12)] for name in ("loss", "rewards/chosen", "rewards/rejected", "rewards/accuracies", "logps/chosen")}
    made_model(run.folder / "a-2" / "model", curves, inputs=[run.rounds[1].datasets["pairs"]])
    (run.folder / "recipe.toml").write_text("model = 'm' # <b>\n")
    return open_run("run", tmp_path)


def pair(chosen: str, rejected: str, name: str) -> Values:
    texts = {side: [{"role": "assistant", "content": text}] for side, text in (("chosen", chosen), ("rejected", rejected))}
    return {**row(name), "prompt": [{"role": "user", "content": "question"}], "chosen_tokens": 10, "rejected_tokens": 9, **texts}


def hostile_run(tmp_path: Path) -> Run:
    texts = [HOSTILE, ENDLESS, RIGHT_TO_LEFT, EMOJI, "\u202etxet neddih\x00\x1b[31m", "\r\n\r\n", ""]
    rows = [
        row(
            f"p{number}",
            response=text,
            improved=text + " more",
            reference=text,
            messages=[{"role": HOSTILE, "content": text or "q"}],
            dropped_by=HOSTILE if number % 2 else None,
            failed_rules=[HOSTILE] if number % 2 else [],
            residue=HOSTILE,
            source=HOSTILE,
        )
        for number, text in enumerate(texts)
    ]
    run = made_run(tmp_path, {f"{HOSTILE.replace('/', '')}-1": {"filtered": rows}}, name="<b>run")
    made_model(run.rounds[0].datasets["filtered"].folder.parent / "model", {"loss": [1.0, 2.0], HOSTILE: [1.0]})
    (run.folder / "recipe.toml").write_text(HOSTILE)
    return open_run("<b>run", tmp_path)


def test_the_page_is_one_file_that_fetches_nothing_and_whose_policy_allows_its_own_style_and_script_alone(tmp_path: Path) -> None:
    for text in (report(whole_run(tmp_path / "a")), report(hostile_run(tmp_path / "b"))):
        page = Page(text)
        assert page.open == []
        (policy,) = (each["content"] for each in page.all("meta") if each.get("http-equiv"))
        (style,), (script,) = page.texts["style"], page.texts["script"]
        hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (style, script)]
        assert policy == f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
        # The policy counts only from where it stands.
        assert [tag for tag, _ in page.elements].index("meta") == 2
        names = {name for _, attributes in page.elements for name in attributes}
        assert not {name for name in names if name.startswith("on")} | names & {"src", "style", "action", "xlink:href"}
        assert all(str(each["href"]).startswith("#") for each in page.all("a"))
        assert {tag for tag, _ in page.elements} & {"img", "link", "iframe", "object", "b", "image", "use"} == set()


def test_every_picture_is_well_formed_and_tells_what_it_shows(tmp_path: Path) -> None:
    pictures = re.findall(r"<svg (?!aria-hidden).*?</svg>", report(whole_run(tmp_path)), re.DOTALL)
    assert len(pictures) > 8
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img"
        assert len(str(root.get("aria-label"))) > 10
        assert {each.get("fill") for each in root.iter()} <= {None, "none", "currentColor"} | {
            value for each in root.iter() if (value := each.get("fill")) and value.startswith("var(--")
        }


def test_every_colour_of_a_picture_is_one_of_the_page(tmp_path: Path) -> None:
    text = report(whole_run(tmp_path))
    assert set(re.findall(r"var\(--(\w+)\)", text)) <= set(re.findall(r"^ *--(\w[\w-]*):", text, re.MULTILINE)) | {"alarm"}


def test_what_a_model_wrote_is_shown_as_text(tmp_path: Path) -> None:
    page = parsed(hostile_run(tmp_path))
    whole = "".join(text for tag, texts in page.texts.items() for text in texts if tag not in ("style", "script"))
    assert "<script>document.title='owned'</script>" in whole
    assert RIGHT_TO_LEFT in whole
    assert EMOJI in whole
    assert "⟨U+202E⟩txet neddih⟨U+0000⟩⟨U+001B⟩[31m" in whole
    assert page.texts["title"] == ["<b>run · sgpo report"]
    assert len(page.all("script")) == 1


def test_texts_stand_in_their_own_direction(tmp_path: Path) -> None:
    page = parsed(made_run(tmp_path, {"a-1": {"filtered": [row("a", response=RIGHT_TO_LEFT)]}}))
    assert [each for each in page.all("p") if each.get("dir") == "auto"]
    assert page.all("bdi")


def test_a_long_text_is_cut_and_says_how_long_it_is(tmp_path: Path) -> None:
    text = report(made_run(tmp_path, {"a-1": {"filtered": [row("a", response=ENDLESS)]}}))
    assert f"the first {CHARACTERS:,} of {len(ENDLESS):,} characters" in text
    assert len(text) < 300_000


def test_the_page_is_small_whatever_the_rows_hold(tmp_path: Path) -> None:
    long = "<&'\"" * 2000
    turns = [{"role": "user", "content": long}] * 9
    tables: dict[str, Tables] = {
        f"a-{number}": {"filtered": [row(f"{number}-{each}", response=long, improved=long[1:] + long[0], reference=long, messages=turns) for each in range(20)]}
        for number in range(1, 5)
    }
    text = report(made_run(tmp_path, tables))
    assert len(text.encode()) < BYTES
    assert re.search(r"\d+ more sample rows are left out", text)


def test_every_outcome_of_every_round_has_rows_and_none_is_shown_twice(tmp_path: Path) -> None:
    rules = [f"rule {number}" for number in range(5)]
    rows = [row(f"{rule}-{number}", dropped_by=rule, failed_rules=[rule]) for rule in rules for number in range(30)]
    page = parsed(made_run(tmp_path, {f"a-{number}": {"filtered": [*rows, row(f"kept{number}")]} for number in (1, 2)}))
    shown = [(each["data-place"], each["data-outcome"]) for each in page.all("details") if each.get("class") == "row"]
    assert {outcome for _, outcome in shown} == {"kept", *rules}
    assert {shown.count((place, rule)) for place in ("a-1", "a-2") for rule in rules} == {20}
    keys = page.texts["bdi"]
    assert len({key for key in keys if re.fullmatch(r"[0-9a-f]{32}/0", key)}) == 102


def test_the_waterfall_tells_drops_in_the_order_of_the_rules_and_all_that_fail(tmp_path: Path) -> None:
    given = [
        row("a"),
        *(row(f"b{n}", dropped_by="length", failed_rules=["length", "ppl"]) for n in range(3)),
        *(row(f"c{n}", dropped_by="changed", failed_rules=["changed", "length"]) for n in range(4)),
    ]
    text = re.sub(r"<[^>]+>", " ", report(made_run(tmp_path, {"a-1": {"filtered": given}})))
    waterfall = re.sub(r"\s+", " ", text[text.index("1 of 8 kept") : text.index("Share of the answers")])
    assert "scored 8 changed −4 4 length −3 7 ppl 0 3 kept 1 12.5 %" in waterfall


def test_rules_of_ones_own_stand_where_the_rows_have_them(tmp_path: Path) -> None:
    lists = [["z", "own", "a"], ["own", "a"], ["a"], ["alone"], ["alone"]]
    given = [row(f"p{number}", dropped_by=rules[0], failed_rules=rules) for number, rules in enumerate(lists)]
    text = re.sub(r"<[^>]+>", " ", report(made_run(tmp_path, {"a-1": {"filtered": given}})))
    waterfall = re.sub(r"\s+", " ", text[text.index("0 of 5 kept") : text.index("Share of the answers")])
    assert "scored 5 alone −2 2 z −1 1 own −1 2 a −1 3 kept 0 0.0 %" in waterfall


def test_the_loop_has_counts_on_its_arrows_and_what_is_not_made_in_its_place(tmp_path: Path) -> None:
    planned(tmp_path / "run", [f"a-1/{table}" for table in ("responses", "improved", "scored", "filtered", "pairs", "model")])
    run = made_run(tmp_path, {"a-1": {table: filtered(30) for table in ("responses", "improved", "scored", "filtered")}})
    text = report(run)
    (wide,) = re.findall(r'<svg class="flow wide".*?</svg>', text, re.DOTALL)
    assert re.findall(r'class="count"[^>]*>([^<]*)', wide) == ["40", "40", "40", "", ""]
    assert "30 kept" in wide
    assert "10 dropped" in wide
    assert re.findall(r'class="name missing"[^>]*>([^<]*)', wide) == ["pairs", "model"]
    assert "Not whole yet: a-1 (pairs, model)." in text


def test_fences_and_medians_of_perplexity_are_told_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made_run(tmp_path, {"a-1": {"filtered": filtered(30)}})
    dataset = run.rounds[0].datasets["filtered"]
    facts = {"ppl.low": 1.0, "ppl.high": 1.25}
    monkeypatch.setitem(run.rounds[0].datasets, "filtered", type(dataset)(dataset.folder, dataset.manifest.model_copy(update={"facts": facts})))
    text = report(run)
    # e^1 and e^1.25; responses have 120 nats over 100 tokens.
    assert re.search(r"median response 3\.32, improved (2\.9[5-9]|3\.0\d?), reference 2\.46", text)
    assert "fences 2.72 and 3.49" in text
    assert text.count('stroke="var(--fence)"') == 2


@pytest.mark.parametrize("least", [1.0, 1.2, 3.3, 37.0])
@pytest.mark.parametrize("times", [1.02, 2.0, 3.9, 4.0, 6.0, 20.0, 1e3, 1e30, 1e290])
def test_an_axis_of_perplexities_has_some_round_numbers_however_long_it_is(least: float, times: float) -> None:
    flat = Histogram("response", 1, least, (1 / BINS,) * BINS)
    chart = histograms("round", Distribution(math.log(least), math.log(least * times), (flat,), (), 0))
    drawn = [node.text for node in ElementTree.fromstring(chart.svg).iter() if node.tag.endswith("text")]
    numbers = [float(text.replace("−", "-")) for text in drawn[: drawn.index("perplexity")] if text]
    assert 2 <= len(numbers) <= 8
    assert all(least * 0.99 <= number <= least * times * 1.01 for number in numbers)


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("table", ["responses", "improved", "scored", "filtered", "pairs", "examples", "prompts"])
def test_a_round_of_one_table_with_no_row_or_one_is_shown(table: str, rows: int, tmp_path: Path) -> None:
    given = {**pair("x y z", "x z", "a"), "completion": [{"role": "assistant", "content": "done"}], "kind": "reference", "policy": None}
    whole = given if table in ("pairs", "examples") else row("a")
    page = parsed(made_run(tmp_path, {"a-1": {table: [whole] * rows}}))
    assert sum(each.get("class") == "row" for each in page.all("details")) == (rows if table != "prompts" else 0)


def test_a_run_of_which_nothing_is_made_is_shown(tmp_path: Path) -> None:
    planned(tmp_path / "run", ["a-1/prompts", "a-1/examples", "a-1/model"])
    assert "Not whole yet: a-1 (prompts, examples, model)." in report(open_run("run", tmp_path))


def test_a_long_run_is_shown_by_its_last_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgpo_data.report.page.ROUNDS", 3)
    text = report(made_run(tmp_path, {f"a-{number}": {"responses": [row(str(number))]} for number in range(1, 6)}))
    assert "The first 2 rounds are left out" in text
    assert ">a-5<" in text
    assert ">a-2<" not in text.partition("What is not measured")[0]


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    run = whole_run(tmp_path)
    assert report(run) == report(run)


def test_no_place_of_this_machine_is_told(tmp_path: Path) -> None:
    assert str(tmp_path) not in report(whole_run(tmp_path))


@pytest.mark.parametrize(
    ("before", "after", "lost", "found"),
    [
        ("one two three", "one 2 three", ["two"], ["2"]),
        ("a b", "a b", [], []),
        ("", "all new", [], ["all new"]),
        ("gone now", "", ["gone now"], []),
        ("same  words\nhere", "same words here", [], []),
        ("he said no.", "he said: no!", ["."], [":", "!"]),
        (f"{RIGHT_TO_LEFT} x", f"{RIGHT_TO_LEFT} y", ["x"], ["y"]),
    ],
)
def test_differences_are_words(before: str, after: str, lost: list[str], found: list[str]) -> None:
    old, new = sides(word_diff(before, after))
    assert [piece.text for piece in old if piece.kind != "same"] == lost
    assert [piece.text for piece in new if piece.kind != "same"] == found
    assert "".join(piece.text for piece in old) == before
    assert "".join(piece.text for piece in new) == after


def test_counts_keep_to_three_digits_where_they_are_large() -> None:
    assert [count(each) for each in (0, 999, 99_999, 100_000, 1_234_567, 10_000_000, 99_999_999_999)] == [
        "0", "999", "99,999", "100k", "1.23M", "10.0M", "100G",
    ]  # fmt: skip


def test_lines_are_cut_at_words_and_controls_written_out() -> None:
    assert line("a\n b\u202e" + "c" * 50, 12) == "a b⟨U+202E⟩…"
    assert visible("a\u200db\u200fc\td\n") == "a\u200db\u200fc\td\n"


def test_command_writes_the_file_and_prints_its_name(tmp_path: Path) -> None:
    whole_run(tmp_path)
    out = tmp_path / "r.html"
    shown = CliRunner().invoke(app, ["report", "run", "--root", str(tmp_path), "-o", str(out)])
    assert (shown.exit_code, shown.stdout) == (0, f"{out}\n")
    assert out.read_text().startswith("<!DOCTYPE html>")


def test_command_says_what_to_install_to_draw_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_run(tmp_path)
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    shown = CliRunner().invoke(app, ["report", "run", "--root", str(tmp_path), "-o", str(tmp_path / "r.html")])
    assert (shown.exit_code, shown.stderr) == (1, "vl-convert-python is not installed; run: pip install 'sgpo-data[report]'\n")


def test_command_does_not_write_into_a_dataset(tmp_path: Path) -> None:
    run = whole_run(tmp_path)
    inside = run.rounds[0].datasets["filtered"].folder / "report.html"
    shown = CliRunner().invoke(app, ["report", "run", "--root", str(tmp_path), "-o", str(inside)])
    assert shown.exit_code == 2
    assert "is inside of a dataset; give another file" in shown.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium or Chrome on this machine")
def test_nothing_that_a_model_wrote_runs_in_a_browser(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    text = report(hostile_run(tmp_path))
    out = tmp_path / "r.html"
    # The same attack, but unescaped: the policy alone has to stop it.
    for attack in (text.replace("<main>", f"<main>{HOSTILE}", 1), text):
        out.write_text(attack)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
        shown = subprocess.run([CHROMIUM, *flags, out.as_uri()], capture_output=True, text=True, check=True, timeout=120)
        assert "<title>&lt;b&gt;run · sgpo report</title>" in shown.stdout
    # The page's own script has run: it shows the form that chooses rows.
    assert re.search(r'<form id="choose">', shown.stdout)


def test_one_row_stands_open(tmp_path: Path) -> None:
    rows = [attributes for attributes in parsed(whole_run(tmp_path)).all("details") if attributes.get("class") == "row"]
    assert len(rows) > 3
    assert [number for number, attributes in enumerate(rows) if "open" in attributes] == [0]


def test_another_run_stands_beside_in_the_same_charts(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "a")
    other = made_run(tmp_path / "b", {"a-1": {"filtered": filtered(30)}}, name="before")
    alone, beside = (Page(page(run, health(run), each)) for each in (None, OtherRun(other.name, other.rounds, health(other))))

    def pictures(of: Page) -> list[str]:
        return [str(each["aria-label"]) for each in of.all("svg") if each.get("role") == "img"]

    tokens = next(told for told in pictures(beside) if told.startswith("Tokens of an answer"))
    assert "response, mean beside from" in tokens
    assert not [told for told in pictures(alone) if "beside" in told]
    assert any("· before" in told for told in pictures(beside))
    assert "before" in beside.texts["bdi"]
    assert "before" not in alone.texts.get("bdi", [])


def test_of_a_long_run_the_earlier_rounds_are_folded(tmp_path: Path) -> None:
    rounds = {f"a-{number}": {"filtered": filtered(3)} for number in range(1, 10)}
    folds = [text for text in parsed(made_run(tmp_path, rounds)).texts["summary"] if "earlier" in text]
    assert folds == ["3 earlier rounds"] * 2


def test_a_table_that_is_wider_than_a_phone_says_that_it_scrolls(tmp_path: Path) -> None:
    narrow = report(whole_run(tmp_path)).partition("@media screen and (max-width")[2].partition("@media print")[0]
    assert '.scroll:not(.fits)::before { content: "scroll sideways' in narrow
