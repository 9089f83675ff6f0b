"""Claims about recipes: every fault is named at its place, and what a good one stands for."""

from pathlib import Path

import pytest

from sgpo_data.errors import RecipeError
from sgpo_data.recipe.file import parsed, read_recipe
from sgpo_data.recipe.recipe import Recipe

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.toml"))

GOOD = """
model = "models/base"

[[phases]]
name = "improver"
[phases.source]
path = "prompts.jsonl"
[phases.seed]
[phases.improve]
[phases.score-ppl]
[phases.filter]
[phases.pair]
kind = "examples"
[phases.train]
objective = "sft"

[[phases]]
name = "policy"
rounds = 2
prompts_per_round = 10
[phases.source]
path = "prompts.jsonl"
[phases.seed]
[phases.improve]
role = "improve"
[phases.score-ppl]
[phases.filter]
[phases.pair]
[phases.train]
"""


def read(text: str, folder: Path = Path()) -> Recipe:
    return parsed(text, folder / "x.toml")


def faults(text: str, folder: Path = Path()) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        read(text, folder)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{folder / 'x.toml'}: {len(lines)} {'fault' if len(lines) == 1 else 'faults'}"
    return [line.removeprefix("  ") for line in lines]


def changed(before: str, after: str, *, text: str = GOOD) -> str:
    assert before in text
    return text.replace(before, after, 1)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_that_ships_has_no_fault(path: Path) -> None:
    assert read_recipe(path).phases


