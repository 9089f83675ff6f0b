"""Which charts a report has, and of which numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb

from sgpo_data.health.health import Health, RoundHealth
from sgpo_data.loop.rounds import Round
from sgpo_data.report.charts import Chart, Line, histograms, over_rounds, over_steps
from sgpo_data.report.distributions import distribution
from sgpo_data.report.text import PLACE, line
from sgpo_data.sealed import visible
from sgpo_data.training.curves import Curve, curves

Points = tuple[tuple[float | str, float], ...]


@dataclass(frozen=True)
class Pictures:
    """The charts, by what they are about."""

    perplexities: tuple[Chart, ...]
    over_rounds: tuple[Chart, ...]
    training: tuple[tuple[str, tuple[Chart, ...]], ...]
    """By round."""


@dataclass(frozen=True)
class OtherRun:
    """A run that another is held against."""

    name: str
    rounds: Sequence[Round]
    health: Health

    @property
    def curves(self) -> dict[str, dict[str, Curve]]:
        """Of the trainings, by round."""
        return {made.place: curves(made.model.folder) for made in self.rounds if made.model is not None}


def pictures(con: duckdb.DuckDBPyConnection, rounds: Sequence[Round], health: Health, other: OtherRun | None = None) -> Pictures:
    """All charts of these rounds; those of the other run as faint lines of the same chart, or as charts beside."""
    beside = {made.place: made for made in other.rounds} if other else {}
    found = []
    for made in rounds:
        found += _perplexities(con, made, "")
        if other and made.place in beside:
            found += _perplexities(con, beside[made.place], f" · {visible(other.name)}")
    logged = other.curves if other else {}
    training = tuple(
        (made.place, charts) for made in rounds if made.model is not None and (charts := _training(curves(made.model.folder), logged.get(made.place, {})))
    )
    return Pictures(tuple(found), _drift(_shown(rounds, health), _shown(other.rounds, other.health) if other else []), training)


def _perplexities(con: duckdb.DuckDBPyConnection, made: Round, behind: str) -> list[Chart]:
    if made.answers is None or not made.has("scored"):
        return []
    found = distribution(con, made.answers, made.datasets.get("filtered"))
    return [] if found is None else [histograms(line(made.place, PLACE) + behind, found)]


def _shown(rounds: Sequence[Round], health: Health) -> list[RoundHealth]:
    """The health of the rounds that answer."""
    places = {made.place for made in rounds}
    return [each for each in health.rounds if each.place in places and each.rows]


def _drift(rounds: Sequence[RoundHealth], beside: Sequence[RoundHealth]) -> tuple[Chart, ...]:
    """What changes from round to round."""

    def over(measure: str, name: str, colour: str, *, dashed: bool = False) -> list[Line]:
        def of(answering: Sequence[RoundHealth]) -> Points:
            found = [(each.place, finding.value) for each in answering for finding in each.findings if finding.measure.name == measure]
            return tuple((line(place, PLACE), value) for place, value in found if value is not None)

        return _both(Line(name, colour, of(rounds), dashed), of(beside))

    both = ("response", "improved")
    tokens = [each for of in both for what in ("mean", "p95") for each in over(f"{of}_tokens_{what}", f"{of}, {what}", of, dashed=what == "p95")]
    shares = [*over("kept", "kept", "kept"), *over("unchanged", "rewrite equals response", "response", dashed=True)]
    charts = (
        over_rounds("Tokens of an answer", tokens, form="~s", zero=True),
        over_rounds("Distinct word pairs", [each for of in both for each in over(f"{of}_distinct_2", of, of)], form=".0%", zero=True),
        over_rounds("Perplexity under the policy", over("policy_ppl", "response", "response"), form=".3~g"),
        over_rounds("Shares of rows", shares, form=".0%", zero=True),
        over_rounds("Words changed by the rewrite, median", over("edit", "improved", "improved"), form=".0%", zero=True),
        over_rounds("Pairs whose chosen is longer", over("longer_chosen", "pairs", "improved"), form=".0%", zero=True),
    )
    return tuple(chart for chart in charts if chart is not None)


def _both(drawn: Line, beside: Points) -> list[Line]:
    """The line, and that of the run beside."""
    return [drawn, replace(drawn, name=f"{drawn.name} beside", points=beside, faint=True)]


def _training(logged: dict[str, Curve], beside: dict[str, Curve]) -> tuple[Chart, ...]:
    def curve(name: str, told: str, colour: str) -> list[Line]:
        ours, theirs = (tuple(zip(map(float, found.steps), found.values, strict=True)) if (found := of.get(name)) else () for of in (logged, beside))
        return _both(Line(told, colour, ours), theirs)

    dpo = (
        over_steps("Rewards", [*curve("rewards/chosen", "chosen", "improved"), *curve("rewards/rejected", "rejected", "response")], form=".2~g", rule=0.0),
        over_steps("Pairs told apart", curve("rewards/accuracies", "rewards/accuracies", "kept"), form=".0%", rule=0.5),
        over_steps("Log-likelihood", [*curve("logps/chosen", "chosen", "improved"), *curve("logps/rejected", "rejected", "response")], form="~s"),
    )
    sft = (
        over_steps("Token accuracy", curve("mean_token_accuracy", "accuracy", "kept"), form=".0%"),
        over_steps("Learning rate", curve("learning_rate", "learning rate", "muted"), form=".1e"),
    )
    charts = (over_steps("Loss", curve("loss", "loss", "ink"), form=".3~g"), *(dpo if "rewards/chosen" in logged else sft))
    return tuple(chart for chart in charts if chart is not None)
