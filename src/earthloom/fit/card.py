"""What an exported network must say of itself, so that its contract travels with the file."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from earthloom.encoders import Encoder
from earthloom.errors import ContractError, DataError, choices
from earthloom.fit.model import Model
from earthloom.sample import LayerSpec, Shape2d
from earthloom.tasks import PixelClasses

METADATA_KEY = "earthloom"
"""Under which an ONNX file keeps its card, as JSON."""

FORMAT = 1

_INPUTS = (
    "one tensor a layer, named by its key: (windows, dates, bands, rows, cols) float32 in the "
    "layer's unit, NaN where not seen"
)
_OUTPUTS = (
    "probabilities: (windows, classes, rows, cols) float32 on the base grid, NaN where nothing was "
    "seen"
)


@dataclass(frozen=True)
class Card:
    """The contract of an exported network."""

    layers: tuple[LayerSpec, ...]
    """In the order of the graph's inputs."""
    statistics: Mapping[str, Mapping[str, tuple[float, ...]]]
    """`mean` and `std` of each layer's bands. The graph applies them itself; they are here to be
    read."""
    task: PixelClasses
    threshold: float | None
    radius: int
    """Pixels of the base grid that it looks beyond the one it predicts."""
    alignment: int
    """Pixels of the base grid that windows of a larger image must start on multiples of."""
    is_local: bool
    """Whether what lies beyond the radius has no effect at all."""
    window: Shape2d | None
    """Rows and columns, on the base grid, of the windows that it takes; None for any."""
    numbers: str
    """`float32`, or `int8` where its convolutions are quantised."""
    encoders: tuple[str, ...]
    record: Mapping[str, Any]
    """What the model was fitted on."""

    def to_text(self) -> str:
        """The card as JSON."""
        value = {
            "format": FORMAT,
            "inputs": _INPUTS,
            "outputs": _OUTPUTS,
            "layers": [layer.to_json() for layer in self.layers],
            "statistics": self.statistics,
            "task": {
                "codes": self.task.codes,
                "names": self.task.names,
                "colours": self.task.colours,
            },
            "threshold": self.threshold,
            "radius": self.radius,
            "alignment": self.alignment,
            "is_local": self.is_local,
            "window": self.window and list(self.window),
            "numbers": self.numbers,
            "encoders": self.encoders,
            "record": self.record,
        }
        return json.dumps(value, sort_keys=True, ensure_ascii=False)

    @staticmethod
    def from_text(text: str, path: object) -> "Card":
        """A card from its JSON; DataError, naming `path`, if it is none of ours."""
        try:
            return _card(json.loads(text))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} has no card of an exported model: {error!r}") from error

    def check(self, specs: Mapping[str, LayerSpec]) -> None:
        """ContractError if the layers on offer are not those that the model was made for."""
        for layer in self.layers:
            if layer.key not in specs:
                raise ContractError(
                    f"the model expects layer {layer.key}; on offer are: {choices(specs)}"
                )
            layer.check(specs[layer.key])


def card_of(model: Model, window: Shape2d | None, numbers: str) -> Card:
    """The card of a model for windows of one shape, or of any."""
    classes = model.classes
    encoder = model.members[0].encoder
    statistics = {
        layer.key: {
            "mean": tuple(encoder.mean_of(layer).flatten().tolist()),
            "std": tuple(_std_of(encoder, layer).tolist()),
        }
        for layer in model.layers
    }
    return Card(
        layers=model.layers,
        statistics=statistics,
        task=PixelClasses(classes.codes, classes.names, classes.colours),
        threshold=model.threshold,
        radius=model.radius,
        alignment=math.lcm(*(member.encoder.alignment for member in model.members)),
        is_local=model.is_local,
        window=window,
        numbers=numbers,
        encoders=tuple(member.encoder.name for member in model.members),
        record=model.record,
    )


def _std_of(encoder: Encoder, layer: LayerSpec) -> Tensor:
    """(C,): standard deviation of each band of a layer over the training pixels, in its unit."""
    return encoder.get_buffer(f"std_{layer.key.replace('.', '_')}")


def _card(value: dict[str, Any]) -> Card:
    if value["format"] != FORMAT:
        raise ValueError(f"its format is {value['format']}, this version reads {FORMAT}")
    task = value["task"]
    return Card(
        layers=tuple(LayerSpec.from_json(layer) for layer in value["layers"]),
        statistics={
            key: {what: tuple(numbers) for what, numbers in of.items()}
            for key, of in value["statistics"].items()
        },
        task=PixelClasses(
            tuple(task["codes"]),
            tuple(task["names"]),
            tuple((red, green, blue) for red, green, blue in task["colours"]),
        ),
        threshold=value["threshold"],
        radius=value["radius"],
        alignment=value["alignment"],
        is_local=value["is_local"],
        window=Shape2d(*value["window"]) if value["window"] else None,
        numbers=value["numbers"],
        encoders=tuple(value["encoders"]),
        record=value["record"],
    )
