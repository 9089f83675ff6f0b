"""The check of who wrote the pairs that are trained on: the model itself, or somebody the recipe names."""

from collections.abc import Iterator, Sequence

from sgpo_data.connection import connected
from sgpo_data.loop.plan import Step
from sgpo_data.names import GIVEN
from sgpo_data.preflight.check import Check
from sgpo_data.store.dataset import open_dataset
from sgpo_data.store.input import JobInput
from sgpo_data.store.state import state
from sgpo_data.training.job import TrainJob


def policy_checks(steps: Sequence[Step]) -> Iterator[Check]:
    """One check of each training on pairs; training itself refuses what fails here, after the rest was paid for."""
    for step in steps:
        if isinstance(step.job, TrainJob) and step.job.train.needs.compares:
            allowed = {step.job.start.record.identity, *step.job.train.allow_policies}
            authors = {author for given in step.job.inputs for author in _authors(given)}
            others = sorted(authors - allowed)
            value = f"pairs by {', '.join(others)}" if others else "pairs are the model's own, or allowed"
            advice = f"make pairs with the model itself, or say that they are meant: train.allow_policies = {others}" if others else ""
            yield Check(f"policy of pairs ({step.phase}-{step.round})", "fail" if others else "pass", value, "", advice)


def _authors(given: JobInput) -> set[str]:
    """Who wrote the rows: as they say if they are there, else the model that the plan has for them; given preferences have none."""
    if given.dataset is None and state(given.folder) != "made":
        return {GIVEN if given.policy is None else given.policy.identity}
    with connected() as con:
        dataset = given.dataset or open_dataset(given.folder)
        return {str(author) for (author,) in dataset.relation(con).aggregate(f"coalesce(policy, '{GIVEN}') AS author", "author").fetchall()}
