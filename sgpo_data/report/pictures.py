"""Which charts a report has, and of which numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from sgpo_data.health.health import Health, RoundHealth
from sgpo_data.loop.rounds import Round
from sgpo_data.report.charts import Chart, Line, histograms, over_rounds, over_steps
from sgpo_data.report.distributions import distribution
from sgpo_data.report.text import PLACE, line
from sgpo_data.training.curves import Curve, curves


@dataclass(frozen=True)
class Pictures:
    """The charts, by what they are about."""

    perplexities: tuple[Chart, ...]
    over_rounds: tuple[Chart, ...]
    training: tuple[tuple[str, tuple[Chart, ...]], ...]
    """By round."""


def pictures(con: duckdb.DuckDBPyConnection, rounds: Sequence[Round], health: Health) -> Pictures:
    """All charts of these rounds."""
    found = []
    for made in rounds:
        if made.answers is None or not made.has("scored"):
            continue
        perplexities = distribution(con, made.answers, made.datasets.get("filtered"))
        if perplexities is not None:
            found.append(histograms(line(made.place, PLACE), perplexities))
    places = {made.place for made in rounds}
    drawn = _drift([each for each in health.rounds if each.place in places])
    training = tuple((made.place, charts) for made in rounds if made.model is not None and (charts := _training(curves(made.model.folder))))
    return Pictures(tuple(found), drawn, training)


def _drift(rounds: Sequence[RoundHealth]) -> tuple[Chart, ...]:
    """What changes from round to round, of the rounds that answer."""
    answering = [each for each in rounds if each.rows]

    def over(measure: str, name: str, colour: str, *, dashed: bool = False) -> Line:
        found = [(each.place, finding.value) for each in answering for finding in each.findings if finding.measure.name == measure]
        return Line(name, colour, tuple((line(place, PLACE), value) for place, value in found if value is not None), dashed)

    both = ("response", "improved")
    tokens = [over(f"{of}_tokens_{what}", f"{of}, {what}", of, dashed=what == "p95") for of in both for what in ("mean", "p95")]
    shares = [over("kept", "kept", "kept"), over("unchanged", "rewrite equals response", "response", dashed=True)]
    charts = (
        over_rounds("Tokens of an answer", tokens, form="~s", zero=True),
        over_rounds("Distinct word pairs", [over(f"{of}_distinct_2", of, of) for of in both], form=".0%", zero=True),
        over_rounds("Perplexity under the policy", [over("policy_ppl", "response", "response")], form=".3~g"),
        over_rounds("Shares of rows", shares, form=".0%", zero=True),
        over_rounds("Words changed by the rewrite, median", [over("edit", "improved", "improved")], form=".0%", zero=True),
        over_rounds("Pairs whose chosen is longer", [over("longer_chosen", "pairs", "improved")], form=".0%", zero=True),
    )
    return tuple(chart for chart in charts if chart is not None)


def _training(logged: dict[str, Curve]) -> tuple[Chart, ...]:
    def curve(name: str, told: str, colour: str) -> Line:
        found = logged.get(name)
        return Line(told, colour, tuple(zip(map(float, found.steps), found.values, strict=True)) if found else ())

    dpo = (
        over_steps("Rewards", [curve("rewards/chosen", "chosen", "improved"), curve("rewards/rejected", "rejected", "response")], form=".2~g", rule=0.0),
        over_steps("Pairs told apart", [curve("rewards/accuracies", "rewards/accuracies", "kept")], form=".0%", rule=0.5),
        over_steps("Log-likelihood", [curve("logps/chosen", "chosen", "improved"), curve("logps/rejected", "rejected", "response")], form="~s"),
    )
    sft = (
        over_steps("Token accuracy", [curve("mean_token_accuracy", "accuracy", "kept")], form=".0%"),
        over_steps("Learning rate", [curve("learning_rate", "learning rate", "muted")], form=".1e"),
    )
    charts = (over_steps("Loss", [curve("loss", "loss", "ink")], form=".3~g"), *(dpo if "rewards/chosen" in logged else sft))
    return tuple(chart for chart in charts if chart is not None)
