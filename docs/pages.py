"""Pages of the documentation that are derived: commands, recipe keys, shipped recipes and tables from the code, others from files of the repository."""

import re
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from inspect import getdoc
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    import typer._click.core as click
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
MEASURED = ROOT / "benchmarks"


def derived_pages() -> dict[str, str]:
    """Markdown by the name of its file."""
    pages = {"index.md": _moved("README.md"), "changelog.md": _moved("CHANGELOG.md"), "measured.md": measured_page(), "notebook.md": notebook_page()}
    pages |= {f"results/{path.name}": path.read_text(encoding="utf-8") for path in sorted((MEASURED / "results").glob("*.md"))}
    return pages | {"commands.md": command_list(), **command_pages(), "keys.md": keys_page(), "shipped.md": shipped_page(), "tables.md": tables_page()}


def pictures() -> list[Path]:
    """The pictures that measured pages show."""
    return sorted((MEASURED / "results").glob("*.svg"))


def command_list() -> str:
    """Every command with the first sentence of its help."""
    lines = ["# Commands", "", "As `sgpo COMMAND --help-all` tells it; nothing here is written by hand.", "", "| command | does |", "| --- | --- |"]
    lines += [f"| [`sgpo {name}`](commands/{_file(name)}) | {_cell(_about(command).split(chr(10) * 2)[0])} |" for name, command in _commands()]
    return "\n".join(lines) + "\n"


def command_pages() -> dict[str, str]:
    """A page for each command."""
    return {f"commands/{_file(name)}": "\n".join(_command_lines(name, command)) + "\n" for name, command in _commands()}


def keys_page() -> str:
    """The keys of a recipe, by table."""
    from sgpo_data.recipe.recipe import Phase

    lines = ["# Recipe keys", "", "Before the phases: `model` (needed), `adapter`, `seed` (0) and `template.NAME`.", "", "## `[[phases]]`", ""]
    sections = {field.alias or name: _inner(field.annotation) for name, field in Phase.model_fields.items()}
    lines += _key_lines((field.alias or name, field) for name, field in Phase.model_fields.items() if sections[field.alias or name] is None)
    for name, model in sections.items():
        if model is not None:
            lines += ["", f"## `[phases.{name}]`", "", getdoc(model) or "", "", *_key_lines(_flat(model))]
    return "\n".join(lines) + "\n"


def shipped_page() -> str:
    """The recipes that come along, whole."""
    from sgpo_data.recipe.shipped import shipped_recipes

    lines = ["# Recipes that come along", "", "`sgpo init NAME` writes one as `recipes/NAME.toml`; [Recipes](recipes.md) explains the keys."]
    for recipe in shipped_recipes().values():
        lines += ["", f"## {recipe.name}", "", "```toml", recipe.text.strip(), "```"]
    return "\n".join(lines) + "\n"


def tables_page() -> str:
    """Every table with its columns, as `schemas/*.sql` declares them."""
    from sgpo_data.schema import schema, tables

    lines = ["# Tables", "", "A table that extends another has its columns too. `sgpo inspect` shows them with what a dataset holds."]
    for name in tables():
        found = schema(name)
        inherited = {column.name for column in schema(found.extends).columns} if found.extends else set()
        lines += [
            "",
            f"## {name}",
            "",
            f"{found.comment} Version {found.version}, key `({', '.join(found.key)})`"
            + (f", extends [{found.extends}](#{found.extends})." if found.extends else "."),
        ]
        lines += ["", "| column | type | is |", "| --- | --- | --- |"]
        lines += [f"| `{each.name}` | `{each.sql_type}` | {_cell(each.comment or '')} |" for each in found.columns if each.name not in inherited]
    return "\n".join(lines) + "\n"


def measured_page() -> str:
    """What the benchmarks ask, and their results."""
    text = (MEASURED / "README.md").read_text(encoding="utf-8").replace("# Benchmarks", "# Measured", 1)
    links = "\n".join(f"- [{path.stem}](results/{path.name})" for path in sorted((MEASURED / "results").glob("*.md")))
    return f"{text}\n## Results\n\n{links}\n"


