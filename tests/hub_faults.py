"""Faults of a hub: what goes wrong with which requests, how often, by seeded dice."""

import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["status", "reset", "cut_upload", "cut_download", "delay", "flip", "no_range", "call"]


@dataclass
class Fault:
    """What goes wrong with requests whose method and raw path (with its query) these patterns find."""

    kind: Kind
    """status: answered with one; reset: the connection is; cut_upload and cut_download: after half of the body; delay: answered late;
    flip: one bit of the body is; no_range: the whole is sent where a range is asked; call: something else happens, then a reset."""
    method: str = ""
    path: str = ""
    applied: bool = False
    """Whether status, reset and call come after the effect, so that only the answer is lost."""
    skip: int = 0
    """Requests let through first."""
    times: int | None = None
    """Requests it befalls at most."""
    probability: float = 1.0
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    call: Callable[[], object] | None = None

    def befalls(self, method: str, path: str, dice: random.Random) -> bool:
        if not re.search(self.method, method) or not re.search(self.path, path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times == 0 or dice.random() >= self.probability:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Faults:
    """The first fault that befalls a request is the only one it has."""

    def __init__(self, seed: int = 0) -> None:
        self.dice = random.Random(seed)
        self.lock = threading.Lock()
        self.rules: list[Fault] = []

    def add(self, *rules: Fault) -> None:
        with self.lock:
            self.rules += rules

    def clear(self) -> None:
        with self.lock:
            self.rules.clear()

    def drawn(self, method: str, path: str) -> Fault | None:
        with self.lock:
            return next((rule for rule in self.rules if rule.befalls(method, path, self.dice)), None)
