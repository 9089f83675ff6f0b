"""A publisher as a process of its own, to be killed: the real command, without the pauses."""

import os
from pathlib import Path
from types import SimpleNamespace


def publish_in_process(arguments: list[str]) -> None:
    from huggingface_hub.utils import _http
    from sgpo_data.cli.main import app

    from sgpo_data.hub import client as hub

    hub.PAUSE_SECONDS = 0.0
    _http.time = SimpleNamespace(**vars(_http.time) | {"sleep": lambda seconds: None})  # type: ignore[assignment]
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        app(arguments)
