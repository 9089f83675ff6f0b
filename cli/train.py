"""sgpo train: the model that comes next."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sgpo_data.connection import connected
from sgpo_data.errors import UsageError
from sgpo_data.execution import Execution
from sgpo_data.training.nodes import Nodes
from sgpo_data.training.options import Train

from .flags import built, parameters
from .how import PANEL, TRAINING, execution_parameters
from .references import refuse_missing, typed

if TYPE_CHECKING:
    from sgpo_data.references.model import Model
    from sgpo_data.store.dataset import Dataset


def add_train(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("train", help=inspect.getdoc(Train), rich_help_panel="Train")(_command())


def _command() -> Callable[..., None]:
    def command(references: list[str], out: Path | None, model: str | None, json: bool, **given: object) -> None:
        # DuckDB and Arrow take a while to import: --help does without.
        from sgpo_data.paths import local_path
        from sgpo_data.references.dataset import existing
        from sgpo_data.references.model import find_model
        from sgpo_data.store.input import input_of
        from sgpo_data.training.job import do_train
        from sgpo_data.training.planning import planned_training

        execution, nodes = built(Execution, given), built(Nodes, given)
        nodes.check()
        train = built(Train, given)
        references = [typed(reference) for reference in references]
        refuse_missing(references, model, execution.root)
        datasets = [existing(reference, execution.root) for reference in references]
        if model is None:
            raise UsageError(f"--model: name the model that training starts from{_authors(datasets)}")
        job = planned_training(train, tuple(input_of(dataset, str(dataset.folder)) for dataset in datasets), find_model(model))
        _print_trained(do_train(job, local_path(out) if out else execution.store / job.name, execution, nodes), as_json=json)

    signature = [
        *_common(),
        *parameters(Train, panel="What is trained (recipe keys)"),
        *execution_parameters(TRAINING),
        *parameters(Nodes, panel=PANEL),
    ]
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    return command


def _common() -> list[inspect.Parameter]:
    found: dict[str, tuple[object, object]] = {
        "references": (
            Annotated[list[str], typer.Argument(metavar="INPUT...", help="Pairs or examples, trained on together; - reads a reference from standard input.")],
            inspect.Parameter.empty,
        ),
        "out": (Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write; the store if not given.")], None),
        "model": (Annotated[str | None, typer.Option("--model", help="Model folder to start from, or org/name@revision.")], None),
        "json": (Annotated[bool, typer.Option("--json", help="Print a summary as JSON in place of the folder.")], False),
    }
    return [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default) for name, (annotation, default) in found.items()]


def _authors(datasets: "list[Dataset]") -> str:
    """Who wrote these pairs, as the end of a sentence."""

    found: set[str] = set()
    for dataset in datasets:
        if dataset.table == "pairs":
            with connected() as con:
                found |= {str(author) for (author,) in dataset.relation(con).filter("policy IS NOT NULL").project("policy").distinct().fetchall()}
    return f"; these pairs are by {', '.join(sorted(found))}" if found else ""


def _print_trained(model: "Model", *, as_json: bool) -> None:
    from sgpo_data.references.model import model_manifest

    manifest = model_manifest(model.folder)
    assert manifest is not None
    if not as_json:
        print(model.folder)
        return
    kept = {"fingerprint", "weights", "rows", "left_out", "metrics", "seconds", "tokens", "deterministic"}
    print(orjson.dumps({"reference": str(model.folder), "model": model.record.identity, **manifest.model_dump(include=kept)}).decode())
