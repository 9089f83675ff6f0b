"""The real command line over the real engine, with every request that the engine draws written to a file first.

python counted_sgpo.py COUNT_FILE seed prompts.jsonl ...
"""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from sgpo_data.engines import GenerateRequest, ScoreRequest
from sgpo_data.engines.transformers import TransformersEngine

R = TypeVar("R", GenerateRequest, ScoreRequest)


def main() -> None:
    count_file, *arguments = sys.argv[1:]
    file = os.open(count_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def counted(requests: Iterable[R]) -> Iterator[R]:
        for request in requests:
            os.write(file, f"{request.key}\n".encode())
            yield request

    generate, score = TransformersEngine.generate, TransformersEngine.score
    TransformersEngine.generate = lambda self, requests, sampling: generate(self, counted(requests), sampling)  # type: ignore[method-assign]
    TransformersEngine.score = lambda self, requests: score(self, counted(requests))  # type: ignore[method-assign]
    sys.argv = ["sgpo", *arguments]
    from sgpo_data.cli.main import main as sgpo

    sgpo()


if __name__ == "__main__":
    main()
