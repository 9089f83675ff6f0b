"""The real command line over real engines, with every request that an engine draws written to a file first.

python counted_sgpo.py COUNT_FILE seed prompts.jsonl ...

SGPO_TEST_SECONDS is how long each request waits.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from sgpo_data.engines import GenerateRequest, ScoreRequest
from sgpo_data.engines.loading import Loading
from sgpo_data.execution import Execution
from sgpo_data.references.model import Model
from sgpo_data.running.engines import OpenedModel, open_model

R = TypeVar("R", GenerateRequest, ScoreRequest, GenerateRequest | None)


def main() -> None:
    count_file, *arguments = sys.argv[1:]
    seconds = float(os.environ.get("SGPO_TEST_SECONDS", "0"))

    def counted(requests: Iterable[R]) -> Iterator[R]:
        # Opened where the engine is, which may be another process.
        file = os.open(count_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        for request in requests:
            if request is not None:
                os.write(file, f"{request.key}\n".encode())
                time.sleep(seconds)
            yield request

    def opened(loading: Loading, model: Model, how: Execution) -> OpenedModel:
        engine = open_model(loading, model, how)
        generate, score = engine.generate, getattr(engine, "score", None)
        engine.generate = lambda requests: generate(counted(requests))  # type: ignore[method-assign]
        if score is not None:
            engine.score = lambda requests: score(counted(requests))  # type: ignore[attr-defined]
        return engine

    sys.argv = ["sgpo", *arguments]
    from sgpo_data.cli.main import main as sgpo

    sgpo(open_model=opened)


if __name__ == "__main__":
    main()
