"""How pixels lie on disk: as quantised integers or floats, as they are or compressed.

Compression is that of byte planes: neighbours along a row are subtracted, and the bytes of equal
weight are put side by side, as the shuffle filter of HDF5 does. Noise fills the low bytes, which
stay as they are and cost nothing to read. The high bytes are nearly all 0; what is not is kept as
exceptions, as in PFOR (Zukowski, Heman, Nes and Boncz 2006, "Super-scalar RAM-CPU cache
compression"), or deflated where there are many.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError, DataError, choices

DTYPES = ("float32", "float16", "uint8", "uint16", "int16")
"""What pixels may be stored as."""

_TOLERANCE = 0.01
"""Largest distance from a stored step, in steps, that the rounding of float32 explains."""

_GAIN = 0.9
"""A plane is deflated where that brings it below this share of its size."""

_LEVEL = 1
_PIECE = 2**15

_RAW, _DEFLATED, _MARKS = 0, 1, 2
"""How a plane is kept: as it is, deflated, or as the places and values of what is not 0."""

_SPARSE = 0.15
"""A plane is kept as exceptions up to this share of its size, however well it would deflate."""

_MARK_BYTES = 3
"""Bytes of an exception: the gap before it, and its value."""

_WIDEST = 65535
"""Widest gap."""

_SIGNED = {1: np.dtype(np.uint8), 2: np.dtype("<i2"), 4: np.dtype("<i4")}
"""What torch calls words of 1, 2 and 4 bytes; sums wrap around alike."""


@dataclass(frozen=True)
class Packing:
    """What stored numbers mean: `stored * scale + offset`, in float32.

    float16 loses digits and must be asked for; integers must hold every value exactly, to the
    quantisation that the source had.
    """

    dtype: str = "float32"
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ContractError(
                f"pixels cannot be stored as {self.dtype}; valid are: {choices(DTYPES)}"
            )
        if not self.scale > 0:
            raise ContractError(f"the scale of a packing is above 0, not {self.scale}")

    @property
    def is_plain(self) -> bool:
        """Whether stored numbers are the pixels themselves, NaN included."""
        return self.dtype == "float32" and self.scale == 1.0 and self.offset == 0.0

    def encode(self, pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Stored numbers of pixels (T, C, H, W); where `valid` (T, H, W) is False they are 0.

        DataError where a valid pixel is not finite, or where integers cannot hold it exactly.
        """
        if self.is_plain:
            return pixels.astype(np.float32, copy=False)
        seen = np.broadcast_to(valid[:, None], pixels.shape)
        steps = np.where(seen, (pixels.astype(np.float64) - self.offset) / self.scale, 0.0)
        if not np.isfinite(steps).all():
            raise DataError("a pixel that is marked valid is not finite and cannot be packed")
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            if np.abs(steps).max(initial=0.0) > np.finfo(dtype).max:
                raise DataError(f"a pixel of {np.abs(steps).max():g} steps overflows {self.dtype}")
            return steps.astype(dtype)
        whole = np.rint(steps)
        self._check(steps, whole, np.iinfo(dtype))
        return whole.astype(dtype)

    def _check(
        self, steps: NDArray[np.float64], whole: NDArray[np.float64], limits: "np.iinfo[Any]"
    ) -> None:
        worst = np.abs(steps - whole).max(initial=0.0)
        if worst > _TOLERANCE:
            raise DataError(
                f"pixels lie up to {worst:.3f} steps off the packing {self.dtype} * {self.scale:g} "
                f"+ {self.offset:g}; pack with the source's own scale and offset, or as float32"
            )
        low, high = whole.min(initial=0.0), whole.max(initial=0.0)
        if low < limits.min or high > limits.max:
            raise DataError(
                f"pixels need the stored numbers {low:.0f} to {high:.0f}; {self.dtype} holds "
                f"{limits.min} to {limits.max}"
            )

    def decode(self, stored: NDArray[Any], pixels: NDArray[np.float32]) -> None:
        """Puts the pixels of `stored` into `pixels`, both (T, C, H, W)."""
        if self.is_plain:
            np.copyto(pixels, stored)
            return
        scale, offset = np.float32(self.scale), np.float32(self.offset)
        # Date by date: what was multiplied is still near the processor when it is added to.
        for made, numbers in zip(pixels, stored, strict=True):
            np.multiply(numbers, scale, out=made, dtype=np.float32, casting="unsafe")
            if self.offset != 0.0:
                np.add(made, offset, out=made)


@dataclass(frozen=True)
class Storage:
    """How the pixels of a store lie on disk."""

    packing: Mapping[str, Packing] = field(default_factory=dict)
    """By a layer's key; float32 for layers that are not named."""
    compressed: bool = False
    shard_bytes: int = 64 * 2**20

    def of(self, key: str) -> Packing:
        """The packing of a layer."""
        return self.packing.get(key, Packing())


