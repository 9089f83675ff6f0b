"""The loop as a picture: what each round made, and how many rows went from one thing to the next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sgpo_data.loop.rounds import MODEL, Round
from sgpo_data.names import DIGITS, AdaptedModel, EndpointModel, HubModel, TrainedModel
from sgpo_data.report.drops import KEPT
from sgpo_data.report.text import PLACE, count, line
from sgpo_data.stages.order import MAKERS
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import ModelManifest, ModelRecord

MADE_BY: dict[str, str] = {"prompts": "read", **{table: stage.stage_name for table, stage in MAKERS.items()}, MODEL: "train"}
"""What each thing of a round is made by, in the order in which it is made."""
COLUMN = {name: tuple(dict.fromkeys(MADE_BY.values())).index(step) for name, step in MADE_BY.items()}
"""Things of one step are never in one round."""
WIDTH, HEIGHT = 100, 46
"""Of a box."""
STEP, ROW, HEAD = 163, 142, 34
"""From box to box, from round to round, and from a round's top to its boxes."""
TALL_WIDTH, TALL_STEP, TALL_LEFT = 340, 82, 30
START = "start"


@dataclass(frozen=True)
class Box:
    """Something that was made, or that is still to be made."""

    x: float
    y: float
    name: str
    about: str
    kind: str
    """data, model or missing."""

    @property
    def middle(self) -> float:
        """Of its width."""
        return self.x + WIDTH / 2


@dataclass(frozen=True)
class Arrow:
    """What goes from one box to the next."""

    path: str
    label: str
    stage: str
    x: float
    y: float
    """Where the label stands."""
    kind: str
    """rows, dropped or model."""


