"""Answers as bytes, for files: a header in JSON, then arrays. Numpy alone, and no pickle.

4 bytes   length of the header, little-endian
header    kind, unit, and of each array its name, dtype, shape, bytes, and whether it is packed
arrays    one after the other; those of pixels may be packed as a label is
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError, DataError, choices
from earthloom.sample.target import (
    Boxes,
    Counts,
    Instances,
    PixelValues,
    SceneClasses,
    SceneValue,
    Target,
)

Arrays = Mapping[str, NDArray[Any]]
Pack = Callable[[NDArray[Any]], bytes]
"""The bytes of an array of pixels."""
Unpack = Callable[[NDArray[np.uint8], tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""The array of a shape and dtype that `Pack` made bytes of."""

_DTYPES = ("|u1", "<i4", "<i8", "<f4", "<f8")
_PLANES = ("values", "ids")
"""Arrays (H, W) of pixels, which are packed."""
_HEAD = np.dtype("<u4")


@dataclass(frozen=True)
class _Kind:
    """How one kind of answer becomes arrays, and comes back."""

    type: type[Target]
    arrays: Callable[[Any], Arrays]
    target: Callable[[Arrays, str], Target]
    """Of the arrays and the unit."""


def target_to_bytes(target: Target, pack: Pack) -> bytes:
    """An answer as bytes; `pack` makes those of its pixels."""
    name = next(name for name, kind in _KINDS.items() if isinstance(target, kind.type))
    parts, notes = [], []
    for what, array in _KINDS[name].arrays(target).items():
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        packed = what in _PLANES
        part = pack(little) if packed else little.tobytes()
        parts.append(part)
        notes.append([what, little.dtype.str, list(array.shape), len(part), packed])
    header = {"kind": name, "unit": getattr(target, "unit", ""), "arrays": notes}
    text = json.dumps(header, ensure_ascii=False).encode()
    return np.array(len(text), _HEAD).tobytes() + text + b"".join(parts)


def target_from_bytes(block: NDArray[np.uint8], unpack: Unpack) -> Target:
    """The answer that `target_to_bytes` made a block of; DataError if the block is damaged."""
    try:
        length = int(block[: _HEAD.itemsize].view(_HEAD)[0])
        at = _HEAD.itemsize + length
        header = json.loads(block[_HEAD.itemsize : at].tobytes())
        kind, unit, notes = _KINDS[header["kind"]], str(header["unit"]), header["arrays"]
        arrays = {}
        for what, code, shape, size, packed in notes:
            if code not in _DTYPES:
                raise ValueError(f"dtype '{code}', valid are: {choices(_DTYPES)}")
            part, dtype, at = block[at : at + size], np.dtype(code), at + size
            sides = tuple(int(side) for side in shape)
            if packed:
                arrays[what] = unpack(part, sides, dtype).copy()
            elif part.size != math.prod(sides) * dtype.itemsize:
                raise ValueError(f"{part.size} bytes of {what} {sides}")
            else:
                arrays[what] = np.frombuffer(part.tobytes(), dtype).reshape(sides).copy()
        return kind.target(arrays, unit)
    except (ContractError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"a stored answer is damaged: {error}") from error


def _instances_to_arrays(things: Instances) -> Arrays:
    arrays: dict[str, NDArray[Any]] = {"codes": things.codes}
    if things.ids is not None:
        arrays["ids"] = things.ids
    if things.polygons is not None:
        rings = [ring for each in things.polygons for ring in each]
        arrays["rings"] = np.array([len(each) for each in things.polygons], np.int32)
        arrays["corners"] = np.array([len(ring) for ring in rings], np.int32)
        arrays["points"] = np.concatenate([np.empty((0, 2), np.float32), *rings])
    return arrays


def _instances(arrays: Arrays, unit: str) -> Instances:
    polygons = None
    if "points" in arrays:
        rings = np.split(arrays["points"], np.cumsum(arrays["corners"])[:-1])
        ends = np.cumsum(arrays["rings"]).tolist()
        starts = [0, *ends[:-1]]
        polygons = tuple(tuple(rings[a:b]) for a, b in zip(starts, ends, strict=False))
    return Instances(arrays["codes"], polygons, arrays.get("ids"))


_KINDS: Mapping[str, _Kind] = {
    "scene-classes": _Kind(
        SceneClasses,
        lambda target: {"codes": np.array(target.codes, np.int64)},
        lambda arrays, unit: SceneClasses(tuple(arrays["codes"].tolist())),
    ),
    "scene-value": _Kind(
        SceneValue,
        lambda target: {"value": np.array([target.value], np.float64)},
        lambda arrays, unit: SceneValue(float(arrays["value"][0]), unit),
    ),
    "pixel-values": _Kind(
        PixelValues,
        lambda target: {"values": target.values},
        lambda arrays, unit: PixelValues(arrays["values"], unit),
    ),
    "boxes": _Kind(
        Boxes,
        lambda target: {"corners": target.corners, "codes": target.codes},
        lambda arrays, unit: Boxes(arrays["corners"], arrays["codes"]),
    ),
    "instances": _Kind(Instances, _instances_to_arrays, _instances),
    "counts": _Kind(
        Counts,
        lambda target: {"codes": target.codes, "numbers": target.numbers},
        lambda arrays, unit: Counts(arrays["codes"], arrays["numbers"]),
    ),
}
"""By their name in files; a test sees that every kind of answer is here."""