def notebook_page() -> str:
    """The notebook, with what it shows."""
    # MkDocs runs this file by its path, so that its folder is none of those that are imported from.
    spec = spec_from_file_location("notebook", Path(__file__).with_name("notebook.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.notebook_page())


def _moved(name: str) -> str:
    """A file of the repository's top folder, with its links as they are from docs/."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = text.replace("](docs/", "](").replace("](benchmarks/results/", "](results/").replace("](benchmarks/README.md)", "](measured.md)")
    return text.replace("](CHANGELOG.md)", "](changelog.md)").replace("](recipes/)", "](shipped.md)").replace("](schemas/)", "](tables.md)")


def _commands() -> "Iterator[tuple[str, click.Command]]":
    """Every command by its words, those of groups too."""
    from sgpo_data.cli.main import app
    from typer.main import get_command

    yield from _within("", get_command(app))


def _within(words: str, command: "click.Command") -> "Iterator[tuple[str, click.Command]]":
    inner: dict[str, click.Command] = getattr(command, "commands", {})
    if not inner:
        yield words.strip(), command
    for name, each in inner.items():
        yield from _within(f"{words} {name}", each)


def _command_lines(name: str, command: "click.Command") -> Iterator[str]:
    """The page of one command: its help, its arguments, and its flags by panel."""
    from sgpo_data.stages.order import STAGES

    stage = next((each for each in STAGES if each.stage_name == name), None)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    yield from (f"# sgpo {name}", "", _about(command), "", "```text", " ".join(["sgpo", name, *(_metavar(each) for each in arguments), "[OPTIONS]"]), "```", "")
    yield from ("```text", *(command.epilog or "").splitlines(), "```", "")
    if stage is not None:
        reads = ", ".join(f"[{table}](../tables.md#{table})" for table in stage.reads)
        yield from (f"Reads {reads}. Its keys in a recipe stand in [Recipe keys](../keys.md).", "")
    panels: dict[str, list[click.Parameter]] = {"Arguments": arguments} if arguments else {}
    for each in command.params:
        if each.param_type_name != "argument" and not getattr(each, "hidden", False):
            panels.setdefault(getattr(each, "rich_help_panel", None) or "Options", []).append(each)
    for panel, parameters in panels.items():
        yield from (f"## {panel}", "", "| flag | default | is |", "| --- | --- | --- |")
        yield from (f"| {_names(each)} | {_default(each)} | {_cell(getattr(each, 'help', '') or '')} |" for each in parameters)
        yield ""


def _key_lines(fields: Iterator[tuple[str, FieldInfo]]) -> list[str]:
    rows = [
        f"| `{name}` | {_value(None if field.is_required() else field.get_default(call_default_factory=True))} | {_cell(field.description or '')} |"
        for name, field in fields
    ]
    return ["| key | default | is |", "| --- | --- | --- |", *rows]


def _flat(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The fields, nested ones as `outer.inner`."""
    for name, field in model.model_fields.items():
        inner = _inner(field.annotation)
        if inner is None or get_origin(field.annotation) is tuple:
            yield prefix + name, field
        else:
            yield from _flat(inner, f"{prefix}{name}.")


def _inner(annotation: object) -> type[BaseModel] | None:
    """The model that a field holds, if it holds one."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((each for each in options if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _about(command: "click.Command") -> str:
    return re.sub(r"(?<!\n)\n(?!\n)", " ", (command.help or "").strip())


def _file(name: str) -> str:
    return f"{name.replace(' ', '-')}.md"


def _metavar(parameter: "click.Parameter") -> str:
    return str(parameter.metavar or (parameter.name or "").upper())


def _names(parameter: "click.Parameter") -> str:
    if parameter.param_type_name == "argument":
        return f"`{_metavar(parameter)}`"
    return ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: "click.Parameter") -> str:
    return "needed" if parameter.required else _value(parameter.default)


def _value(value: object) -> str:
    if value is None or value is False or isinstance(value, BaseModel) or (isinstance(value, (list, tuple, dict)) and not value):
        return ""
    return f"`{' '.join(str(value).split())}`" if len(str(value)) <= 60 else "(a text)"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """MkDocs asks for the files of the site: the derived ones are added."""
    from mkdocs.structure.files import File

    for name, text in derived_pages().items():
        files.append(File.generated(config, name, content=text))
    for path in pictures():
        files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """README is the first page of the site."""
    return markdown.replace("](../README.md", "](index.md")
