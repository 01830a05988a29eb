"""Whether a model may have seen what it is tested on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from earthloom.chips.folds import Fold
from earthloom.sample import Chip


@dataclass(frozen=True)
class Leak:
    """What training and test of a fold have in common."""

    groups: int
    """Groups with samples on both sides."""
    samples: int
    """Samples that stand on both sides."""
    pixels: int
    """Test samples whose pixels, all of them, are those of a training sample."""

    @property
    def found(self) -> bool:
        """Whether the split itself is broken; equal pixels are a fault of the data, and told."""
        return bool(self.groups or self.samples)

    def words(self) -> str:
        """In one line; empty where nothing is known to leak."""
        said = [
            f"{self.groups} groups on both sides" if self.groups else "",
            f"{self.samples} samples on both sides" if self.samples else "",
            f"{self.pixels} test samples have the pixels of a training sample"
            if self.pixels
            else "",
        ]
        return "; ".join(each for each in said if each)


def look_for_leaks(
    groups: Sequence[str], digests: Sequence[bytes], fold: Fold, with_groups: bool = True
) -> Leak:
    """Compares both sides of a fold: numbers, groups (names alone mean nothing between published
    splits, where `with_groups` is off), and every sample's `pixel_digest`."""
    named = np.asarray(groups, dtype=np.str_)
    both = np.intersect1d(named[fold.train], named[fold.test]) if with_groups else named[:0]
    trained = {digests[at] for at in fold.train.tolist()}
    return Leak(
        groups=int((both != "").sum()),
        samples=len(np.intersect1d(fold.train, fold.test)),
        pixels=sum(digests[at] in trained for at in fold.test.tolist()),
    )


def pixel_digest(chip: Chip) -> bytes:
    """Of all layers' pixels."""
    found = hashlib.blake2b(digest_size=16)
    for key in sorted(chip.layers):
        found.update(np.ascontiguousarray(chip.layers[key].pixels).tobytes())
    return found.digest()


def answer_digest(chip: Chip) -> bytes:
    """Of its label, target and weights."""
    found = hashlib.blake2b(digest_size=16)
    parts = [chip.label, chip.weight]
    if chip.target is not None:
        parts += [getattr(chip.target, each.name) for each in fields(chip.target)]
    for part in parts:
        _note(found, part)
    return found.digest()


def _note(found: "hashlib.blake2b", part: object) -> None:
    """Adds an array by its bytes, several parts one by one, and anything else by its words."""
    if isinstance(part, np.ndarray):
        found.update(f"{part.dtype} {part.shape}".encode())
        found.update(np.ascontiguousarray(part).tobytes())
    elif isinstance(part, tuple):
        found.update(f"{len(part)} parts".encode())
        for each in part:
            _note(found, each)
    else:
        found.update(repr(part).encode())
