"""The methods under comparison, each as a recipe: a model, a file of prompts with references, a file of prompts without, and settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

GRADED = "graded"
OTHER_LOSSES = ("dpop", "kto")
"""Trained beside the recipe, on the pairs of its round; see `losses.py`."""
ANSWER_TOKENS = 96
TEXT_TOKENS = 512


@dataclass(frozen=True)
class Settings:
    """What the methods share, chosen on development seeds and then left alone."""

    sft_epochs: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """By the number of references; the best of a search."""
    start_epochs: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """The same where SFT is only where a loop starts: a model that knows its references by heart gives drafts that no rewrite improves."""
    sft_rate: float = 3e-4
    samples: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    """Drafts of each prompt with a reference, for the improver to learn from; 1 if not given."""
    draft_temperature: float = 0.7
    """Of these drafts: a model that knows its references by heart repeats them at a low one, and leaves nothing to improve."""
    improver_rate: float = 1e-3
    improver_epochs: float = 3
    round_prompts: int = 700
    rate: float = 2e-4
    epochs: float = 3
    beta: float = 0.1
    sft_weight: float = 1.0
    loss: str | None = None
    """Another loss of TRL on the same pairs."""
    min_edit: float = 0.10
    strategy: str = "tukey"
    replay: float = 0.2
    refiner: str = "recipe"
    """Who refines with the reference in sight: the base model, since long SFT on answers unlearns rewriting; or self."""
    improver: str = "improver"
    """Who rewrites from the second round on: the model that learned it; or self, the policy of the round before."""


def _train(objective: str, rate: float, epochs: float, **more: object) -> str:
    keys = {"objective": objective, "learning_rate": rate, "epochs": epochs, "max_tokens": TEXT_TOKENS, **more}
    return "[phases.train]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in keys.items())


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _phase(name: str, *blocks: str, **keys: object) -> str:
    head = "".join(f"{key} = {_toml(value)}\n" for key, value in {"name": name, **keys}.items())
    return "\n".join([f"[[phases]]\n{head}", *blocks])


def _source(path: str, offset: int = 0, limit: int | None = None) -> str:
    return f'[phases.source]\npath = "{path}"\noffset = {offset}\n' + ("" if limit is None else f"limit = {limit}\n")


def _seed(temperature: float = 0.7, samples: int = 1) -> str:
    return f"[phases.seed]\nsamples = {samples}\nsampling.max_tokens = {ANSWER_TOKENS}\nsampling.temperature = {temperature}\n"


def _improve(role: str) -> str:
    return f'[phases.improve]\nrole = "{role}"\nsampling.max_tokens = {ANSWER_TOKENS}\n'


def _filter(settings: Settings, **gates: object) -> str:
    # Answers of the toy world have some twenty words, and one word can be all that is wrong.
    lines = "".join(f"gates.{name} = {value}\n" for name, value in {"min_edited_words": 2, **gates}.items())
    return f'[phases.score-ppl]\n\n[phases.filter]\nppl.strategy = "{settings.strategy}"\n{lines}'


def _pair(kind: str = "pairs", **keys: object) -> str:
    return "[phases.pair]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in {"kind": kind, **keys}.items())


def _preferences(settings: Settings, **more: object) -> str:
    keys: dict[str, object] = {"beta": settings.beta, **({} if settings.loss else {"sft_weight": settings.sft_weight}), **more}
    text = _train("dpo", settings.rate, settings.epochs, **keys)
    return text + (f'trl.loss_type = ["{settings.loss}"]\n' if settings.loss else "")


def sft(settings: Settings, budget: int, *, alone: bool = False) -> str:
    """SFT on the references, at its own best or as the start of a loop."""
    epochs = settings.sft_epochs[budget] if alone else settings.start_epochs[budget]
    return _phase("sft", _source("labelled.jsonl", limit=budget), _pair("examples"), _train("sft", settings.sft_rate, epochs))


def improver(settings: Settings, budget: int, role: str = "refine") -> str:
    """The policy learns to rewrite its answers to the prompts with references."""
    return _phase(
        "improver",
        _source("labelled.jsonl", limit=budget),
        _seed(settings.draft_temperature, settings.samples.get(budget, 1)),
        _improve(role),
        _filter(settings),
        _pair("examples", replay=settings.replay),
        _train("sft", settings.improver_rate, settings.improver_epochs),
        improver=settings.refiner if role == "refine" else "self",
    )


def round_of(settings: Settings, number: int) -> str:
    """One round of preferences on prompts of its own, without references."""
    keys = {} if number == 1 else {"improver": settings.improver}
    return _phase(
        f"policy{number}",
        _source("unlabelled.jsonl", (number - 1) * settings.round_prompts, settings.round_prompts),
        _seed(),
        _improve("improve"),
        _filter(settings, min_edit=settings.min_edit),
        _pair(),
        _preferences(settings),
        **keys,
    )


def _sgpo(settings: Settings, budget: int, rounds: int = 2) -> list[str]:
    return [sft(settings, budget), improver(settings, budget), *(round_of(settings, number) for number in range(1, rounds + 1))]


def _improved_alone(settings: Settings, budget: int) -> list[str]:
    """The same improved answers, learned by SFT without a pair."""
    phase = _phase(
        "policy1",
        _source("unlabelled.jsonl", 0, settings.round_prompts),
        _seed(),
        _improve("improve"),
        _filter(settings, min_edit=settings.min_edit),
        _pair(),
        _preferences(replace(settings, loss="sft")),
    )
    return [sft(settings, budget), improver(settings, budget), phase]


def _spin(settings: Settings, budget: int) -> list[str]:
    """arXiv 2401.01335: the reference over the model's own answer, twice."""
    rounds = [
        _phase(
            f"spin{number}",
            _source("labelled.jsonl", limit=budget),
            _seed(1.0),
            _pair(),
            _preferences(replace(settings, sft_weight=0.0)),
        )
        for number in (1, 2)
    ]
    return [sft(settings, budget), *rounds]