ANSWERING = 'model = "models/base"\n[[phases]]\n{}\n[phases.source]\npath = "prompts.jsonl"\n[phases.seed]\n'
FAULTS = {
    "a number out of bounds": (
        changed("[phases.filter]", "[phases.filter]\nppl.k = -1"),
        "phases.1.filter.ppl.k: Input should be greater than 0 (got -1)",
    ),
    "a key of a table inside": (changed("[phases.filter]", "[phases.filter]\nk = 3"), "phases.1.filter.k: no such key; did you mean ppl.k? (got 3)"),
    "a misspelt key": (
        changed("prompts_per_round", "prompts_per_rounds"),
        "phases.2.prompts_per_rounds: no such key; did you mean prompts_per_round? (got 10)",
    ),
    "a misspelt stage": (changed("[phases.score-ppl]", "[phases.score_ppl]"), "phases.1.score_ppl: no such key; did you mean score-ppl? (got {})"),
    "a misspelt table": (changed("[phases.source]", "[phases.sources]"), 'phases.1.sources: no such key; did you mean source? (got {"path": "prompts.jsonl"})'),
    "a key at the top": ('modle = "x"\n' + GOOD, 'modle: no such key; did you mean model? (got "x")'),
    "no model": (changed('model = "models/base"', ""), "model: is missing"),
    "no phase": ('model = "models/base"', "phases: is missing"),
    "one phase that is no list": (
        'model = "models/base"\n[phases]\nname = "improver"\n',
        "phases: Input should be a valid list; write [[phases]], once for each",
    ),
    "a wrong type": (
        changed("rounds = 2", 'rounds = "two"'),
        'phases.2.rounds: Input should be a valid integer (got "two")',
    ),
    "a misspelt word": (
        changed('objective = "sft"', 'objective = "sfd"'),
        "phases.1.train.objective: Input should be 'dpo' or 'sft'; did you mean sft? (got \"sfd\")",
    ),
    "no round": (changed("rounds = 2", "rounds = 0"), "phases.2.rounds: Input should be greater than or equal to 1 (got 0)"),
    "bounds the wrong way round": (
        changed("[phases.filter]", "[phases.filter]\ngates.max_edit = 0.01"),
        "phases.1.filter.gates: min_edit = 0.05 is above max_edit = 0.01",
    ),
    "a template that is not there": (
        changed('role = "improve"', 'role = "improve"\nimprove_template = "mine.jinja"'),
        "phases.2.improve.improve_template: template mine.jinja: cannot be read ([Errno 2] No such file or directory: 'mine.jinja'); "
        'give improve, refine or a file (got "mine.jinja")',
    ),
    "objective and kind at odds": (
        changed('objective = "sft"', 'objective = "dpo"'),
        'phases.1.train.objective: dpo reads pairs, but pair.kind is examples (got "dpo"); change one',
    ),
    "a stage left out": (
        changed("[phases.improve]\n[phases.score-ppl]", "[phases.score-ppl]"),
        "phases.1.score-ppl: reads improved, but the stage before it in the phase writes responses; add the one between",
    ),
    "training on nothing": (
        changed('[phases.pair]\nkind = "examples"\n', ""),
        "phases.1.train: reads examples, and no stage of phase improver writes them; add [phases.pair]",
    ),
    "no source": (
        changed('[phases.source]\npath = "prompts.jsonl"\n', ""),
        "phases.1.source: is missing, and phase improver has nothing to read; add [phases.source] with path = a file or a Hub dataset",
    ),
    "slices of a limited source": (
        changed("prompts_per_round = 10\n[phases.source]", "prompts_per_round = 10\n[phases.source]\nlimit = 5"),
        "phases.2.source.limit: prompts_per_round says how many already (got 5); remove one",
    ),
    "two phases of one name": (
        changed('name = "policy"', 'name = "improver"'),
        'phases.2.name: phase 1 is called so already (got "improver"); give each a name of its own',
    ),
    "a phase that is not there": (
        changed("rounds = 2", 'rounds = 2\nstart_from = "improved"'),
        'phases.2.start_from: no phase before this one is called so; did you mean improver? (got "improved")',
    ),
    "a phase that comes later": (
        changed('name = "improver"', 'name = "improver"\nimprover = "policy"'),
        'phases.1.improver: phase policy does not come before this one (got "policy"); name an earlier one',
    ),
    "an improver for nothing": (
        ANSWERING.format('improver = "recipe"'),
        'phases.1.improver: there is no improve to use it (got "recipe"); remove it',
    ),
    "a scorer for nothing": (
        ANSWERING.format('scorer = "recipe"'),
        'phases.1.scorer: there is no score-ppl to use it (got "recipe"); remove it',
    ),
    "a word that is no model of this role": (
        changed('name = "improver"', 'name = "improver"\nscorer = "self"'),
        'phases.1.scorer: no phase before this one is called so; known are origin, recipe, or a model (got "self")',
    ),
    "a reward model by a word": (
        changed('name = "improver"', 'name = "improver"\nreward_model = "recipe"'),
        'phases.1.reward_model: is no folder beside the recipe and no model of the Hub (got "recipe"); give a folder or org/name@revision',
    ),
    "rounds of data for nothing": (
        changed("[phases.pair]\n[phases.train]", "[phases.pair]").replace('name = "policy"', 'name = "policy"\ndata_rounds = 2'),
        "phases.2.data_rounds: there is no train to read them (got 2); remove it",
    ),
    "a column that is not there": (
        changed("[phases.filter]", '[phases.filter]\nppl.group_by = "finsh"'),
        "phases.1.filter.ppl.group_by: no column finsh in scored; the columns are prompt_id,",
    ),
    "a key that TRL has not": (
        changed("[phases.train]\n", "[phases.train]\ntrl.warmup_stepz = 3\n"),
        "phases.1.train.trl.warmup_stepz: no key of trl.SFTConfig; the nearest is trl.warmup_steps (got 3)",
    ),
    "a line that is no TOML": (changed("rounds = 2", "rounds 2"), "line 19, column 8: Expected '=' after a key in a key/value pair; TOML writes"),
    "a name that is a word": (changed('"improver"', '"previous"'), 'phases.1.name: previous means something else where a model is named (got "previous")'),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_named_at_its_place_with_its_value(text: str, fault: str) -> None:
    found = faults(text)
    assert [line for line in found if line.startswith(fault)], found
    assert len(found) == 1 or "[phases.sources]" in text


def test_all_faults_are_told_at_once() -> None:
    text = GOOD
    for key in ("a number out of bounds", "a misspelt key", "a phase that comes later", "a misspelt stage"):
        before, after = {
            "a number out of bounds": ("[phases.filter]", "[phases.filter]\nppl.k = -1"),
            "a misspelt key": ("prompts_per_round", "prompts_per_rounds"),
            "a phase that comes later": ('name = "improver"', 'name = "improver"\nimprover = "policy"'),
            "a misspelt stage": ("[phases.seed]", "[phases.sede]\n[phases.seed]"),
        }[key]
        text = changed(before, after, text=text)
    assert sorted(line.partition(":")[0] for line in faults(text)) == [
        "phases.1.filter.ppl.k",
        "phases.1.improver",
        "phases.1.sede",
        "phases.2.prompts_per_rounds",
    ]


NUMBERS = {
    'samples = "2"': 'phases.1.seed.samples: Input should be a valid integer (got "2")',
    "samples = true": "phases.1.seed.samples: Input should be a valid integer (got true)",
    'sampling.temperature = "0"': 'phases.1.seed.sampling.temperature: Input should be a valid number (got "0")',
    "sampling.temperature = inf": "phases.1.seed.sampling.temperature: Input should be a finite number (got Infinity)",
    "sampling.seed = 9223372036854775808": "phases.1.seed.sampling.seed: Input should be an integer of 64 bits (got 9223372036854775808)",
    "template.depth = [1, nan]": "phases.1.seed.template.depth.2: Input should be a finite number (got NaN)",
    'context_tokens = "512"': 'phases.1.seed.context_tokens: Input should be a valid integer (got "512")',
    '[phases.train]\nbatch_rows = "8"': 'phases.1.train.batch_rows: Input should be a valid integer (got "8")',
    '[phases.train]\nlora.rank = "8"': 'phases.1.train.lora.rank: Input should be a valid integer (got "8")',
    '[phases.train]\nlearning_rate = "5e-7"': 'phases.1.train.learning_rate: Input should be a valid number (got "5e-7")',
    '[phases.filter]\nppl.k = "2"': 'phases.1.filter.ppl.k: Input should be a valid number (got "2")',
}


@pytest.mark.parametrize(("line", "fault"), NUMBERS.items(), ids=NUMBERS)
def test_a_number_of_a_recipe_is_written_as_one(line: str, fault: str) -> None:
    table, _, key = line.rpartition("\n")
    table = table or "[phases.seed]"
    assert faults(changed(table, f"{table}\n{key}")) == [fault]


def test_the_number_before_the_phases_is_written_as_one_too() -> None:
    assert faults(f'seed = "3"\n{GOOD}') == ['seed: Input should be a valid integer (got "3")']
    assert faults(f"seed = {2**63}\n{GOOD}") == [f"seed: Input should be an integer of 64 bits (got {2**63})"]


@pytest.mark.parametrize("text", ["a" + ".a" * 5000 + " = 1\n" + GOOD, GOOD + "trl.a" + ".a" * 5000 + " = 1\n"], ids=["before the phases", "in a phase"])
def test_a_key_of_thousands_of_parts_is_one_line(text: str) -> None:
    assert faults(text) == ["is nested too deeply to be read; a recipe has tables of two or three levels"]


def test_what_trl_refuses_is_told_beside_faults_of_other_keys() -> None:
    train = '[phases.train]\nobjective = "sft"\ntrl.warmup_stepz = 3\ntrl.lr_scheduler_type = "cosin"\n'
    text = changed('[phases.train]\nobjective = "sft"\n', train, text=changed("[phases.filter]", "[phases.filter]\nppl.k = -1"))
    places = ["phases.1.filter.ppl.k", "phases.1.train.trl.warmup_stepz", "phases.1.train.trl"]
    assert [line.partition(":")[0] for line in faults(text)] == places


def test_an_improver_is_used_with_the_template_it_was_trained_with(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text("{{ messages }} {{ response }}")
    one = changed('role = "improve"', 'role = "improve"\nimprove_template = "mine.jinja"')
    assert faults(one, tmp_path) == [
        "phases.2.improve.improve_template: is not the text that phase improver trains this improver with, improve "
        '(got "mine.jinja"); give both phases the same'
    ]
    both = changed("[phases.improve]", '[phases.improve]\nimprove_template = "mine.jinja"', text=one)
    assert read(both, tmp_path).phases[1].improve is not None
    other = changed("rounds = 2", 'rounds = 2\nimprover = "recipe"', text=one)
    assert read(other, tmp_path).phases


def test_a_template_may_not_ask_for_what_it_is_not_given(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text("{{ response }} {{ reference }}")
    text = changed('role = "improve"', 'role = "improve"\nimprove_template = "mine.jinja"')
    assert "phases.2.improve.improve_template: uses reference, which it is not given; it may use messages, response" in "\n".join(faults(text, tmp_path))


def test_what_is_not_said_is_as_sgpo_has_it() -> None:
    recipe = read('model = "m"\nseed = 7\n[[phases]]\n[phases.source]\npath = "p.jsonl"\n[phases.seed]\n[phases.improve]\n[phases.score-ppl]\n')
    (phase,) = recipe.phases
    assert (phase.name, phase.rounds, phase.start_from, phase.improver, phase.scorer, phase.data_rounds) == ("phase1", 1, "previous", "self", "origin", 1)
    assert phase.seed is not None
    assert phase.improve is not None
    assert phase.source is not None
    assert (phase.seed.sampling.temperature, phase.seed.sampling.top_p, phase.seed.sampling.seed) == (0.7, 0.9, 7)
    assert (phase.improve.role, phase.improve.sampling.seed, phase.source.shuffle_seed) == ("refine", 7, 7)


def test_a_seed_of_its_own_stays() -> None:
    text = GOOD.replace("[phases.seed]", "[phases.seed]\nsampling.seed = 3", 1)
    recipe = read(text)
    assert [phase.seed.sampling.seed for phase in recipe.phases if phase.seed] == [3, 0]


def test_a_recipe_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none.toml: no recipe can be read there \(No such file or directory\); give a TOML file"):
        read_recipe(tmp_path / "none.toml")


def test_a_model_at_a_server_can_improve_whatever_it_is_called() -> None:
    recipe = read(changed('name = "policy"', 'name = "policy"\nimprover = "openai:name"'))
    assert recipe.phases[1].improver == "openai:name"
    assert recipe.located("openai:name") == "openai:name"
    (fault,) = faults(changed('name = "policy"', 'name = "policy"\nimprover = "opanai"'))
    assert fault.startswith("phases.2.improver: no phase before this one is called so")
