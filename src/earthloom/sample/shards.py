"""Files of a chip store as they are written: shards that are whole or not there, and their notes.

While a store is written, `shard-00003.json` beside `shard-00003.bin` says what lies in it, with
its size and SHA-256. A shard counts from the moment that this note is there; a writer that was
killed goes on after the last one. `finish` puts all notes into one table.
"""

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import DataError
from earthloom.sample.chip import Moments

CARD, TABLE = "store.json", "chips.npy"
_BEGUN = "begun.json"
_ALIGN = 64
"""Bytes: where an array may begin, so that any processor reads it at full speed."""

OPTIONAL = ("weight", "target")
"""What most stores lack, and then hold no column of."""

_OPEN_SHARDS = 256
"""Shards that are mapped at once; the one used longest ago is let go."""


@dataclass(frozen=True)
class LayerNote:
    """Where a layer of a chip lies in its shard: days, then the mask's bits, then pixels."""

    at: int
    size: int
    """Bytes of the pixels."""
    mask: int
    """0: its bits are there; 1: everything is valid; 2: nothing is."""
    dates: tuple[str, ...] | None
    """None where they are those of the store's specification."""


@dataclass(frozen=True)
class ChipNote:
    """What the table will say of a chip."""

    id: str
    group: str
    area: str
    crs: str | None
    transform: tuple[float, ...]
    label: tuple[int, int] | None
    """Where it lies, and its bytes."""
    layers: Mapping[str, LayerNote]
    """Those that the chip has."""
    weight: tuple[int, int] | None = None
    """Where that of the label lies, and its bytes."""
    target: tuple[int, int] | None = None
    """Where the answer lies that is no label of pixels, and its bytes."""

    def to_json(self) -> dict[str, Any]:
        """The note as JSON values."""
        layers = {
            key: [each.at, each.size, each.mask, each.dates] for key, each in self.layers.items()
        }
        absent = [what for what in OPTIONAL if getattr(self, what) is None]
        value = {**vars(self), "layers": layers}
        return {what: each for what, each in value.items() if what not in absent}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "ChipNote":
        """A note from what `to_json` made."""
        layers = {
            key: LayerNote(at, size, mask, None if dates is None else tuple(dates))
            for key, (at, size, mask, dates) in value["layers"].items()
        }
        parts = {
            what: None if value.get(what) is None else tuple(value[what])
            for what in ("label", *OPTIONAL)
        }
        fields = {**value, "layers": layers, **parts}
        return ChipNote(**{**fields, "transform": tuple(value["transform"])})


class ShardWriter:
    """Writes shards of about `shard_bytes` one after the other, after those that are there."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], shard_bytes: int) -> None:
        """`settings` decide what is written; shards of other settings are thrown away."""
        self._folder, self._limit = folder, shard_bytes
        self.notes: list[ChipNote] = []
        """Of every chip that is on disk or on its way there."""
        self._shards: list[dict[str, Any]] = []
        self._file: BinaryIO | None = None
        self._position, self._sealed = 0, 0
        self._digest = hashlib.sha256()
        self._begin(_json(settings))

    def write(self, data: bytes) -> int:
        """Where in the shard `data` begins."""
        if self._file is None:
            self._file = self._path(".bin.partial").open("wb")
        self._append(bytes(-self._position % _ALIGN))
        at = self._position
        self._append(data)
        return at

    def end_chip(self, note: ChipNote) -> None:
        """Ends a chip; a shard that is full by then is sealed."""
        self.notes.append(note)
        if self._position >= self._limit:
            self._seal()

    def finish(self, card: Mapping[str, Any], layers: Sequence[str]) -> None:
        """Seals the last shard and writes the table and the card, without which there is no store.

        `layers` are the keys of the store's layers, in the order of the table's columns.
        """
        self._seal()
        table, found = table_of(self.notes, self._shards, layers)
        path = self._folder / (TABLE + ".partial")
        with path.open("wb") as stream:
            np.save(stream, table, allow_pickle=False)
            _to_disk(stream)
        digest = _digest_of(path)
        path.replace(self._folder / TABLE)
        shards = [{"bytes": each["bytes"], "sha256": each["sha256"]} for each in self._shards]
        _write(self._folder / CARD, _json({**card, **found, "shards": shards, "table": digest}))
        for path in self._folder.glob("shard-*.json"):
            path.unlink()
        (self._folder / _BEGUN).unlink()

    def _begin(self, settings: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        begun = self._folder / _BEGUN
        if begun.is_file() and begun.read_text(encoding="utf-8") == settings:
            (self._folder / CARD).unlink(missing_ok=True)
            self._take_up()
        for path in (self._folder / CARD, self._folder / TABLE):
            path.unlink(missing_ok=True)
        # What is not known to be whole would otherwise be left behind.
        known = {shard_name(n) for n in range(len(self._shards))}
        for path in self._folder.glob("shard-*"):
            if path.name.split(".")[0] not in known or path.suffix == ".partial":
                path.unlink()
        _write(begun, settings)

    def _take_up(self) -> None:
        """Reads the notes of the shards that are whole, in order."""
        while True:
            note = self._path(".json")
            shard = self._path(".bin")
            if not (note.is_file() and shard.is_file()):
                break
            value = json.loads(note.read_text(encoding="utf-8"))
            if shard.stat().st_size != value["bytes"]:
                break
            self._shards.append({**value, "chips": len(value["chips"])})
            self.notes += [ChipNote.from_json(chip) for chip in value["chips"]]
        self._sealed = len(self.notes)

    def _seal(self) -> None:
        if self._file is None:
            return
        _to_disk(self._file)
        self._file.close()
        self._path(".bin.partial").replace(self._path(".bin"))
        value = {
            "bytes": self._position,
            "sha256": self._digest.hexdigest(),
            "chips": [note.to_json() for note in self.notes[self._sealed :]],
        }
        _write(self._path(".json"), _json(value))
        self._shards.append({**value, "chips": len(self.notes) - self._sealed})
        self._sealed, self._position = len(self.notes), 0
        self._file, self._digest = None, hashlib.sha256()

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._digest.update(data)
        self._position += len(data)

    def _path(self, suffix: str) -> Path:
        """Of the shard that is being written."""
        return self._folder / (shard_name(len(self._shards)) + suffix)


class Shards:
    """The shards of a store as bytes, mapped when they are first asked for."""

    def __init__(self, folder: Path, known: Sequence[Mapping[str, Any]], verify: bool) -> None:
        self.folder, self.known, self.verify = folder, known, verify
        self._mapped: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._checked: set[int] = set()
        self._lock = threading.Lock()

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        with self._lock:
            if number not in self._mapped:
                self._mapped[number] = self._map(number)
                if len(self._mapped) > _OPEN_SHARDS:
                    self._mapped.popitem(last=False)
            self._mapped.move_to_end(number)
            return self._mapped[number]

    def check(self, number: int) -> None:
        """DataError if a shard's bytes are not those that were written."""
        check_file(self._path(number), self.known[number]["sha256"])

    def _path(self, number: int) -> Path:
        return self.folder / f"{shard_name(number)}.bin"

    def _map(self, number: int) -> NDArray[np.uint8]:
        path, wanted = self._path(number), self.known[number]["bytes"]
        # A shorter file than what is mapped ends the process when it is read, so sizes come first.
        size = path.stat().st_size if path.is_file() else None
        if size != wanted:
            raise DataError(f"{path} is torn: it has {size} bytes in place of {wanted}")
        if self.verify and number not in self._checked:
            self.check(number)
            self._checked.add(number)
        return np.memmap(path, np.uint8, mode="r").view(np.ndarray)


