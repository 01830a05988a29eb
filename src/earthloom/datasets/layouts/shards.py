"""WebDataset (Aizman et al. 2019): tar files whose members `KEY.EXTENSION` are one sample a key.

Members are read where they lie; nothing is unpacked, and no pickle is read.
"""

import io
import json
import tarfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from earthloom.datasets.imagery import Imagery
from earthloom.datasets.layouts.items import codes_of
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.target import SceneClasses, SceneValue, Target

_NUMBERS = 254
"""Labels below this are numbers of classes, which count from 0."""


@dataclass(frozen=True)
class _Member:
    file: Path
    start: int
    size: int

    def bytes(self) -> bytes:
        with self.file.open("rb") as source:
            source.seek(self.start)
            return source.read(self.size)


_Sample = tuple[str, str, Mapping[str, _Member]]
"""Key, shard, and members by extension."""


@dataclass(frozen=True)
class Shards:
    """Samples in tar files; a `Reader`."""

    imagery: Imagery
    keys: tuple[str, ...]
    groups: tuple[str, ...]
    """The shard of each sample, since samples of one are neighbours."""
    images: tuple[_Member, ...]
    answers: tuple[Target | None, ...]
    masks: tuple[_Member, ...]
    codes: Mapping[int, int]
    """Code of each value of masks."""
    image: str
    mask: str
    channels_last: bool

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {self.imagery.spec.key: self.imagery.spec}

    def __len__(self) -> int:
        return len(self.keys)

    def chip(self, index: int) -> Chip:
        layer, place = self._pixels(index)
        shape = Shape2d(*layer.valid.shape[-2:])
        label = self._label(index, shape) if self.mask else None
        layers = {layer.spec.key: layer}
        return Chip(self.keys[index], shape, layers, label, self.groups[index], place)

    def target(self, index: int) -> Target | None:
        return self.answers[index]

    def _pixels(self, index: int) -> tuple[Layer, Place | None]:
        member = self.images[index]
        if not self.image.endswith("npy"):
            with _image(member, self.image) as source:
                return self.imagery.from_open(
                    source, f"the .{self.image} of {self.keys[index]} in {member.file}"
                )
        stored = _array(member, self.image)
        if self.channels_last and stored.ndim == 3:
            stored = np.moveaxis(stored, -1, 0)
        return self.imagery.layer(stored if stored.ndim == 3 else stored[None]), None

    def _label(self, index: int, shape: Shape2d) -> NDArray[np.uint8]:
        values = _array(self.masks[index], self.mask)
        values = values[0] if values.ndim == 3 and len(values) == 1 else values
        where = f"the mask of {self.keys[index]} in {self.masks[index].file}"
        if values.shape != shape:
            raise LabelError(f"{where} has the shape {values.shape}, its image {tuple(shape)}")
        found, positions = np.unique(values, return_inverse=True)
        unknown = [value for value in found.tolist() if value not in self.codes]
        if unknown:
            raise LabelError(
                f"{where} has the value {unknown[0]}, which is of no class; valid are: "
                f"{choices(self.codes)}"
            )
        codes = np.array([self.codes[value] for value in found.tolist()], np.uint8)
        return codes[positions].reshape(values.shape)


def read_webdataset(
    folder: Path,
    imagery: Imagery,
    shards: str = "*.tar",
    image: str = "npy",
    label: str = "",
    value: str = "",
    mask: str = "",
    unit: str = "1",
    classes: Sequence[str] = (),
    values: Sequence[int] = (),
    unlabelled: Sequence[int] = (0,),
    channels_last: bool = False,
) -> LabelledSamples:
    """The samples of the tar files that `shards` names, in order.

    `image` is the extension of the pixels: `npy` (C, H, W), or (H, W, C) with `channels_last`, or
    an image file, whose place and nodata count. The answer is one of `label` (`cls`: a number from
    0 or a name; `json:KEY`, where a list says several classes), `value` (as `label`, a number) and
    `mask` (an extension such as `mask.png`, which holds `values`, 1, 2, ... unless said, and
    `unlabelled`). `classes` are in the order of the numbers. Incomplete samples are counted.
    """
    if sum(map(bool, (label, value, mask))) != 1:
        raise DataError(f"{folder}: name one kind of answer: 'label', 'value' or 'mask'")
    answer = mask or (label or value).partition(":")[0]
    kept, skipped = _whole(folder, shards, (image, answer))
    report = ReadReport(len(kept) + sum(skipped.values()), dict(skipped))
    names, answers, several = _answers(kept, label, value, unit, classes)
    stored = list(values) or list(range(1, len(names) + 1))
    if mask and len(stored) != len(names):
        raise DataError(f"{len(stored)} values of masks do not fit {len(names)} classes")
    codes = dict.fromkeys(unlabelled, 0) | {value: code for code, value in enumerate(stored, 1)}
    reader = Shards(
        imagery=imagery,
        keys=tuple(key for key, _, _ in kept),
        groups=tuple(name for _, name, _ in kept),
        images=tuple(members[image] for *_, members in kept),
        answers=answers,
        masks=tuple(members[mask] for *_, members in kept) if mask else (),
        codes=codes,
        image=image,
        mask=mask,
        channels_last=channels_last,
    )
    scene = "scene-labels" if several else "scene-class"
    task = scene if label else "scene-value" if value else "pixel-class"
    return LabelledSamples(folder.name, task, names, reader, report)


