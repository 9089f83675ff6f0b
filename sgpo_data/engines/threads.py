"""Threads of torch on a CPU."""

import os
from functools import cache

import torch

SMALL = 5_000_000
"""Weights below which two threads wait for each other longer than they compute: beside other work a model of 0.8 million takes 10 to 70 times as long."""


def fit_threads(model: torch.nn.Module, *, beside: bool = False) -> None:
    """One thread for a small model, for any other as many as torch takes by itself; nothing where OMP_NUM_THREADS is set.

    `beside` another model, a small one changes nothing.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    default = _default()
    if sum(weight.numel() for weight in model.parameters()) >= SMALL:
        torch.set_num_threads(default)
    elif not beside:
        torch.set_num_threads(1)


@cache
def _default() -> int:
    return torch.get_num_threads()