def shard_name(number: int) -> str:
    """A shard's name, without suffix."""
    return f"shard-{number:05d}"


def table_of(
    notes: list[ChipNote], shards: list[dict[str, Any]], layers: Sequence[str]
) -> tuple[NDArray[Any], dict[str, Any]]:
    """The table of all chips, and the names that its numbers stand for."""
    ids = [note.id.encode() for note in notes]
    some = [what for what in OPTIONAL if any(getattr(note, what) is not None for note in notes)]
    dtype = table_dtype(max(map(len, ids), default=1), len(layers), some)
    table = np.zeros(len(notes), dtype)
    table["id"] = ids
    found: dict[str, Any] = {}
    for what in ("group", "area", "crs"):
        names = {name: None for note in notes if (name := getattr(note, what)) is not None}
        number = {name: at for at, name in enumerate(names)}
        table[what] = [number.get(getattr(note, what), -1) for note in notes]
        found[f"{what}s"] = list(names)
    table["transform"] = np.array([note.transform or (0.0,) * 6 for note in notes]).reshape(-1, 6)
    table["shard"] = np.repeat(np.arange(len(shards)), [each["chips"] for each in shards])
    table["label"] = [note.label or (-1, 0) for note in notes]
    for what in some:
        table[what] = [getattr(note, what) or (-1, 0) for note in notes]
    dates: dict[str, list[tuple[str, ...]]] = {}
    for number_of, key in enumerate(layers):
        every = [note.layers.get(key) for note in notes]
        other = list(dict.fromkeys(e.dates for e in every if e is not None and e.dates is not None))
        code = {names: at for at, names in enumerate(other, start=1)}
        table[f"layer_{number_of}"] = [
            (-1, 0, 0, 0)
            if each is None
            else (each.at, each.size, each.mask, 0 if each.dates is None else code[each.dates])
            for each in every
        ]
        dates[key] = other
    return table, {**found, "dates": dates}


def table_dtype(id_bytes: int, layers: int, some: Sequence[str]) -> np.dtype[Any]:
    """Of a table's records; a layer's numbers are where it lies, its bytes, its mask, its dates.

    `some` are those of `OPTIONAL` that at least one chip has; others get no column.
    """
    return np.dtype(
        [
            ("id", f"S{id_bytes}"),
            ("group", "<i4"),
            ("area", "<i4"),
            ("crs", "<i4"),
            ("transform", "<f8", (6,)),
            ("shard", "<i4"),
            ("label", "<i8", (2,)),
            *((what, "<i8", (2,)) for what in some),
            *((f"layer_{number}", "<i8", (4,)) for number in range(layers)),
        ]
    )


def moments_to_json(moments: Moments) -> dict[str, Any]:
    """Moments as JSON values."""
    return {"mean": moments.mean.tolist(), "covariance": moments.covariance.tolist()}


def moments_from_json(value: Mapping[str, Any]) -> Moments:
    """Moments from what `moments_to_json` made."""
    return Moments(
        np.asarray(value["mean"], np.float32), np.asarray(value["covariance"], np.float32)
    )


def check_file(path: Path, sha256: str) -> None:
    """DataError if a file's bytes are not those that were written."""
    if _digest_of(path) != sha256:
        raise DataError(f"{path} is damaged: its SHA-256 is not the one that the store records")


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        stream.write(text.encode())
        _to_disk(stream)
    partial.replace(path)


def _to_disk(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
