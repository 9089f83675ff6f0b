"""The notebook of these pages: its cells are run in order, as Jupyter runs them, and kept with what they show."""

import ast
import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

NOTEBOOK = Path(__file__).parent / "notebook.ipynb"
FORMAT = {"nbformat": 4, "nbformat_minor": 5}

Text = Annotated[str, BeforeValidator(lambda lines: "".join(lines)), PlainSerializer(lambda text: text.splitlines(keepends=True))]
"""Stands as a list of lines, as Jupyter writes it."""


class Output(BaseModel):
    """What the last line of a cell comes to, by media type."""

    model_config = ConfigDict(extra="allow")

    data: dict[str, Text]
    output_type: str = "execute_result"
    execution_count: int
    metadata: dict[str, Text] = {}


class Cell(BaseModel):
    """A text or some code."""

    model_config = ConfigDict(extra="allow")

    cell_type: str
    id: str
    source: Text
    metadata: dict[str, Text] = {}
    execution_count: int | None = None
    outputs: list[Output] | None = None


def read_cells(path: Path = NOTEBOOK) -> list[Cell]:
    """The cells of a notebook, in order."""
    return [Cell.model_validate(cell) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def run_cells(cells: list[Cell]) -> list[Cell]:
    """The cells with what they show when they are run in this folder."""
    names: dict[str, object] = {"__name__": "__main__"}
    ran, count = [], 0
    for cell in cells:
        if cell.cell_type != "code":
            ran.append(cell)
            continue
        count += 1
        shown = _shown(_value(cell.source, names))
        outputs = [Output(data=shown, execution_count=count)] if shown else []
        ran.append(cell.model_copy(update={"execution_count": count, "outputs": outputs}))
    return ran


def notebook_page() -> str:
    """The notebook as a page: texts, code, and what it shows."""
    parts = []
    for cell in read_cells():
        parts.append(cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```")
        for output in cell.outputs or ():
            html = output.data.get("text/html")
            parts.append(f'<div class="output">{html}</div>' if html else f"```text\n{output.data['text/plain']}\n```")
    return "\n\n".join(parts) + "\n"


def _value(source: str, names: dict[str, object]) -> object:
    """What the last line of a cell comes to, None if it is no expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None


def _shown(value: object) -> dict[str, str]:
    if value is None:
        return {}
    html = getattr(value, "_repr_html_", None)
    # The tables of Polars bring a style of their own, which a page has no use for.
    own = {"text/html": html()} if html and type(value).__module__.startswith("sgpo_data") else {}
    return {"text/plain": repr(value), **own}


def _write() -> None:
    cells = read_cells()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        ran = run_cells(cells)
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    whole = {"cells": [cell.model_dump(exclude_unset=cell.cell_type != "code") for cell in ran], "metadata": kernel, **FORMAT}
    NOTEBOOK.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
