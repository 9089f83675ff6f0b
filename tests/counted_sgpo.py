"""The real command line over real engines, with every request that an engine draws written to a file first.

python counted_sgpo.py COUNT_FILE seed prompts.jsonl ...
"""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import sgpo_data.running.engines
from sgpo_data.engines import GenerateRequest, ScoreRequest
from sgpo_data.running.engines import open_model

if TYPE_CHECKING:
    from sgpo_data.engines.opening import Engine

R = TypeVar("R", GenerateRequest, ScoreRequest, GenerateRequest | None)


def main() -> None:
    count_file, *arguments = sys.argv[1:]
    file = os.open(count_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def counted(requests: Iterable[R]) -> Iterator[R]:
        for request in requests:
            if request is not None:
                os.write(file, f"{request.key}\n".encode())
            yield request

    def opened(*given: object, **named: object) -> "Engine":
        engine = open_model(*given, **named)  # type: ignore[arg-type]
        generate, score = engine.generate, getattr(engine, "score", None)
        engine.generate = lambda requests: generate(counted(requests))  # type: ignore[method-assign, assignment]
        if score is not None:
            engine.score = lambda requests: score(counted(requests))  # type: ignore[union-attr, method-assign, assignment]
        return engine

    sgpo_data.running.engines.open_model = opened  # type: ignore[assignment]
    sys.argv = ["sgpo", *arguments]
    from sgpo_data.cli.main import main as sgpo

    sgpo()


if __name__ == "__main__":
    main()
