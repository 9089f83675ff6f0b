"""What a judge's verdicts come to: how often a model wins, how sure that is, and how far the judge can be trusted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from sgpo_data.errors import DatasetError
from sgpo_data.evaluation.judge.stage import Comparison
from sgpo_data.evaluation.judge.verdict import Verdict

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """A share between two bounds; `low` and `high` are None where there is nothing to draw from."""

    value: float
    low: float | None
    high: float | None

    def mirrored(self) -> "Rate":
        """Of the other model."""
        return Rate(1 - self.value, None if self.high is None else 1 - self.high, None if self.low is None else 1 - self.low)


@dataclass(frozen=True)
class JudgedPair:
    """A comparison with both of its verdicts, seen from one of the models."""

    score: float
    """Mean of what the model gets in the two orders."""
    first_scores: tuple[float, float]
    """What the first answer gets, in the order in which this model is first, then in the other."""
    verdicts: tuple[Verdict, Verdict]
    """In these orders."""
    answer: str
    other: str


@dataclass(frozen=True)
class Results:
    """The numbers of one evaluation, seen from `model`; a comparison counts only if both of its orders have a verdict."""

    model: str
    baseline: str
    judge: str
    comparisons: int
    judged: int
    verdicts: Mapping[str, int]
    """Rows by verdict as it was given, or by why there is none: unparsed, refused, too_long, timeout."""
    win_rate: Rate | None
    """Mean score of the model; None if nothing was judged."""
    wins: int
    ties: int
    losses: int
    first_preferred: float | None
    """Mean score of the answer that stands first, over the judged comparisons: 0.5 for a judge that does not mind the order."""
    consistent: float | None
    """Share of the judged comparisons that go to the same side in both orders."""
    length_adjusted_win_rate: float | None
    """Ours: where a logistic model of the scores is, were both answers as long. It is not the LC of AlpacaEval."""

    def mirrored(self) -> "Results":
        """The same, seen from the other model."""
        return replace(
            self,
            model=self.baseline,
            baseline=self.model,
            win_rate=None if self.win_rate is None else self.win_rate.mirrored(),
            wins=self.losses,
            losses=self.wins,
            length_adjusted_win_rate=None if self.length_adjusted_win_rate is None else 1 - self.length_adjusted_win_rate,
        )

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "verdicts": dict(self.verdicts)}


def results(rows: Sequence[Comparison], *, model: str) -> Results:
    """The numbers of these rows of `evaluations`, seen from this model; from the other they are exactly the mirror.

    Raises DatasetError if the rows are not of two models and one judge, one of which is this one.
    """
    names, judges = sorted({row["first"] for row in rows} | {row["second"] for row in rows}), sorted({row["judge"] for row in rows})
    if len(names) != 2 or len(judges) != 1 or model not in names:
        told = f"verdicts of {', '.join(judges) or 'no judge'} on {', '.join(names) or 'no model'}"
        raise DatasetError(f"{told}; give those of one judge on two models, of which {model} is one")
    # Always computed from the same side, so that the other is its mirror to the last digit.
    seen = names[0]
    pairs = judged_pairs(rows, model=seen)
    scores = np.array([pair.score for pair in pairs])
    found = Results(
        model=seen,
        baseline=names[1],
        judge=judges[0],
        comparisons=len({comparison_key(row) for row in rows}),
        judged=len(pairs),
        verdicts=dict(Counter(_outcome(row) for row in rows).most_common()),
        win_rate=_win_rate(scores),
        wins=int((scores > 0.5).sum()),
        ties=int((scores == 0.5).sum()),
        losses=int((scores < 0.5).sum()),
        first_preferred=float(np.mean([pair.first_scores for pair in pairs])) if pairs else None,
        consistent=float(np.mean([_consistent(pair) for pair in pairs])) if pairs else None,
        length_adjusted_win_rate=_length_adjusted(pairs),
    )
    return found if model == seen else found.mirrored()


def judged_pairs(rows: Sequence[Comparison], *, model: str) -> list[JudgedPair]:
    """The comparisons with a verdict in both orders, in the order of their keys, seen from this model."""
    orders: dict[tuple[str, int], dict[str, Comparison]] = {}
    for row in rows:
        orders.setdefault(comparison_key(row), {})[row["first"]] = row
    found = []
    for key in sorted(orders):
        ours = orders[key].get(model)
        theirs = next((row for name, row in orders[key].items() if name != model), None)
        if ours is None or theirs is None:
            continue
        first, second = ours["first_score"], theirs["first_score"]
        if first is None or second is None or ours["verdict"] is None or theirs["verdict"] is None:
            continue
        score = (first + (1 - second)) / 2
        found.append(JudgedPair(score, (first, second), (ours["verdict"], theirs["verdict"]), ours["first_answer"], ours["second_answer"]))
    return found


def comparison_key(row: Comparison) -> tuple[str, int]:
    """What the two orders of a comparison have in common."""
    return row["prompt_id"], row["sample"] // 2


def _outcome(row: Comparison) -> str:
    return row["verdict"] or (row["judgement_finish"] if row["judgement_finish"] in ("too_long", "refused", "timeout") else "unparsed")


def _consistent(pair: JudgedPair) -> bool:
    """Whether the answer that wins in one order wins in the other."""
    first, second = pair.first_scores
    return bool(np.sign(first - 0.5) == np.sign(0.5 - second))


def _win_rate(scores: Floats) -> Rate | None:
    if scores.size == 0:
        return None
    value = float(scores.mean())
    if scores.size == 1 or np.ptp(scores) == 0:
        return Rate(value, None, None)
    from scipy import stats

    interval = stats.bootstrap((scores,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile", rng=np.random.default_rng(0))
    return Rate(value, float(interval.confidence_interval.low), float(interval.confidence_interval.high))


def _length_adjusted(pairs: Sequence[JudgedPair]) -> float | None:
    """Logistic in the tanh of the length difference in standard deviations, read off at no difference."""
    difference = np.array([float(len(pair.answer) - len(pair.other)) for pair in pairs])
    if difference.size == 0 or np.ptp(difference) == 0:
        return None
    scores = np.array([pair.score for pair in pairs])
    return logistic_at_zero(np.tanh(difference / difference.std())[:, None], scores)


def logistic_at_zero(features: Floats, outcomes: Floats) -> float:
    """Where a logistic regression with an intercept is, at features of 0; by maximum likelihood, outcomes from 0 to 1."""
    from scipy import optimize

    design = np.hstack([np.ones((len(outcomes), 1)), features])

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits = design @ weights
        gradient = design.T @ (_sigmoid(logits) - outcomes)
        return float((np.logaddexp(0, logits) - outcomes * logits).sum()), gradient

    # Where one side wins everything the best weights are infinite.
    bounds = [(-30.0, 30.0)] * design.shape[1]
    found = optimize.minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-9, "ftol": 1e-14})
    return float(_sigmoid(found.x[:1])[0])


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0, -logits)), dtype=np.float64)
