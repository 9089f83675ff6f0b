"""An optimizer over weights of 16 bits that steps in float32: rounded to 16 bits, most of its small steps would be no step at all."""

from typing import Any

import torch
from torch.optim import Optimizer

KEY = "float32_weights"
"""Of the copies in the optimizer's state, so that a training that was killed goes on from them."""


def step_in_float32(optimizer: Optimizer) -> Optimizer:
    """The optimizer, now over float32 copies of its 16-bit weights: its states are float32, and each step is rounded into the weights.

    Gradients are read from the weights, which zero them; before its first step it has to be as it was made.
    """
    copies: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
    for group in optimizer.param_groups:
        group["params"] = [_copied(weight, copies) if weight.dtype in (torch.bfloat16, torch.float16) else weight for weight in group["params"]]
    if not copies:
        return optimizer

    def read_gradients(*_: object) -> None:
        for weight, copy in copies.items():
            copy.grad = None if weight.grad is None else weight.grad.float()

    @torch.no_grad()
    def write_weights(*_: object) -> None:
        for weight, copy in copies.items():
            weight.copy_(copy)
            copy.grad = None

    def kept(_: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        return {**state, KEY: [copy.detach() for copy in copies.values()]}

    @torch.no_grad()
    def taken_up(_: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        for copy, before in zip(copies.values(), state.get(KEY, ()), strict=False):
            copy.copy_(before)
        return {name: value for name, value in state.items() if name != KEY}

    optimizer.register_step_pre_hook(read_gradients)
    optimizer.register_step_post_hook(write_weights)
    optimizer.register_state_dict_post_hook(kept)
    optimizer.register_load_state_dict_pre_hook(taken_up)
    return optimizer


def _copied(weight: torch.nn.Parameter, copies: dict[torch.nn.Parameter, torch.nn.Parameter]) -> torch.nn.Parameter:
    return copies.setdefault(weight, torch.nn.Parameter(weight.detach().float()))