def compress(stored: NDArray[Any]) -> bytes:
    """Bytes of an array (..., W) of 1, 2 or 4 byte numbers: kind and size of each plane, planes."""
    words = np.ascontiguousarray(stored).view(f"<u{stored.dtype.itemsize}")
    steps = words.copy()
    steps[..., 1:] -= words[..., :-1]
    # Small steps up and down then share one high byte, which is 0.
    steps[..., 1:] += _bias(steps.dtype)
    planes = steps.reshape(-1).view(np.uint8).reshape(-1, steps.dtype.itemsize).T
    kept = [_smallest(np.ascontiguousarray(plane)) for plane in planes]
    head = np.array([(kind, len(part)) for kind, part in kept], "<u4")
    return head.tobytes() + b"".join(part for _, part in kept)


def decompress(
    block: NDArray[np.uint8], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The array that `compress` made `block` of; DataError if the block is damaged."""
    item, count = dtype.itemsize, int(np.prod(shape))
    if block.size < 8 * item:
        raise DataError(f"a compressed block of {block.size} bytes is too short")
    head = block[: 8 * item].view("<u4").reshape(item, 2).tolist()
    words, at = np.zeros(count, f"<u{item}"), 8 * item
    for number, (kind, size) in enumerate(head):
        part = block[at : at + size]
        if part.size != size:
            raise DataError(f"a compressed block of {block.size} bytes is too short")
        _put_plane(words, 8 * number, kind, part)
        at += size
    if not count:
        return words.view(dtype).reshape(shape)
    return _summed(words.reshape(shape)).view(dtype)


def _smallest(plane: NDArray[np.uint8]) -> tuple[int, bytes]:
    """How a plane is kept, and its bytes."""
    # Exceptions are put back ten times faster than a plane inflates, so they are looked at first.
    if _MARK_BYTES * np.count_nonzero(plane) <= _SPARSE * len(plane):
        return _MARKS, _exceptions(plane)
    raw = plane.tobytes()
    # A piece of the middle tells noise from what can be deflated, at a fraction of the time.
    piece = raw[len(raw) // 2 :][:_PIECE]
    if len(raw) > 2 * _PIECE and len(zlib.compress(piece, _LEVEL)) >= _GAIN * len(piece):
        return _RAW, raw
    small = zlib.compress(raw, _LEVEL)
    return (_DEFLATED, small) if len(small) < _GAIN * len(raw) else (_RAW, raw)


def _exceptions(plane: NDArray[np.uint8]) -> bytes:
    """Gaps between the bytes that are not 0, as 2 byte numbers, then those bytes."""
    marked = plane != 0
    # A gap too wide for 2 bytes is bridged by bytes that are 0.
    marked[_WIDEST - 1 :: _WIDEST] = True
    at = np.flatnonzero(marked)
    return np.diff(at, prepend=-1).astype("<u2").tobytes() + plane[at].tobytes()


def _put_plane(words: NDArray[Any], shift: int, kind: int, part: NDArray[np.uint8]) -> None:
    """Puts the bytes of one plane into place."""
    if kind == _MARKS:
        marks = part.size // _MARK_BYTES
        at = np.cumsum(part[: 2 * marks].view("<u2"), dtype=np.int64) - 1
        if part.size % _MARK_BYTES or (marks and at[-1] >= words.size):
            raise DataError("a compressed block is damaged: bytes lie beyond its end")
        words[at] |= part[2 * marks :].astype(words.dtype) << shift
        return
    if kind == _DEFLATED:
        try:
            # numpy's stubs for Python 3.11 do not say that an array is a buffer.
            part = np.frombuffer(zlib.decompress(part, bufsize=words.size), np.uint8)  # type: ignore[arg-type]
        except zlib.error as error:
            raise DataError(f"a compressed block is damaged: {error}") from error
    elif kind != _RAW:
        raise DataError(f"a compressed block is damaged: it has a plane of kind {kind}")
    if part.size != words.size:
        raise DataError(f"a compressed block holds {part.size} bytes in place of {words.size}")
    if shift == 0:
        np.copyto(words, part)
    else:
        np.bitwise_or(words, np.left_shift(part, shift, dtype=words.dtype), out=words)


def _summed(steps: NDArray[Any]) -> NDArray[Any]:
    """Numbers (..., W) of the steps between them along the rows."""
    # torch adds up four times faster than numpy, and outside Python's lock. It is imported here so
    # that whoever reads plain stores or writes any does without it.
    import torch

    signed = torch.from_numpy(steps.view(_SIGNED[steps.dtype.itemsize]))
    words: NDArray[Any] = torch.cumsum(signed, -1, dtype=signed.dtype).numpy().view(steps.dtype)
    ramp = np.arange(steps.shape[-1], dtype=np.uint64) * int(_bias(steps.dtype))
    np.subtract(words, ramp.astype(steps.dtype), out=words)
    return words


def _bias(dtype: np.dtype[Any]) -> "np.unsignedinteger[Any]":
    """Half the range of the bytes below the highest; 0 for single bytes."""
    return dtype.type((1 << (8 * (dtype.itemsize - 1))) >> 1)  # type: ignore[no-any-return]