@dataclass(frozen=True)
class Flow:
    """A picture in the units of its view box."""

    width: float
    height: float
    titles: tuple[tuple[float, float, str], ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


@dataclass(frozen=True)
class _Stop:
    table: str
    rows: int | None
    """That arrive; None if it is not made."""
    about: str
    dropped: int = 0


def wide(rounds: Sequence[Round]) -> Flow:
    """Rounds below each other, tables side by side, the same table always in the same column."""
    titles, boxes, arrows = [], list[Box](), list[Arrow]()
    start = _first_model(rounds)
    model = Box(COLUMN[MODEL] * STEP, 0, START, short(start), "model") if start else None
    boxes += [model] if model else []
    top = 60.0 if model else 0.0
    for made in rounds:
        titles.append((0.0, top + HEAD - 14, line(made.place, PLACE)))
        stops = list(_stops(made))
        row = [_box(stop, COLUMN[stop.table] * STEP, top + HEAD) for stop in stops]
        boxes += row
        arrows += _across(row, stops)
        target = _target(row)
        if model and target and _started_by(made, model):
            arrows.append(_back(model, target, made))
        model = next((box for box in row if box.kind == "model"), model)
        top += ROW
    return Flow(COLUMN[MODEL] * STEP + WIDTH, top - ROW + HEAD + HEIGHT + 44, tuple(titles), tuple(boxes), tuple(arrows))


def tall(rounds: Sequence[Round]) -> Flow:
    """Everything below each other, for a narrow page."""
    titles, boxes, arrows = [], list[Box](), list[Arrow]()
    start = _first_model(rounds)
    model = Box(TALL_LEFT, 0, START, short(start), "model") if start else None
    boxes += [model] if model else []
    top = 70.0 if model else 0.0
    for made in rounds:
        titles.append((float(TALL_LEFT), top + 8, line(made.place, PLACE)))
        stops = list(_stops(made))
        column = [_box(stop, TALL_LEFT, top + 22 + number * TALL_STEP) for number, stop in enumerate(stops)]
        boxes += column
        arrows += _down(column, stops)
        target = _target(column)
        if model and target and _started_by(made, model):
            path = f"M{TALL_LEFT - 2},{model.y + HEIGHT / 2}H18q-8,0 -8,8V{target.y + HEIGHT / 2 - 8}q0,8 8,8H{TALL_LEFT - 4}"
            arrows.append(Arrow(path, "", "", 0, 0, "model"))
        model = next((box for box in column if box.kind == "model"), model)
        top += len(stops) * TALL_STEP + 16
    return Flow(TALL_WIDTH, top - 16 - TALL_STEP + 22 + HEIGHT, tuple(titles), tuple(boxes), tuple(arrows))


def short(record: ModelRecord) -> str:
    """What a model is called where there is little room: no path of this machine."""
    match record.kind.base if isinstance(record.kind, AdaptedModel) else record.kind:
        case HubModel() as model:
            return line(model.name.rpartition("/")[2], 15)
        case EndpointModel() as model:
            return line(model.name, 15)
        case None:
            return line(record.identity, 15)
        case model:
            return f"@{model.digest[:DIGITS]}"


def trained_record(manifest: ModelManifest) -> ModelRecord:
    """What rows name this model by."""
    return ModelRecord(identity=str(TrainedModel.made(manifest.fingerprint)), location="")


def _across(row: list[Box], stops: list[_Stop]) -> Iterator[Arrow]:
    for left, right, stop in zip(row, row[1:], stops[1:], strict=False):
        middle = left.y + HEIGHT / 2
        yield Arrow(f"M{left.x + WIDTH + 3},{middle}H{right.x - 4}", _label(stop), MADE_BY[stop.table], (left.x + WIDTH + right.x) / 2, middle, "rows")
    for box, stop in zip(row, stops, strict=True):
        if stop.dropped:
            foot = box.y + HEIGHT
            yield Arrow(f"M{box.middle},{foot + 3}V{foot + 20}", f"{count(stop.dropped)} dropped", "", box.middle, foot + 37, "dropped")


def _down(column: list[Box], stops: list[_Stop]) -> Iterator[Arrow]:
    for upper, lower, stop in zip(column, column[1:], stops[1:], strict=False):
        top = upper.y + HEIGHT
        yield Arrow(f"M{lower.middle},{top + 3}V{lower.y - 4}", _label(stop), MADE_BY[stop.table], lower.middle + 10, (top + lower.y) / 2 + 4, "rows")
    for box, stop in zip(column, stops, strict=True):
        if stop.dropped:
            side, middle = box.x + WIDTH, box.y + HEIGHT / 2
            yield Arrow(f"M{side + 3},{middle}H{side + 24}", f"{count(stop.dropped)} dropped", "", side + 34, middle + 4, "dropped")


def _back(model: Box, target: Box, made: Round) -> Arrow:
    """From a model to what it does in the next round, by way of the gap between the two."""
    told = "answers and improves" if "improved" in made.datasets else "answers"
    foot, head = model.y + HEIGHT + 3, target.y - 5
    if target.x == model.x:
        return Arrow(f"M{model.middle},{foot}V{head}", "", "", 0, 0, "model")
    gutter = target.y - HEAD
    return Arrow(f"M{model.middle},{foot}V{gutter - 8}q0,8 -8,8H{target.middle + 8}q-8,0 -8,8V{head}", told, "", target.middle + 10, head - 8, "model")


def _target(row: list[Box]) -> Box | None:
    """What a model makes first, else the model that it becomes."""
    return next((box for box in row if box.name == "responses"), None) or next((box for box in row if box.name == MODEL), None)


def _stops(made: Round) -> Iterator[_Stop]:
    for table in COLUMN:
        if table in made.missing:
            yield _Stop(table, None, "not made yet")
        elif table in made.datasets:
            yield _made(table, made.datasets[table])
        elif table == MODEL and made.model is not None:
            yield _Stop(MODEL, made.model.manifest.rows, short(trained_record(made.model.manifest)))


def _made(table: str, dataset: Dataset) -> _Stop:
    manifest = dataset.manifest
    about = f"@{manifest.fingerprint[:DIGITS]}"
    if table == "filtered":
        kept = manifest.outcomes.get(KEPT, 0)
        return _Stop(table, manifest.rows, f"{count(kept)} kept", manifest.rows - kept)
    replayed = int(manifest.facts.get("replayed", 0))
    return _Stop(table, manifest.rows, f"{count(replayed)} replayed" if replayed else about)


def _box(stop: _Stop, x: float, y: float) -> Box:
    kind = "missing" if stop.rows is None else "model" if stop.table == MODEL else "data"
    return Box(x, y, stop.table, stop.about, kind)


def _label(stop: _Stop) -> str:
    return "" if stop.rows is None else count(stop.rows)


def _first_model(rounds: Sequence[Round]) -> ModelRecord | None:
    """The model the first round answers with, or trains."""
    return next((record for made in rounds if (record := _started_with(made)) is not None), None)


def _started_with(made: Round) -> ModelRecord | None:
    policy = made.datasets["responses"].manifest.identity.models.get("policy") if "responses" in made.datasets else None
    return policy or (made.model.manifest.identity.models.get("start") if made.model is not None else None)


def _started_by(made: Round, model: Box) -> bool:
    record = _started_with(made)
    return record is not None and short(record) == model.about
