"""Checks of what the likelihood tells: references from spoilt copies, on the recipe's prompts and on prompts unlike them."""

from collections.abc import Iterator, Sequence
from statistics import quantiles

import polars as pl

from sgpo_data.preflight.check import Bound, Check, measured, share, skipped
from sgpo_data.preflight.spoilt import KINDS, PROBE
from sgpo_data.rows import Row
from sgpo_data.stages.filter.filter import GATES, Filter

TELLS = Bound(warn=0.8, fail=0.65)
SIGN = Bound(warn=0.7, fail=None)
UNLIKE = Bound(warn=0.6, fail=None)
UNLIKE_KEPT = Bound(warn=0.3, fail=None)
PASS_GATES = Bound(warn=0.5, fail=0.1)


def auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """Chance that a bad one lies above a good one, ties counted by half: the rank sum of Mann and Whitney over its greatest."""
    ranks = pl.Series([*good, *bad]).rank("average")[len(good) :]
    return (float(ranks.sum()) - len(bad) * (len(bad) + 1) / 2) / (len(good) * len(bad))


def likelihood_checks(scored: Sequence[Row]) -> Iterator[Check]:
    """AUC of the mean nll per token, of each kind of spoilt answer against the references."""
    own = [row for row in scored if not row["source"].startswith(PROBE)]
    good = _means(row for row in own if row["sample"] == 0)
    for sample, kind in enumerate(KINDS[1:], 1):
        name, bad = f"ppl tells references from {kind}", _means(row for row in own if row["sample"] == sample)
        if not good or not bad:
            yield skipped(name, "no likelihood: prompt and answer do not fit the context")
            continue
        number = auc(good, bad)
        if kind in ("shuffled", "foreign"):
            advice = "references are no likelier than answers to other prompts: look whether they belong to their prompts, or name another scorer"
            yield measured(name, number, "AUC", TELLS, advice)
        else:
            # Half an answer or one three times over may be likelier as well as less likely; a filter with two sides sees either.
            advice = f"the perplexity filter is blind to {kind} answers; the gates length and repetition are what is left against them"
            yield measured(name, max(number, 1 - number), "AUC", SIGN, advice)


def unlike_checks(scored: Sequence[Row], settings: Filter | None) -> Iterator[Check]:
    """On each kind of prompt unlike the recipe's: AUC, and how many of its references the fences around the recipe's would keep."""
    good = _means(row for row in scored if row["sample"] == 0 and not row["source"].startswith(PROBE))
    fences = _fences(good, settings)
    for source in sorted({row["source"] for row in scored if row["source"].startswith(PROBE)}):
        rows, kind = [row for row in scored if row["source"] == source], source.removeprefix(PROBE)
        own, other = (_means(row for row in rows if row["sample"] == sample) for sample in (0, 1))
        if own and other:
            advice = f"the scorer cannot tell on {kind} prompts; leave such prompts out, or name another scorer"
            yield measured(f"unlike prompts, {kind}: ppl", auc(own, other), "AUC", UNLIKE, advice)
        if own and fences is not None:
            kept = sum(fences[0] <= mean <= fences[1] for mean in own)
            advice = f"good answers to {kind} prompts would be dropped; give such rows fences of their own with ppl.group_by, or leave them out"
            yield share(f"unlike prompts, {kind}: kept", kept, len(own), UNLIKE_KEPT, advice, of="answers")


def gates_check(filtered: Sequence[Row]) -> Check:
    """How many references, taken as rewrites of the drafts, pass the gates of the text."""
    name = "references pass the gates"
    rows = [row for row in filtered if row["sample"] == 0 and not row["source"].startswith(PROBE) and row["finish"] == "stop"]
    failed = [next((rule for rule in _failed_rules(row) if rule in GATES), None) for row in rows]
    counts = ", ".join(f"{rule} {failed.count(rule)}" for rule in GATES if rule in failed)
    advice = f"they fail {counts}; loosen those gates, or the rewrites that are as good as references are dropped too"
    return share(name, failed.count(None), len(rows), PASS_GATES, advice, of="references with a draft")


def _failed_rules(row: Row) -> list[str]:
    found: list[str] = row["failed_rules"]  # type: ignore[typeddict-item]
    return found


def _means(rows: Iterator[Row]) -> list[float]:
    found = []
    for row in rows:
        nll, tokens = row["improved_nll"], row["improved_tokens"]
        if nll is not None and tokens:
            found.append(nll / tokens)
    return found


def _fences(good: list[float], settings: Filter | None) -> tuple[float, float] | None:
    """Around the mean nll of the recipe's references, as its filter draws them; None if it draws none."""
    if settings is None or len(good) < 4:
        return None
    if "tukey" in settings.ppl.chain:
        low, _, high = quantiles(good, n=4, method="inclusive")
        spread = settings.ppl.k * (high - low)
        return low - spread, high + spread
    if "quantile" in settings.ppl.chain:
        series = pl.Series(good)
        low, high = (series.quantile(share, "linear") or 0.0 for share in (settings.ppl.low, settings.ppl.high))
        return low, high
    return None
