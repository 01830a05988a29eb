"""Chips on disk, read with numpy alone: one array a layer, mapped into memory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from earthloom.errors import DataError
from earthloom.sample import Chip, Layer, LayerSpec, Moments, Place, Shape2d

CARD = "store.json"


@dataclass(frozen=True)
class ChipStore:
    """The chips of a folder that `ChipWriter` wrote; a `Samples`."""

    folder: Path
    specs: Mapping[str, LayerSpec]
    shape: Shape2d
    ids: Sequence[str]
    groups: Sequence[str]
    places: Sequence[Place]
    moments: Sequence[Moments | None]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Chip:
        layers = {
            key: Layer(
                spec,
                pixels=np.array(self._arrays[key, "pixels"][index]),
                valid=np.array(self._arrays[key, "valid"][index]),
                days=np.array(self._arrays[key, "days"][index]),
            )
            for key, spec in self.specs.items()
        }
        return Chip(
            id=self.ids[index],
            shape=self.shape,
            layers=layers,
            label=np.array(self._label[index]),
            group=self.groups[index],
            place=self.places[index],
            moments=self.moments[index],
        )

    @cached_property
    def _arrays(self) -> Mapping[tuple[str, str], NDArray[Any]]:
        return {
            (key, what): _mapped(self.folder / f"{key}.{what}.npy")
            for key in self.specs
            for what in ("pixels", "valid", "days")
        }

    @cached_property
    def _label(self) -> NDArray[np.uint8]:
        return _mapped(self.folder / "label.npy")


class ChipWriter:
    """Writes a known number of chips of one shape."""

    def __init__(
        self,
        folder: Path,
        specs: Mapping[str, LayerSpec],
        shape: Shape2d,
        count: int,
        moments: Mapping[str, Moments],
    ) -> None:
        """`moments` are those of whole areas, by the areas' names."""
        self._moments = moments
        self._folder, self._specs, self._shape = folder, specs, shape
        self._chips: list[dict[str, Any]] = []
        self._arrays: dict[tuple[str, str], NDArray[Any]] = {}
        for key, spec in specs.items():
            times, bands = len(spec.dates), len(spec.bands)
            size = (shape.rows // spec.factor, shape.cols // spec.factor)
            arrays: list[tuple[str, tuple[int, ...], type]] = [
                ("pixels", (count, times, bands, *size), np.float32),
                ("valid", (count, times, *size), np.bool_),
                ("days", (count, times), np.int32),
            ]
            for what, dimensions, dtype in arrays:
                self._arrays[key, what] = open_memmap(
                    folder / f"{key}.{what}.npy", mode="w+", dtype=dtype, shape=dimensions
                )
        self._label = open_memmap(
            folder / "label.npy", mode="w+", dtype=np.uint8, shape=(count, *shape)
        )

    def add(self, chip: Chip, area: str) -> None:
        """Writes the next chip, which must have a label and a place, and lies in an area."""
        assert chip.label is not None
        assert chip.place is not None
        index = len(self._chips)
        for key in self._specs:
            layer = chip.layers[key]
            self._arrays[key, "pixels"][index] = layer.pixels
            self._arrays[key, "valid"][index] = layer.valid
            self._arrays[key, "days"][index] = layer.days
        self._label[index] = chip.label
        place = {"crs": chip.place.crs, "transform": list(chip.place.transform)}
        self._chips.append({"id": chip.id, "group": chip.group, "area": area, "place": place})

    def finish(self) -> None:
        """Writes the card, without which a folder is no store."""
        for array in (*self._arrays.values(), self._label):
            array.flush()  # type: ignore[attr-defined]
        card = {
            "layers": [spec.to_json() for spec in self._specs.values()],
            "shape": list(self._shape),
            "chips": self._chips,
            "moments": {name: moments_to_json(each) for name, each in self._moments.items()},
        }
        text = json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False)
        (self._folder / CARD).write_text(text + "\n", encoding="utf-8")


def open_chips(folder: Path) -> ChipStore:
    """Opens a store; DataError if the folder holds none."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{folder} holds no chips; 'earthloom chips' makes them") from error
    shape = Shape2d(*card["shape"])
    specs = [LayerSpec.from_json(layer) for layer in card["layers"]]
    chips = card["chips"]
    moments = {name: moments_from_json(each) for name, each in card["moments"].items()}
    return ChipStore(
        folder=folder,
        specs={spec.key: spec for spec in specs},
        shape=shape,
        ids=[chip["id"] for chip in chips],
        groups=[chip["group"] for chip in chips],
        places=[
            Place(chip["place"]["crs"], tuple(chip["place"]["transform"]), shape) for chip in chips
        ],
        moments=[moments.get(chip["area"]) for chip in chips],
    )


def moments_to_json(moments: Moments) -> dict[str, Any]:
    """Moments as JSON values."""
    return {"mean": moments.mean.tolist(), "covariance": moments.covariance.tolist()}


def moments_from_json(value: Mapping[str, Any]) -> Moments:
    """Moments from what `moments_to_json` made."""
    return Moments(
        np.asarray(value["mean"], np.float32), np.asarray(value["covariance"], np.float32)
    )


def _mapped(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
