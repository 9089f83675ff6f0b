"""What a recipe's keys ask of each other: stages that follow, phases that are there, templates that agree."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from jinja2 import meta

from sgpo_data.errors import got, nearest
from sgpo_data.evaluation.judge.stage import Judge
from sgpo_data.names import ENDPOINT, GIVEN
from sgpo_data.recipe.faults import Fault, KeyPath
from sgpo_data.recipe.recipe import FIRST, ORIGIN, PREVIOUS, RECIPE, SELF, START, Phase
from sgpo_data.sources.picking import quotas
from sgpo_data.stages.improve.templates import Template
from sgpo_data.training.options import Train
from sgpo_data.training.settings import trl_faults

SHOWN = {"improve_template": ("messages", "response"), "refine_template": ("messages", "response", "reference")}


def phase_faults(phase: Phase) -> list[Fault]:
    """What makes no sense within one phase; places are below it."""
    return [*_sequence(phase), *_rounds(phase), *_templates(phase)]


def training_faults(train: Train) -> list[Fault]:
    """What TRL would refuse of a training; places are below its phase."""
    return [Fault(("train", *fault.key.split(".")), f"{fault.message} {got(fault.value)}") for fault in trl_faults(train)]


def reference_faults(phase: Phase, number: int, names: Sequence[str], folder: Path) -> list[Fault]:
    """Keys of the phase at this position that name no model; places are below it, `names` are those of all phases in order."""
    return list(_References(number, names, folder).faults(phase))


def recipe_faults(phases: Mapping[int, Phase], names: Sequence[str]) -> list[Fault]:
    """What makes no sense between phases, given by position."""
    twice = [(number, name) for number, name in enumerate(names, 1) if name in names[: number - 1]]
    found = [
        Fault(("phases", number, "name"), f"phase {names.index(name) + 1} is called so already {got(name)}; give each a name of its own")
        for number, name in twice
    ]
    for number, phase in phases.items():
        found += [fault for name in _named(phase) for fault in _untrained(phases, names, number, name)]
        trained = _improver_of(phases, names, number)
        if trained is not None and phase.improve is not None and trained.improve is not None:
            mine, theirs = phase.improve.improve_template, trained.improve.improve_template
            if mine.text != theirs.text:
                found.append(
                    Fault(
                        ("phases", number, "improve", "improve_template"),
                        f"is not the text that phase {trained.name} trains this improver with, {theirs.name} {got(mine.name)}; give both phases the same",
                    )
                )
    return found


def _sequence(phase: Phase) -> Iterator[Fault]:
    """Each stage reads what the one before it writes; the first one reads the source."""
    if phase.evaluates_alone:
        return
    if phase.source is None:
        yield Fault(("source",), f"is missing, and phase {phase.name} has nothing to read; add [phases.source] with path = a file or a Hub dataset")
    if not phase.stages and phase.train is None:
        yield Fault((), f"phase {phase.name} has no stage; add [phases.seed], [phases.pair] or another")
    table = None
    for stage in phase.stages:
        if table is not None and table not in stage.reads:
            yield Fault((stage.stage_name,), f"reads {' or '.join(stage.reads)}, but the stage before it in the phase writes {table}; add the one between")
        if stage.stage_name == "pair" and phase.pair is not None and phase.pair.kind == "examples" and table == "responses":
            yield Fault(("pair", "kind"), f"of responses only pairs can be made {got('examples')}; write pairs, or add improve, score-ppl and filter")
        table = stage.writes
    if phase.train is None:
        return
    wanted = phase.train.needs.reads
    if phase.pair is not None and phase.pair.kind != wanted:
        yield Fault(
            ("train", "objective"), f"{phase.train.objective} reads {wanted}, but pair.kind is {phase.pair.kind} {got(phase.train.objective)}; change one"
        )
    elif phase.pair is None and phase.stages:
        yield Fault(("train",), f"reads {wanted}, and no stage of phase {phase.name} writes them; add [phases.pair]")


def _rounds(phase: Phase) -> Iterator[Fault]:
    source, slices = phase.source, phase.prompts_per_round
    if slices is not None and source is None:
        yield Fault(("prompts_per_round",), f"there is no source to take them from {got(slices)}; add [phases.source]")
    if slices is not None and source is not None and source.limit is not None:
        yield Fault(("source", "limit"), f"prompts_per_round says how many already {got(source.limit)}; remove one")
    if slices is not None and source is not None and source.more:
        if source.shares is None:
            yield Fault(("prompts_per_round",), f"of several sources each needs a share of them {got(slices)}; give each source a share, together 1")
        elif not all(quotas(slices, source.shares)):
            yield Fault(("prompts_per_round",), f"are too few for one prompt of each source in these shares {got(slices)}; raise it, or a share")
    if phase.rounds > 1 and slices is None and phase.train is None:
        yield Fault(("rounds",), f"every round would make the same, without train and without prompts_per_round {got(phase.rounds)}; add one")
    if phase.data_rounds > 1 and phase.train is None:
        yield Fault(("data_rounds",), f"there is no train to read them {got(phase.data_rounds)}; remove it")
    for named in phase.models:
        if named.stage not in [type(stage) for stage in phase.stages] and named.model != Phase.model_fields[named.key].default:
            yield Fault((named.key,), f"there is no {named.stage.stage_name} to use it {got(named.model)}; remove it")
    yield from _judging(phase)


def _judging(phase: Phase) -> Iterator[Fault]:
    """Who says what is better."""
    if phase.judge is None and phase.verdicts != Judge():
        yield Fault(("verdicts",), "there is no judge to give them; name one with judge, or remove it")
    if phase.judge is not None and phase.filter is None:
        yield Fault(("judge",), f"there is no filter to read its verdicts {got(phase.judge)}; remove it, or add [phases.filter]")
    if phase.judge is not None and phase.reward_model is not None:
        yield Fault(("judge",), f"the reward model says already what is better {got(phase.judge)}; remove judge or reward_model")
    rewarded = phase.reward_model is not None or phase.judge is not None
    if phase.filter is not None and phase.score_ppl is not None and "margin" in phase.filter.ppl.chain and not rewarded:
        yield Fault(("filter", "ppl", "strategy"), f"margin reads rewards {got(phase.filter.ppl.strategy)}; name a reward_model or judge in phase {phase.name}")


def _templates(phase: Phase) -> Iterator[Fault]:
    if phase.improve is None:
        return
    for key, shown in SHOWN.items():
        template: Template = getattr(phase.improve, key)
        unknown = sorted(meta.find_undeclared_variables(jinja2.Environment().parse(template.text)) - set(shown))
        if unknown:
            yield Fault(("improve", key), f"uses {unknown[0]}, which it is not given; it may use {', '.join(shown)} {got(template.name)}")


@dataclass(frozen=True)
class _References:
    """The keys of one phase that name a model."""

    number: int
    names: Sequence[str]
    folder: Path

    def faults(self, phase: Phase) -> Iterator[Fault]:
        """Those that name nothing."""
        yield from self._fault(("start_from",), phase.start_from, (PREVIOUS, FIRST, RECIPE), others="")
        for named in phase.models:
            if named.words:
                yield from self._fault((named.key,), named.model, named.words, others="a model")
            elif "/" not in named.model and not (self.folder / named.model).is_dir():
                yield Fault((named.key,), f"is no folder beside the recipe and no model of the Hub {got(named.model)}; give a folder or org/name@revision")
        if phase.train is not None:
            yield from self._fault(("train", "reference"), phase.train.reference, (START, ORIGIN, FIRST, RECIPE), others="a model")
            for policy in phase.train.allow_policies:
                if ":" not in policy:
                    yield from self._fault(("train", "allow_policies"), policy, (PREVIOUS, FIRST, RECIPE, GIVEN), others="an identity such as hub:...")

        if phase.judge is not None:
            yield from self._fault(("judge",), phase.judge, (RECIPE,), others="a model")
        if phase.evaluate is not None:
            if phase.evaluate.judge is not None:
                yield from self._fault(("evaluate", "judge"), phase.evaluate.judge, (RECIPE,), others="a model")
            yield from self._fault(("evaluate", "baseline"), phase.evaluate.baseline, (RECIPE, START), others="a model")

    def _fault(self, place: KeyPath, value: str, words: Sequence[str], *, others: str) -> Iterator[Fault]:
        earlier = self.names[: self.number - 1]
        if value in words or value in earlier:
            return
        if value in self.names:
            yield Fault(place, f"phase {value} does not come before this one {got(value)}; name an earlier one")
        elif not (others == "a model" and ("/" in value or value.startswith(ENDPOINT) or (self.folder / value).exists())):
            ending = f", or {others}" if others else ""
            yield Fault(place, f"no phase before this one is called so{nearest(value, [*words, *earlier])}{ending} {got(value)}")


def _named(phase: Phase) -> Iterator[tuple[KeyPath, str]]:
    yield ("start_from",), phase.start_from
    for named in phase.models:
        yield (named.key,), named.model
    if phase.train is not None:
        yield ("train", "reference"), phase.train.reference
    yield ("judge",), phase.judge or RECIPE
    if phase.evaluate is not None:
        yield ("evaluate", "baseline"), phase.evaluate.baseline
        yield ("evaluate", "judge"), phase.evaluate.judge or RECIPE


def _untrained(phases: Mapping[int, Phase], names: Sequence[str], number: int, named: tuple[KeyPath, str]) -> Iterator[Fault]:
    place, name = named
    target = phases.get(names.index(name) + 1) if name in names[: number - 1] else None
    if target is not None and target.train is None:
        yield Fault(("phases", number, *place), f"phase {name} trains no model {got(name)}; name one that has [phases.train]")


def _improver_of(phases: Mapping[int, Phase], names: Sequence[str], number: int) -> Phase | None:
    """The earlier phase that last trained the improver of this one to rewrite, if there is one."""
    phase = phases[number]
    if phase.improver == RECIPE or (phase.improver != SELF and phase.improver not in names[: number - 1]):
        return None
    at: int | None = _before(phase, names, number) if phase.improver == SELF else names.index(phase.improver) + 1
    while at is not None and at in phases:
        if phases[at].trains_improver:
            return phases[at]
        at = _before(phases[at], names, at)
    return None


def _before(phase: Phase, names: Sequence[str], number: int) -> int | None:
    """Position of the phase whose model this one starts from, None for the recipe's."""
    if phase.start_from in names[: number - 1]:
        return names.index(phase.start_from) + 1
    return None if phase.start_from == RECIPE or number == 1 else number - 1
