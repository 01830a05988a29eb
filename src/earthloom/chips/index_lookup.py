"""What is asked most of a chip index, as arrays mapped into memory; read with numpy alone.

A folder beside the index holds the boxes, days, classes and the like of all chips, and for each
class the list of chips that hold it. It is derived from the Parquet file alone, carries that file's
mark, and is made again where the mark differs.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.chips.sampling import ClassLists
from earthloom.errors import DataError

BLOCK = 4096
"""Chips whose common box is looked at before their own."""

NO_DAY = np.iinfo(np.int32).min
"""Stands for the days of a chip without time."""

_VERSION = 1
_FOOTER = 1 << 16

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees; west above east goes over the date line."""


def lookup_folder(file: Path) -> Path:
    """Where the lookup of an index lies."""
    return file.with_name(f"{file.stem}.lookup")


def mark_of(file: Path) -> str:
    """Tells one state of a Parquet file from another: its size and a digest of its end.

    The end of the file holds its metadata, with the sizes and ranges of all columns.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as source:
            source.seek(max(0, size - _FOOTER))
            return f"{size}-{hashlib.blake2b(source.read(), digest_size=16).hexdigest()}"
    except OSError as error:
        raise DataError(f"there is no chip index {file}; 'earthloom chips' makes it") from error


class Lookup:
    """The arrays of one index."""

    def __init__(self, folder: Path, card: Mapping[str, Any]) -> None:
        self._folder = folder
        self.count: int = card["count"]
        self.classes: tuple[int, ...] = tuple(card["classes"])
        """Class codes; a position in it is a column of the histograms."""
        self.names: Mapping[str, list[str]] = card["names"]
        """The values of `area`, `split` and `group`, in the order of their codes."""
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, name: str) -> NDArray[Any]:
        """One array, mapped when it is first asked for."""
        if name not in self._arrays:
            path = self._folder / f"{name}.npy"
            self._arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._arrays[name]

    @cached_property
    def lists(self) -> ClassLists:
        """The chips that hold each class."""
        return ClassLists(self.array("class_starts"), self.array("class_rows"))

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        """The ids of some rows."""
        starts, text = self.array("id_starts"), self.array("id_bytes")
        return [bytes(text[starts[row] : starts[row + 1]]).decode() for row in rows.tolist()]

    def in_box(self, box: Box) -> NDArray[np.int64]:
        """Rows whose own box meets a box, sorted."""
        west, south, east, north = box
        if not (-90 <= south <= north <= 90 and abs(west) <= 180 and abs(east) <= 360):
            raise DataError(
                f"{box} is no box of west, south, east, north; valid: -180 to 180 and -90 to 90 "
                "degrees, south below north, west above east over the date line"
            )
        east = east + 360 if east < west else east
        blocks = np.flatnonzero(_meets(np.asarray(self.array("blocks")), west, south, east, north))
        spans = [np.arange(b * BLOCK, min((b + 1) * BLOCK, self.count)) for b in blocks.tolist()]
        rows = np.concatenate([np.empty(0, np.int64), *spans]).astype(np.int64)
        return rows[_meets(self.array("box")[rows], west, south, east, north)]

    def named(self, column: str, values: tuple[str, ...]) -> NDArray[np.bool_]:
        """(names,) whether each code of a column is one of the values; DataError if none is."""
        known = self.names[column]
        unknown = [value for value in values if value not in known]
        if unknown:
            raise DataError(
                f"no chip has the {column} '{unknown[0]}'; there are: {', '.join(known[:20])}"
            )
        return np.isin(known, values)


def _meets(
    boxes: NDArray[np.floating], west: float, south: float, east: float, north: float
) -> NDArray[np.bool_]:
    """(n,) whether boxes (n, 4), whose east may be above 180, meet a box; NaN never does."""
    beside = (boxes[:, 1] <= north) & (boxes[:, 3] >= south)
    around = np.zeros(len(boxes), np.bool_)
    for turn in (-360.0, 0.0, 360.0):
        around |= (boxes[:, 0] <= east + turn) & (boxes[:, 2] >= west + turn)
    return np.asarray(beside & around)


def open_lookup(folder: Path, mark: str) -> Lookup | None:
    """The lookup of an index in this state; None where there is none."""
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    if (card.get("version"), card.get("mark")) != (_VERSION, mark):
        return None
    return Lookup(folder, card)


class LookupWriter:
    """Collects the arrays of an index in the order of its rows."""

    def __init__(self) -> None:
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._names: dict[str, dict[str, int]] = {}
        self._classes: list[NDArray[np.int64]] = []

    def add(
        self,
        arrays: Mapping[str, NDArray[Any]],
        names: Mapping[str, list[str]],
        label_codes: NDArray[np.int64],
    ) -> None:
        """Arrays of some rows; the values of named columns; the class code of each label count."""
        for name, values in arrays.items():
            self._parts.setdefault(name, []).append(values)
        for name, texts in names.items():
            known = self._names.setdefault(name, {})
            codes = [known.setdefault(text, len(known)) for text in texts]
            self._parts.setdefault(name, []).append(np.array(codes, np.int32))
        self._classes.append(label_codes)

    def write(self, folder: Path, mark: str) -> None:
        """Puts the folder in place whole, instead of what was there."""
        arrays = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        classes, columns = np.unique(np.concatenate(self._classes), return_inverse=True)
        count = len(arrays["number"])
        arrays |= {
            "blocks": _block_boxes(arrays["box"]),
            "histogram_starts": np.concatenate([[0], np.cumsum(arrays.pop("label_sizes"))]),
            "histogram_columns": columns.astype(np.int32),
            "id_starts": np.concatenate([[0], np.cumsum(arrays.pop("id_sizes"))]),
        }
        arrays |= _inverse(arrays["histogram_starts"], columns, len(classes))
        card = {
            "version": _VERSION,
            "mark": mark,
            "count": count,
            "classes": classes.tolist(),
            "names": {name: list(known) for name, known in self._names.items()},
        }
        half = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        for name, values in arrays.items():
            np.save(half / f"{name}.npy", values, allow_pickle=False)
        text = json.dumps(card, sort_keys=True, ensure_ascii=False)
        (half / "card.json").write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)


def _inverse(
    starts: NDArray[np.int64], columns: NDArray[np.int64], classes: int
) -> dict[str, NDArray[np.int64]]:
    """For each class the rows that hold it, from the classes that each row holds."""
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.argsort(columns, kind="stable")
    ends = np.cumsum(np.bincount(columns, minlength=classes))
    return {
        "class_rows": rows[order].astype(np.int64),
        "class_starts": np.concatenate([[0], ends]).astype(np.int64),
    }


def _block_boxes(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(blocks, 4) the box about each run of `BLOCK` rows; NaN where none of them has a place."""
    filled = np.full((-(-len(boxes) // BLOCK) * BLOCK, 4), np.nan)
    filled[: len(boxes)] = boxes
    runs = filled.reshape(-1, BLOCK, 4)
    low = np.where(np.isnan(runs), np.inf, runs).min(axis=1)
    high = np.where(np.isnan(runs), -np.inf, runs).max(axis=1)
    found = np.concatenate([low[:, :2], high[:, 2:]], axis=1)
    return np.where(np.isinf(found), np.nan, found)
