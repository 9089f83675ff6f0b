"""The flags of Execution: every command takes all of them, as the scripts of a plan give them, and shows those that it has a use for."""

import inspect
from collections.abc import Iterator

from sgpo_data.execution import Execution

from .flags import parameters

PANEL = "How it is run"

TABLES = frozenset({"root", "stream", "allow_secrets"})
"""What filter and pair use: they load no model, and their one part is not journaled."""
ANSWERS = frozenset(
    {
        *("root", "device", "batch_tokens", "tensor_parallel", "data_parallel", "ray", "ray_workers", "memory_share"),
        *("base_url", "key_variable", "request_seconds", "window", "part_rows", "status", "progress"),
    }
)
"""What is used where models write or score in the store."""
ROWS = ANSWERS | TABLES
"""What seed, improve and score-ppl use."""
TRACKERS = frozenset({"report_to", "project", "run_name"})
TRAINING = TRACKERS | {"root", "device", "batch_tokens", "data_parallel", "sharding", "status", "progress"}
"""What train uses."""
PREFLIGHT = ANSWERS | TRACKERS | {"sharding"}
"""What preflight uses: it asks of trainings whether they could begin."""
LOOP = ANSWERS | TRAINING
"""What run uses."""


def execution_parameters(uses: frozenset[str]) -> Iterator[inspect.Parameter]:
    """All of them, with those hidden from help and completion that the command has no use for."""
    yield from parameters(Execution, panel=PANEL, hidden=frozenset(Execution.model_fields) - uses)
