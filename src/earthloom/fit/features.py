"""Features of a frozen encoder, computed once per chip and kept, and statistics computed once.

A folder of features is named after the encoder's weights and the store that the chips are of, so
that features of another encoder or of other chips are never taken for these.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earthloom.encoders import Encoder, Features, Statistics
from earthloom.errors import ContractError, DataError
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Samples, Shape2d, Subset
from earthloom.sample.room import collate_ragged
from earthloom.stages import canonical_json, write_atomic

_FORMAT = 2
_VECTOR, _SHAPE = "vector", "shape"
_CARD = "card.json"


@dataclass(frozen=True)
class FeatureCache:
    """Features of all chips of some samples; made by `features_of`."""

    folder: Path
    count: int
    part: int
    """Chips in each file but the last one."""
    stride: int = 1
    """Of the features, see `Features.stride`."""
    levels: int = 0
    """Images of the pyramid that are kept; 0 for none."""

    def __len__(self) -> int:
        return self.count

    def of(self, rows: Sequence[int]) -> Features:
        """Features of the chips with these numbers, in this order."""
        for row in rows:
            if not 0 <= row < self.count:
                raise ContractError(f"there are features of {self.count} chips, none of {row}")
        pixels, seen = (torch.from_numpy(self._rows(what, rows)) for what in ("pixels", "seen"))
        levels = [self._rows(_level(number), rows) for number in range(self.levels)]
        own = self._file(0, _VECTOR).is_file()
        return Features(
            pixels.float(),
            seen,
            tuple(torch.from_numpy(level).float() for level in levels),
            torch.from_numpy(self._rows(_VECTOR, rows)).float() if own else None,
            self.stride,
            self._shape(),
        )

    def _rows(self, what: str, rows: Sequence[int]) -> NDArray[Any]:
        """One kind of array of some chips, side by side."""
        return np.stack(
            [_mapped(self._file(row // self.part, what))[row % self.part] for row in rows]
        )

    def has(self, number: int) -> bool:
        """Whether a part is there."""
        return all(self._file(number, what).is_file() for what in ("pixels", "seen"))

    def put(self, number: int, features: Features, dtype: np.dtype[Any]) -> None:
        """Writes a part, whole or not at all."""
        self._save(number, "seen", features.seen.cpu().numpy())
        if features.vector is not None:
            self._save(number, _VECTOR, _as_array(features.vector, dtype))
        if features.shape is not None:
            self._save(number, _SHAPE, np.array(features.shape))
        for level, image in enumerate(features.pyramid[: self.levels]):
            self._save(number, _level(level), _as_array(image, dtype))
        # Last, as a part with pixels is taken for whole.
        self._save(number, "pixels", _as_array(features.pixels, dtype))

    def _shape(self) -> Shape2d | None:
        """Of the chips' base grid, which is the same for all, where the encoder says it."""
        path = self._file(0, _SHAPE)
        return Shape2d(*map(int, _mapped(path))) if path.is_file() else None

    def _save(self, number: int, what: str, values: NDArray[Any]) -> None:
        path = self._file(number, what)
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as stream:
            np.save(stream, values, allow_pickle=False)
        partial.replace(path)

    def _file(self, number: int, what: str) -> Path:
        return self.folder / f"{what}-{number:05d}.npy"


@torch.inference_mode()
def features_of(
    encoder: Encoder,
    samples: Samples,
    digest: str,
    folder: Path,
    part: int = 32,
    half: bool = False,
    device: torch.device | str = "cpu",
    tick: Callable[[int, int], None] | None = None,
    pyramid: bool = False,
) -> FeatureCache:
    """The features of every chip, from `folder` where they are there; what is missing is computed.

    `digest` is that of the chips (`ChipStore.digest`). `half` keeps float16, which loses digits
    and takes half the disk. An encoder's own vectors of whole chips are kept as well, its pyramid
    only where it is asked for, since it is large. ContractError if the samples are not what the
    encoder was made for.
    """
    encoder.check(samples.specs)
    levels = len(encoder.pyramid) if pyramid else 0
    key = _key(encoder, digest, len(samples), part, half, levels)
    cache = FeatureCache(folder / key[:16], len(samples), part, encoder.stride, levels)
    card = canonical_json({"key": key, "chips": len(samples), "part": part, "half": half})
    write_atomic(cache.folder / _CARD, card)
    encoder = encoder.to(device).eval()
    for number, first in enumerate(range(0, len(samples), part)):
        last = min(first + part, len(samples))
        if not cache.has(number):
            chips = [samples[index] for index in range(first, last)]
            batch = collate_ragged(chips, samples.specs).to(device)
            dtype = np.dtype(np.float16 if half else np.float32)
            cache.put(number, encoder(batch), dtype)
        if tick is not None:
            tick(last, len(samples))
    return cache


def encoder_digest(encoder: Encoder) -> str:
    """SHA-256 of what an encoder is: its name, its layers, its configuration and every weight."""
    digest = hashlib.sha256()
    card = [encoder.name, encoder.config(), [layer.to_json() for layer in encoder.layers]]
    digest.update(canonical_json(card).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def statistics_once(
    samples: Samples, training: Sequence[int], digest: str, folder: Path
) -> dict[str, Statistics]:
    """Statistics over the valid pixels of the training chips, computed once and kept in `folder`.

    `training` are their numbers; pixels of other chips are not looked at. `digest` is that of the
    chips.
    """
    rows = np.asarray(training, np.int64)
    key = hashlib.sha256(f"{_FORMAT} {digest} ".encode() + np.sort(rows).tobytes()).hexdigest()
    path = folder / f"statistics-{key[:16]}.json"
    if path.is_file():
        return _read_statistics(path)
    found = statistics_of(Subset(samples, np.sort(rows).tolist()))
    write_atomic(path, canonical_json({name: vars(each) for name, each in found.items()}))
    return found


def _read_statistics(path: Path) -> dict[str, Statistics]:
    try:
        values: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: Statistics(tuple(each["mean"]), tuple(each["std"]))
            for name, each in values.items()
        }
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error!r}; remove it") from error


def _key(encoder: Encoder, digest: str, count: int, part: int, half: bool, levels: int) -> str:
    parts = [_FORMAT, encoder_digest(encoder), digest, count, part, half, levels]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def _level(number: int) -> str:
    return f"level{number}"


def _as_array(values: torch.Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    array: NDArray[Any] = values.float().cpu().numpy().astype(dtype)
    return array


def _mapped(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"features cannot be read from {path}: {error}") from error
    return array
