"""Chips on disk, read with numpy alone: shards mapped into memory, and a table of what lies where.

store.json       what the store is: layers, packing, names, shards with their checksums
chips.npy        one record a chip: id, group, place, and where its arrays lie
shard-00000.bin  the arrays of many chips, one after the other
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError, DataError
from earthloom.sample import UNLABELLED, Chip, Layer, LayerSpec, Moments, Place, Shape2d
from earthloom.sample.column import Column
from earthloom.sample.fill import ChipNotes, ChipRoom, LayerRoom
from earthloom.sample.packing import Packing, Storage, compress, decompress
from earthloom.sample.shards import (
    CARD,
    TABLE,
    ChipNote,
    LayerNote,
    Shards,
    ShardWriter,
    check_file,
    moments_from_json,
    moments_to_json,
)
from earthloom.sample.target import Target
from earthloom.sample.target_bytes import target_from_bytes, target_to_bytes

__all__ = [
    "CARD",
    "ChipStore",
    "ChipWriter",
    "Packing",
    "Storage",
    "moments_from_json",
    "moments_to_json",
    "open_chips",
]

_FORMAT = 2
_ALL, _NONE = 1, 2
"""Masks that need no bits."""

_LABEL, _WEIGHT = np.dtype(np.uint8), np.dtype("<f4")


class ChipStore:
    """The chips of a folder that `ChipWriter` wrote; a `Samples`, and `Fills` batches in place.

    Threads may read it at once; a copy in another process opens the files anew.
    """

    def __init__(self, folder: Path, card: Mapping[str, Any], digest: str, verify: bool) -> None:
        self.folder, self.digest, self._verify = folder, digest, verify
        self.shape = Shape2d(*card["shape"])
        self.specs: Mapping[str, LayerSpec] = {
            spec.key: spec for spec in map(LayerSpec.from_json, card["layers"])
        }
        self.packing = {key: Packing(**each) for key, each in card["packing"].items()}
        self.compressed: bool = card["compressed"]
        self._moments = {name: moments_from_json(each) for name, each in card["moments"].items()}
        self._names = {what: card[what] for what in ("groups", "areas", "crss")}
        self._dates = {
            key: [spec.dates, *map(tuple, card["dates"][key])] for key, spec in self.specs.items()
        }
        self._table_digest: str = card["table"]
        self._shards = Shards(folder, card["shards"], verify)
        if verify:
            self._check_table()

    def __reduce__(self) -> tuple[Any, ...]:
        return open_chips, (self.folder, self._verify)

    def __len__(self) -> int:
        return len(self._table)

    @cached_property
    def ids(self) -> Sequence[str]:
        """Of every chip."""
        return Column(len(self), lambda index: self._table[index]["id"].decode())

    @cached_property
    def groups(self) -> Sequence[str]:
        """Of every chip, see `Chip.group`."""
        names = self._names["groups"]
        return Column(len(self), lambda index: names[self._table[index]["group"]])

    @cached_property
    def places(self) -> Sequence[Place | None]:
        """Of every chip."""
        return Column(len(self), self._place)

    @cached_property
    def moments(self) -> Sequence[Moments | None]:
        """Of every chip's area."""
        names = self._names["areas"]
        return Column(len(self), lambda index: self._moments.get(names[self._table[index]["area"]]))

    @cached_property
    def targets(self) -> Sequence[Target | None]:
        """Of every chip, see `Chip.target`, without its pixels."""
        return Column(len(self), lambda index: self._target(self._table[index]))

    def __getitem__(self, index: int) -> Chip:
        record = self._table[index]
        layers = {}
        for number, (key, spec) in enumerate(self.specs.items()):
            if record[f"layer_{number}"][0] >= 0:
                layers[key] = self._layer(record, number, spec)
        label, weight = self._planes(record)
        return Chip(
            id=self.ids[index],
            shape=self.shape,
            layers=layers,
            label=None if label is None else np.array(label),
            group=self.groups[index],
            place=self.places[index],
            moments=self.moments[index],
            weight=None if weight is None else np.array(weight),
            target=self._target(record),
        )

    def fill(self, index: int, room: ChipRoom) -> ChipNotes:
        """Puts a chip where it is wanted."""
        record = self._table[index]
        numbers = {key: number for number, key in enumerate(self.specs)}
        for key, place in room.layers.items():
            if record[f"layer_{numbers[key]}"][0] < 0:
                place.leave_out()
            else:
                self._fill(record, numbers[key], self.specs[key], place)
        label, weight = self._planes(record)
        if label is None:
            room.label[:] = UNLABELLED
        else:
            np.copyto(room.label, label)
        if weight is not None:
            np.copyto(room.weight, weight)
        return ChipNotes(
            self.ids[index],
            self.places[index],
            self.moments[index],
            labelled=label is not None,
            weighted=weight is not None,
            target=self._target(record),
        )

    def verify(self) -> None:
        """Reads every file; DataError for the first that is damaged."""
        self._check_table()
        for number in range(len(self._shards.known)):
            self._shards.check(number)

    def _check_table(self) -> None:
        check_file(self.folder / TABLE, self._table_digest)

    @cached_property
    def _table(self) -> NDArray[Any]:
        try:
            table: NDArray[Any] = np.load(self.folder / TABLE, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"the chips of {self.folder} are damaged: {error}") from error
        return table

    def _place(self, index: int) -> Place | None:
        record = self._table[index]
        if record["crs"] < 0:
            return None
        return Place(
            self._names["crss"][record["crs"]], tuple(record["transform"].tolist()), self.shape
        )

    def _planes(self, record: Any) -> tuple[NDArray[np.uint8] | None, NDArray[np.float32] | None]:
        """A chip's label and its weights."""
        return self._plane(record, "label", _LABEL), self._plane(record, "weight", _WEIGHT)

    def _target(self, record: Any) -> Target | None:
        block = self._block(record, "target")
        return None if block is None else target_from_bytes(block, self._array)

    def _plane(self, record: Any, what: str, dtype: np.dtype[Any]) -> NDArray[Any] | None:
        block = self._block(record, what)
        return None if block is None else self._array(block, tuple(self.shape), dtype)

    def _block(self, record: Any, what: str) -> NDArray[np.uint8] | None:
        # There is no column of what no chip has.
        at, size = record[what].tolist() if what in record.dtype.names else (-1, 0)
        return None if at < 0 else self._shards[int(record["shard"])][at : at + size]

    def _layer(self, record: Any, number: int, spec: LayerSpec) -> Layer:
        dates = self._dates[spec.key][int(record[f"layer_{number}"][3])]
        rows, cols = self.shape.rows // spec.factor, self.shape.cols // spec.factor
        room = LayerRoom(
            pixels=np.empty((len(dates), len(spec.bands), rows, cols), np.float32),
            valid=np.empty((len(dates), rows, cols), np.bool_),
            days=np.empty(len(dates), np.int32),
            dated=np.empty(len(dates), np.bool_),
        )
        self._fill(record, number, spec, room)
        return Layer(replace(spec, dates=dates), room.pixels, room.valid, room.days)

    def _fill(self, record: Any, number: int, spec: LayerSpec, room: LayerRoom) -> None:
        at, size, mask, code = record[f"layer_{number}"].tolist()
        times, shape = len(self._dates[spec.key][code]), room.valid.shape[1:]
        rows, cols = self.shape.rows // spec.factor, self.shape.cols // spec.factor
        room.check(spec.key, times, (rows, cols))
        shard = self._shards[int(record["shard"])]
        bits = _mask_bytes(times * rows * cols) if mask == 0 else 0
        begin = at + _aligned(4 * times + bits)
        packing = self.packing[spec.key]
        stored = self._array(
            shard[begin : begin + size],
            (times, len(spec.bands), *shape),
            np.dtype(packing.dtype).newbyteorder("<"),
        )
        pixels, valid = room.pixels[:times], room.valid[:times]
        packing.decode(stored if room.bands is None else stored[:, list(room.bands)], pixels)
        if mask == 0:
            block = shard[at + 4 * times : at + 4 * times + bits]
            flat = np.unpackbits(block, count=valid.size).view(np.bool_)
            valid[:] = flat.reshape(valid.shape)
        else:
            valid[:] = mask == _ALL
        if mask != _ALL and not packing.is_plain:
            np.copyto(pixels, np.nan, where=~valid[:, None])
        room.days[:times] = shard[at : at + 4 * times].view("<i4")
        room.dated[:times] = True
        room.leave_out(times)

    def _array(
        self, block: NDArray[np.uint8], shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        if self.compressed:
            return decompress(block, shape, dtype)
        return block.view(dtype).reshape(shape)


class ChipWriter:
    """Writes a known number of chips of one shape; a chip may lack layers, dates, label, place.

    Weights are kept as float32, and take nothing where a chip has none; so do answers that are no
    label of pixels.
    A writer of the same settings in the same folder goes on where a killed one stopped: `done`
    chips are there, and adding them again only compares their ids.
    """

    def __init__(
        self,
        folder: Path,
        specs: Mapping[str, LayerSpec],
        shape: Shape2d,
        count: int,
        moments: Mapping[str, Moments],
        storage: Storage | None = None,
    ) -> None:
        """`moments` are those of whole areas, by the areas' names."""
        self._specs, self._shape, self._count = specs, shape, count
        self._storage = storage or Storage()
        for key in self._storage.packing:
            if key not in specs:
                raise ContractError(f"a packing is given for layer {key}; known are: {list(specs)}")
        self._card = {
            "format": _FORMAT,
            "layers": [spec.to_json() for spec in specs.values()],
            "packing": {key: vars(self._storage.of(key)) for key in specs},
            "compressed": self._storage.compressed,
            "shape": list(shape),
            "count": count,
            "moments": {name: moments_to_json(each) for name, each in moments.items()},
        }
        size = self._storage.shard_bytes
        self._shards = ShardWriter(folder, {**self._card, "shard_bytes": size}, size)
        self.done = len(self._shards.notes)
        """Chips that a killed writer left behind whole."""
        self._added = 0

    def add(self, chip: Chip, area: str) -> None:
        """Writes the next chip, which lies in an area; ContractError if it does not fit."""
        number, self._added = self._added, self._added + 1
        if number < self.done:
            if self._shards.notes[number].id != chip.id:
                raise ContractError(
                    f"chip {number} of the store that is gone on with is "
                    f"{self._shards.notes[number].id}, not {chip.id}; remove the folder"
                )
            return
        self._check(chip)
        note = ChipNote(
            id=chip.id,
            group=chip.group,
            area=area,
            crs=None if chip.place is None else chip.place.crs,
            transform=() if chip.place is None else tuple(chip.place.transform),
            layers={key: self._write(layer) for key, layer in chip.layers.items()},
            label=self._write_plane(chip.label, _LABEL),
            weight=self._write_plane(chip.weight, _WEIGHT),
            target=self._write_target(chip.target),
        )
        self._shards.end_chip(note)

    def skip_done(self) -> int:
        """Goes past the chips that are there, for a caller who need not make them again."""
        self._added = max(self._added, self.done)
        return self.done

    def finish(self) -> None:
        """Writes the table and the card, without which a folder is no store."""
        if self._added != self._count:
            raise ContractError(f"{self._added} chips were added to a store of {self._count}")
        self._shards.finish(self._card, list(self._specs))

    def _check(self, chip: Chip) -> None:
        if chip.shape != self._shape:
            raise ContractError(
                f"chip {chip.id} has the shape {tuple(chip.shape)}; the store has chips of "
                f"{tuple(self._shape)}"
            )
        for key, layer in chip.layers.items():
            if key not in self._specs:
                raise ContractError(
                    f"chip {chip.id} has layer {key}; the store has: {', '.join(self._specs)}"
                )
            spec = self._specs[key]
            size = (self._shape.rows // spec.factor, self._shape.cols // spec.factor)
            same = replace(layer.spec, dates=spec.dates) == spec
            if not same or len(layer.days) > len(spec.dates) or layer.valid.shape[1:] != size:
                raise ContractError(
                    f"layer {key} of chip {chip.id} is {layer.spec} of {layer.valid.shape[1:]} "
                    f"pixels; the store has {spec} of {size} pixels"
                )

    def _write(self, layer: Layer) -> LayerNote:
        spec = self._specs[layer.spec.key]
        try:
            stored = self._storage.of(spec.key).encode(layer.pixels, layer.valid)
        except DataError as error:
            raise DataError(f"layer {spec.key}: {error}") from error
        mask = _ALL if layer.valid.all() else 0 if layer.valid.any() else _NONE
        head = layer.days.astype("<i4").tobytes()
        if mask == 0:
            head += np.packbits(layer.valid).tobytes()
        data = self._bytes(stored)
        at = self._shards.write(head + bytes(_aligned(len(head)) - len(head)) + data)
        dates = None if layer.spec.dates == spec.dates else layer.spec.dates
        return LayerNote(at, len(data), mask, dates)

    def _write_plane(
        self, plane: NDArray[Any] | None, dtype: np.dtype[Any]
    ) -> tuple[int, int] | None:
        if plane is None:
            return None
        data = self._bytes(plane.astype(dtype, copy=False))
        return self._shards.write(data), len(data)

    def _write_target(self, target: Target | None) -> tuple[int, int] | None:
        if target is None:
            return None
        data = target_to_bytes(target, self._bytes)
        return self._shards.write(data), len(data)

    def _bytes(self, stored: NDArray[Any]) -> bytes:
        little = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
        return compress(little) if self._storage.compressed else little.tobytes()


def open_chips(folder: Path, verify: bool = False) -> ChipStore:
    """Opens a store; DataError if the folder holds none.

    With `verify`, a shard's bytes are compared with their checksum when they are first used.
    """
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
        card = json.loads(text)
        if card.get("format") != _FORMAT:
            raise DataError(
                f"the chips of {folder} are of format {card.get('format', 1)}, this version reads "
                f"format {_FORMAT}; remove the folder and make them again with 'earthloom chips'"
            )
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{folder} holds no chips; 'earthloom chips' makes them") from error
    return ChipStore(folder, card, hashlib.sha256(text.encode()).hexdigest(), verify)


def _mask_bytes(pixels: int) -> int:
    return -(-pixels // 8)


def _aligned(size: int) -> int:
    return -(-size // 64) * 64
