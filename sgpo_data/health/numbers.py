"""The numbers of a round's health, measured over all its rows as a stream, and from the curves of its training."""

import math
from collections.abc import Mapping, Sequence

import duckdb
import polars as pl

from sgpo_data.connection import connected
from sgpo_data.loop.rounds import Round, RoundModel
from sgpo_data.schema import schema
from sgpo_data.store.dataset import Dataset, unreadable
from sgpo_data.store.manifest import ModelManifest
from sgpo_data.text.measures import WORDS, Words
from sgpo_data.text.words import words
from sgpo_data.training.curves import Curve, curves

SAMPLE_ROWS = 2000
FEWEST_WORDS = 200
EARLY = (0.25, 0.5)
"""Epochs in which an accuracy is early: before it, the warmup has hardly moved the model."""
FEWEST_STEPS = 10
"""Of a training: with fewer there is no last tenth, and a number is that of a batch or two."""
FEWEST_REWARDED = 20
"""Rewrites of which a share says something."""
LEAST_COMMON = 50
"""References that two scorers must share for their likelihoods to be compared."""

ANSWERED = ("stop", "length", "empty")
"""How an answer ended, where there is one."""
EQUAL = "equal_responses: 1 - count(DISTINCT hash(response)) FILTER (WHERE response IS NOT NULL) / nullif(count(response), 0)"
UNCHANGED = ", unchanged: avg((improved = response)::INTEGER)"
LONGER = "longer_chosen: avg(coalesce(chosen_tokens > rejected_tokens, length(chosen[1].content) > length(rejected[1].content))::INTEGER)"
"""By tokens where both answers were scored, else by characters; equal lengths are not longer."""

Numbers = dict[str, float]


def row_numbers(made: Round) -> Numbers:
    """What the rows come to; a number that no row gives is left out.

    Raises DatasetError if a part cannot be read.
    """
    found: Numbers = {}
    if made.answers is not None:
        names = set(schema(made.answers.table).column_names)
        found |= _collected(made.answers.scan().select(**_aggregates(names)), made.answers)
        found |= _compared(made.answers, EQUAL + (UNCHANGED if "improved" in names else ""))
    if "pairs" in made.datasets:
        found |= _compared(made.datasets["pairs"], LONGER)
    return found


def training_numbers(model: RoundModel, pairs: Sequence[Dataset]) -> Numbers:
    """What the curves of a dpo training on these pairs come to; a number that was not logged is left out, and all of them after too few steps."""
    logged = curves(model.folder)
    if _steps(logged) < FEWEST_STEPS:
        return {}
    found: dict[str, float | None] = {}
    if accuracies := logged.get("rewards/accuracies"):
        found["last_accuracy"] = accuracies.end
        found["early_accuracy"] = accuracies.mean(*EARLY)
    if rewards := logged.get("rewards/chosen"):
        beta, tokens = _beta(model.manifest), _mean_chosen_tokens(pairs)
        # A reward is beta times the change against the reference policy, sequence by sequence; that policy need not be the start, step 0 is.
        found["chosen_drift"] = (rewards.end - rewards.values[0]) / beta / tokens if beta and tokens else None
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def few_steps(model: RoundModel) -> int | None:
    """Steps of a training that are too few to tell anything; None if they are enough, or if nothing was logged."""
    steps = _steps(curves(model.folder))
    return steps if 0 < steps < FEWEST_STEPS else None


def _steps(logged: Mapping[str, Curve]) -> int:
    return max((curve.steps[-1] for curve in logged.values()), default=0)


def answer_words(dataset: Dataset, column: str) -> Words:
    """The words of some answers, up to WORDS in all: those of the prompts that come first by their id, which is a digest.

    Raises DatasetError if a part cannot be read.
    """
    keys = ["prompt_id", "sample"]
    try:
        last = dataset.scan().select("prompt_id").bottom_k(SAMPLE_ROWS, by="prompt_id").max().collect(engine="streaming").item()
        if last is None:
            return []
        # By the key alone, so that no text is read of a row that is not drawn.
        drawn = dataset.scan().filter(pl.col("prompt_id") <= last).select(*keys, pl.col(column).str.slice(0, 20 * WORDS))
        texts = drawn.sort(keys).head(SAMPLE_ROWS).collect(engine="streaming")[column].drop_nulls().to_list()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(dataset.folder, error) from error
    found, room = [], WORDS
    for text in texts:
        found.append(words(text)[:room])
        room -= len(found[-1])
        if room <= 0:
            break
    return found


def reference_nll_rise(before: Sequence[Dataset], scored: Dataset) -> float | None:
    """Rise of the nll of references per token against the last earlier table of another scorer, over the prompts of both; None if they share too few.

    Raises DatasetError if a part cannot be read.
    """
    now = _scorer(scored)
    other = next((each for each in reversed(before) if _scorer(each) not in (None, now)), None)
    if other is None or now is None:
        return None
    joined = _references(scored).join(_references(other), on="prompt_id", suffix="_before")
    mean = [pl.col(f"reference_nll{end}").sum() / pl.col(f"reference_tokens{end}").sum() for end in ("", "_before")]
    try:
        common, rise = joined.select(pl.len(), rise=mean[0] - mean[1]).collect(engine="streaming").row(0)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(scored.folder, error) from error
    return float(rise) if common >= LEAST_COMMON else None