def _whole(folder: Path, shards: str, needed: Sequence[str]) -> tuple[list[_Sample], Counter[str]]:
    """The samples that have all extensions, and how many lack which."""
    files = sorted(folder.glob(shards))
    if not files:
        there = choices(sorted(path.name for path in folder.iterdir())[:8])
        raise DataError(f"there is no shard {shards} in {folder}; it holds: {there}")
    skipped, kept, seen = Counter[str](), list[_Sample](), set[str]()
    for file in files:
        for key, members in _index(file).items():
            seen.update(members.keys())
            missing = [extension for extension in needed if extension not in members]
            if missing:
                skipped[f"without .{missing[0]}"] += 1
            else:
                kept.append((key, file.name, members))
    if not kept:
        raise DataError(
            f"{folder} has no sample with {choices(f'.{each}' for each in needed)}; the members of "
            f"{sum(skipped.values())} samples are: {choices(f'.{each}' for each in sorted(seen))}"
        )
    return kept, skipped


def _index(file: Path) -> dict[str, dict[str, _Member]]:
    """Where the members of each sample lie; DataError for a file that is no whole tar."""
    found: dict[str, dict[str, _Member]] = {}
    try:
        with tarfile.open(file, "r:") as archive:
            for info in archive:
                if not info.isfile():
                    continue
                folder, _, name = info.name.rpartition("/")
                key, _, extension = name.partition(".")
                member = _Member(file, info.offset_data, info.size)
                found.setdefault(f"{folder}/{key}".lstrip("/."), {})[extension.lower()] = member
    except (tarfile.TarError, OSError) as error:
        packed = file.suffix.lower() in (".gz", ".tgz", ".bz2", ".xz", ".zst")
        words = "it is compressed, so that no member can be found; unpack it to .tar"
        raise DataError(f"the shard {file} cannot be read: {words if packed else error}") from error
    ends = [one.start + one.size for members in found.values() for one in members.values()]
    if max(ends, default=0) > file.stat().st_size:
        raise DataError(f"the shard {file} cannot be read: it is cut off")
    return found


@contextmanager
def _image(member: _Member, extension: str) -> Iterator[DatasetReader]:
    """An image file in a shard; every failure while it is open is a DataError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with MemoryFile(member.bytes()) as memory, memory.open() as source:
                yield source
        except (OSError, RasterioError) as error:
            raise _unreadable(member, extension, error) from error


def _array(member: _Member, extension: str) -> NDArray[Any]:
    """A member's numbers: (C, H, W) of an image, any shape of an array."""
    if not extension.endswith("npy"):
        with _image(member, extension) as source:
            return np.asarray(source.read())
    try:
        return np.asarray(np.load(io.BytesIO(member.bytes()), allow_pickle=False))
    except (ValueError, OSError) as error:
        raise _unreadable(member, extension, error) from error


def _unreadable(member: _Member, extension: str, error: Exception) -> DataError:
    words = " ".join(str(error).split())
    return DataError(f"a .{extension} of {member.file} cannot be read: {words}")


def _answers(
    kept: Sequence[_Sample],
    label: str,
    value: str,
    unit: str,
    classes: Sequence[str],
) -> tuple[tuple[str, ...], tuple[Target | None, ...], bool]:
    """The classes, the answers, and whether a sample may have several."""
    if not label and not value:
        if not classes:
            raise DataError("masks in shards need 'classes'")
        codes_of(classes)
        return tuple(classes), (None,) * len(kept), False
    given = [_said(members, label or value, f"{key} in {name}") for key, name, members in kept]
    if value:
        try:
            return (), tuple(SceneValue(float(one), unit) for one in given), False
        except (TypeError, ValueError) as error:
            raise LabelError(f"a value is no number: {error}") from error
    several = any(isinstance(each, list) for each in given)
    words = [[str(one) for one in (each if isinstance(each, list) else [each])] for each in given]
    present = {word for each in words for word in each}
    numbered = all(word.isdigit() for word in present)
    names = tuple(classes) or tuple(sorted(present, key=int if numbered else str))
    if numbered and not classes and int(names[-1]) < _NUMBERS:
        # Those that these shards lack too, so that codes are the same in the shards of any split.
        names = tuple(str(number) for number in range(int(names[-1]) + 1))
    codes = codes_of(names)
    if numbered and classes:
        codes = {str(at): code for at, code in enumerate(codes.values())}
    unknown = sorted(present - set(codes))
    if unknown:
        raise LabelError(f"the label '{unknown[0]}' is of no class; classes are: {choices(codes)}")
    found = (tuple(sorted({codes[word] for word in each})) for each in words)
    return names, tuple(SceneClasses(each) for each in found), several


def _said(members: Mapping[str, _Member], label: str, where: str) -> Any:
    """The answer of a sample: text, or what stands in JSON."""
    extension, _, key = label.partition(":")
    try:
        text = members[extension].bytes().decode("utf-8").strip()
        said = json.loads(text) if key else text
    except (UnicodeError, ValueError) as error:
        raise LabelError(f"the .{extension} of {where} cannot be read: {error}") from error
    if not key:
        return said
    if not isinstance(said, dict) or key not in said:
        there = choices(said) if isinstance(said, dict) else type(said).__name__
        raise LabelError(f"the .{extension} of {where} has no key '{key}'; it has: {there}")
    if isinstance(said[key], dict) or said[key] is None:
        raise LabelError(f"the .{extension} of {where} has no answer as '{key}': {said[key]}")
    return said[key]