def _synpo(settings: Settings, budget: int) -> list[str]:
    """arXiv 2410.06961: a separate improver; every round trains the first model on the pairs so far."""
    plain = replace(settings, strategy="none")
    rounds = _phase(
        "policy",
        _source("unlabelled.jsonl"),
        _seed(),
        _improve("improve"),
        _filter(plain, min_edit=settings.min_edit),
        _pair(),
        _preferences(replace(settings, sft_weight=0.0)),
        rounds=2,
        prompts_per_round=settings.round_prompts,
        data_rounds=2,
        start_from="sft",
        improver="improver",
    )
    return [sft(settings, budget), improver(plain, budget), rounds]


def _graded(settings: Settings, budget: int) -> list[str]:
    """DPO on pairs of the policy's own answers that the grader has ordered: what a perfect judge would give."""
    return [
        sft(settings, budget),
        _phase("policy1", _source(graded_file(budget)), _pair(), _preferences(replace(settings, sft_weight=0.0), allow_policies=["given"])),
    ]


def graded_file(budget: int) -> str:
    """Where the pairs of `graded` are written."""
    return f"graded-{budget}.jsonl"


METHODS: Mapping[str, Callable[[Settings, int], list[str]]] = {
    "sft": lambda settings, budget: [sft(settings, budget, alone=True)],
    "sft start": lambda settings, budget: [sft(settings, budget)],
    "sgpo": _sgpo,
    "improved alone": _improved_alone,
    "spin": _spin,
    "synpo": _synpo,
    GRADED: _graded,
    **dict.fromkeys(("plain dpo", *OTHER_LOSSES), lambda settings, budget: _sgpo(replace(settings, sft_weight=0.0), budget, 1)),
    "apo-zero": lambda settings, budget: _sgpo(replace(settings, loss="apo_zero"), budget, 1),
    "sigmoid-norm": lambda settings, budget: _sgpo(replace(settings, loss="sigmoid_norm", beta=2.0), budget, 1),
    "no filter": lambda settings, budget: _sgpo(replace(settings, strategy="none"), budget, 1),
    "no replay": lambda settings, budget: _sgpo(replace(settings, replay=0.0), budget, 1),
    "no reference": lambda settings, budget: [sft(settings, budget), improver(settings, budget, "improve"), round_of(settings, 1)],
    "no improver": lambda settings, budget: [sft(settings, budget), round_of(settings, 1)],
}


def recipe(model: str, seed: int, phases: list[str]) -> str:
    """The recipe as TOML."""
    return "\n".join([f'model = "{model}"', f"seed = {seed}", "", *phases])