def _compared(dataset: Dataset, query: str) -> Numbers:
    """What a query over the rows gives.

    Texts are compared by DuckDB: Polars reads many row groups ahead, which for texts has no bound.
    """
    try:
        with connected() as con:
            dataset.relation(con).create_view("rows")
            ((found,),) = con.execute(f"SELECT struct FROM (SELECT {{{query}}} AS struct FROM rows)").fetchall()
    except duckdb.Error as error:
        raise unreadable(dataset.folder, error) from error
    return {name: float(value) for name, value in found.items() if value is not None}


def _aggregates(names: set[str]) -> dict[str, pl.Expr]:
    tokens = pl.col("response_tokens" if "response_tokens" in names else "sampled_tokens")
    found = {
        **_lengths("response", tokens),
        # Held against a limit, and against the round before.
        "response_truncated": _cut("finish"),
        "response_cut": _cut("finish"),
        "policy_ppl": (pl.col("sampled_nll").sum() / pl.col("sampled_tokens").filter(pl.col("sampled_nll").is_not_null()).sum()).exp(),
    }
    if "improved" in names:
        found |= {name: _cut("improved_finish") for name in ("improved_truncated", "improved_cut")}
    if "response_nll" in names:
        # ln p - ln q of the policy's own answers, so its mean is the KL divergence as far as temperature and top-p leave them samples of the policy.
        both = pl.col("response_nll").is_not_null() & pl.col("sampled_nll").is_not_null()
        found["kl"] = (pl.col("response_nll") - pl.col("sampled_nll")).filter(both).sum() / pl.col("response_tokens").filter(both).sum()
    if "edited_words" in names:
        longer = pl.max_horizontal("response_words", "improved_words")
        found |= _lengths("improved", pl.col("improved_tokens"))
        found |= {f"{of}_repeats": _repeats(of) for of in ("response", "improved")}
        found["edit"] = (pl.col("edited_words") / longer).filter(longer > 0).median()
    if "improved_reward" in names:
        found["preferred"] = _preferred()
    if "dropped_by" in names:
        # What was left out before anything was generated is no row that a filter lost.
        found["kept"] = pl.col("dropped_by").is_null().filter(pl.col("duplicate_of").is_null() & pl.col("contaminated_by").is_null()).mean()
        found["kept_since"] = found["kept"]
    return found


def _preferred() -> pl.Expr:
    """Share of the rewrites with the greater reward, a tie counting half; null of too few."""
    step = pl.col("improved_reward") - pl.col("response_reward")
    return pl.when(step.count() >= FEWEST_REWARDED).then((step.sign() + 1).mean() / 2)


def _lengths(of: str, tokens: pl.Expr) -> dict[str, pl.Expr]:
    return {f"{of}_tokens_mean": tokens.mean(), f"{of}_tokens_p95": tokens.quantile(0.95, "linear")}


def _cut(finish: str) -> pl.Expr:
    """Share of the answers there are."""
    return (pl.col(finish) == "length").sum() / pl.col(finish).is_in(ANSWERED).sum()


def _repeats(of: str) -> pl.Expr:
    grams = (pl.col(f"{of}_words").cast(pl.Int64) - 3).clip(lower_bound=0).sum()
    return pl.col(f"{of}_repeats").cast(pl.Int64).sum() / grams


def _collected(numbers: pl.LazyFrame, dataset: Dataset) -> Numbers:
    try:
        row: Mapping[str, float | None] = numbers.collect(engine="streaming").row(0, named=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(dataset.folder, error) from error
    return {name: float(value) for name, value in row.items() if value is not None and math.isfinite(value)}


def _beta(manifest: ModelManifest) -> float | None:
    beta = manifest.config.get("beta") if isinstance(manifest.config, dict) else None
    return float(beta) if isinstance(beta, int | float) else None


def _mean_chosen_tokens(pairs: Sequence[Dataset]) -> float | None:
    if not pairs:
        return None
    tokens = pl.concat([dataset.scan().select("chosen_tokens") for dataset in pairs]).select(pl.col("chosen_tokens").mean())
    found = _collected(tokens, pairs[0])
    return found.get("chosen_tokens")


def _scorer(dataset: Dataset) -> str | None:
    """The model that measured, as the rows name it."""
    first = dataset.scan().select("scorer").head(1).collect()
    return None if first.is_empty() else str(first.item())


def _references(dataset: Dataset) -> pl.LazyFrame:
    rows = dataset.scan().filter(pl.col("sample") == 0, pl.col("reference_nll").is_not_null())
    return rows.select("prompt_id", "reference_nll", "reference_tokens")


def trained_on(model: RoundModel, found: Mapping[str, Dataset]) -> list[Dataset]:
    """The pairs among these, by fingerprint, that the model was trained on; none if one of them is not there."""
    wanted = [record.fingerprint for record in model.manifest.identity.inputs]
    return [found[each] for each in wanted] if all(each in found for each in wanted) else []
