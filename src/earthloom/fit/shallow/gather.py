"""Features and answers of labelled pixels or of whole chips, computed once by a frozen encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from earthloom.encoders.base import Encoder, Features
from earthloom.errors import ContractError, LabelError, choices
from earthloom.fit.features import FeatureCache
from earthloom.fit.shallow.pixels import (
    ClassedPixels,
    PixelAnswers,
    ValuedPixels,
    check_unit,
    counts_by_name,
    cut,
    features_at,
    may_be_cut,
    seen_pixels,
)
from earthloom.fit.shallow.rows import Kind, Rows, thinned
from earthloom.sample import Chip, Samples, Shape2d, chips_of
from earthloom.sample.batch import collate
from earthloom.sample.room import collate_ragged
from earthloom.sample.target import SceneClasses, SceneValue
from earthloom.tasks.base import Task, is_counted
from earthloom.tasks.values import ValueTask

if TYPE_CHECKING:
    from earthloom.progress import Tick

MOST = 12_000
"""Rows in all; beyond, those of the classes that have most are thinned."""

_BATCH_PIXELS = 65_536


class Classed(Protocol):
    """A task with classes."""

    @property
    def codes(self) -> tuple[int, ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...


def gather(
    encoder: Encoder,
    samples: Samples,
    task: Task[Any],
    seed: int,
    most: int = MOST,
    cache: FeatureCache | None = None,
    tick: Tick | None = None,
) -> Rows:
    """Rows for a task of pixels or of whole chips, `most` of them at most.

    With a `cache` of the same samples' features the encoder is not asked again. LabelError where
    there is nothing to learn from; ContractError for a task that is not in `KINDS`, or for samples
    that the encoder was not made for.
    """
    if task.name not in _GATHER:
        raise ContractError(
            f"no features can be gathered for the task '{task.name}'; tasks: {choices(_GATHER)}"
        )
    encoder.check(samples.specs)
    chips = _Source(encoder.eval(), samples, cache, tick)
    rows = thinned(_GATHER[task.name](chips, task, seed), most, seed)
    if isinstance(task, ValueTask):
        # Heads of such tasks give standard deviations, see `earthloom.tasks.values`.
        return replace(rows, answers=task.scale.standardised(rows.answers))
    return rows


@dataclass(frozen=True)
class _Source:
    """Where features come from."""

    encoder: Encoder
    samples: Samples
    cache: FeatureCache | None
    tick: Tick | None

    @torch.inference_mode()
    def encoded(
        self, usable: Callable[[Chip], Chip | None]
    ) -> Iterator[tuple[list[Chip], Features]]:
        """Usable chips with their features, those of one shape side by side."""
        for done, numbers, chips in self._batches(usable):
            yield chips, self._features(numbers, chips)
            if self.tick:
                self.tick(done, len(self.samples))

    def _features(self, numbers: list[int], chips: list[Chip]) -> Features:
        if self.cache is not None:
            return self.cache.of(numbers)
        specs = self.samples.specs
        whole = all(_is_whole(chip, specs) for chip in chips)
        batch = collate(chips) if whole else collate_ragged(chips, specs)
        weights = next(self.encoder.buffers(), None)
        found: Features = self.encoder(batch if weights is None else batch.to(weights.device))
        return found

    def _batches(
        self, usable: Callable[[Chip], Chip | None]
    ) -> Iterator[tuple[int, list[int], list[Chip]]]:
        """Chips read so far, and the numbers and chips of a batch."""
        waiting: dict[Shape2d, tuple[list[int], list[Chip]]] = {}
        for number, read in enumerate(chips_of(self.samples)):
            chip = usable(read)
            if chip is None:
                continue
            numbers, chips = waiting.setdefault(chip.shape, ([], []))
            numbers.append(number)
            chips.append(chip)
            if len(chips) * chip.shape.rows * chip.shape.cols >= _BATCH_PIXELS:
                yield number + 1, *waiting.pop(chip.shape)
        for numbers, chips in waiting.values():
            yield len(self.samples), numbers, chips

    @property
    def cuts(self) -> bool:
        """Whether only the labelled parts of chips are encoded."""
        return self.cache is None and may_be_cut(self.encoder)


def _is_whole(chip: Chip, specs: Mapping[str, Any]) -> bool:
    return chip.layers.keys() == specs.keys() and all(
        len(layer.spec.dates) == len(specs[key].dates) for key, layer in chip.layers.items()
    )


def _pixel_rows(source: _Source, answers: PixelAnswers, seed: int) -> Rows | None:
    """One row a pixel, its answer a class code or a value as chips have it; None without any."""

    def usable(chip: Chip) -> Chip | None:
        kept = answers.usable(chip)
        if kept is None or not source.cuts:
            return kept
        return cut(kept, answers.known(kept), source.encoder.radius)

    features, given, weights, repeats, groups = [], [], [], [], []
    weighted = False
    for chips, encoded in source.encoded(usable):
        for number, chip in enumerate(chips):
            taken = answers.take(chip, seen_pixels(encoded, number), seed)
            features.append(features_at(encoded, number, taken).cpu())
            given.append(torch.from_numpy(taken.answers))
            weights.append(torch.from_numpy(taken.weights))
            repeats.append(torch.from_numpy(taken.repeats))
            weighted |= chip.weight is not None
            groups += [chip.group] * len(taken.rows)
    if not features:
        return None
    return Rows(
        kind=Kind.VALUES,
        features=torch.cat(features),
        answers=torch.cat(given),
        weights=torch.cat(weights),
        groups=groups,
        outputs=1,
        repeats=torch.cat(repeats) if weighted else None,
    )


def _pixel_classes(source: _Source, task: Classed, seed: int) -> Rows:
    answers = ClassedPixels()
    rows = _pixel_rows(source, answers, seed)
    counts = counts_by_name(answers.counts, task.codes, task.names)
    _check_classes(counts, len(source.samples))
    assert rows is not None
    indices = {code: index for index, code in enumerate(task.codes)}
    classes = torch.tensor([indices.get(code, -1) for code in rows.answers.tolist()])
    found = replace(
        rows, kind=Kind.CLASSES, answers=classes, outputs=len(task.codes), counts=counts
    )
    return found.at(classes >= 0) if (classes < 0).any() else found


def _pixel_values(source: _Source, task: Task[Any], seed: int) -> Rows:
    rows = _pixel_rows(source, ValuedPixels(getattr(task, "unit", None)), seed)
    if rows is None or not len(rows.counted()):
        raise LabelError(f"none of the {len(source.samples)} training chips has values of pixels")
    return rows


def _scene_rows(source: _Source, answer_of: Callable[[Chip], Any]) -> tuple[list[Any], Rows]:
    """Answers, and one row a chip that has one, counts and shows anything; it stands for as many as
    the mean of its weights says."""
    features, given, groups, repeats = [], [], [], []
    weighted = False

    def usable(chip: Chip) -> Chip | None:
        return chip if is_counted(chip) and answer_of(chip) is not None else None

    for chips, encoded in source.encoded(usable):
        vectors = encoded.scene().cpu().float()
        seen = encoded.seen.flatten(1).any(dim=1).tolist()
        for number, chip in enumerate(chips):
            if seen[number]:
                features.append(vectors[number])
                given.append(answer_of(chip))
                groups.append(chip.group)
                repeats.append(1.0 if chip.weight is None else float(chip.weight.mean()))
                weighted |= chip.weight is not None
    if not features:
        raise LabelError(f"none of the {len(source.samples)} training chips has an answer")
    count = len(features)
    blank = torch.zeros(count, dtype=torch.float64)
    even = torch.ones(count, dtype=torch.float64)
    each = torch.tensor(repeats, dtype=torch.float64) if weighted else None
    return given, Rows(Kind.VALUES, torch.stack(features), blank, even, groups, 1, repeats=each)


def _scene_class(source: _Source, task: Task[Any], seed: int) -> Rows:
    classed = cast(Classed, task)
    indices = {code: index for index, code in enumerate(classed.codes)}

    def index_of(chip: Chip) -> int | None:
        target = chip.target
        if not isinstance(target, SceneClasses) or len(target.codes) != 1:
            return None
        return indices.get(target.codes[0])

    given, rows = _scene_rows(source, index_of)
    answers = torch.tensor(given, dtype=torch.int64)
    sizes = torch.bincount(answers, minlength=len(indices)).tolist()
    counts = dict(zip(classed.names, sizes, strict=True))
    _check_classes(counts, len(source.samples))
    return replace(rows, kind=Kind.CLASSES, answers=answers, outputs=len(indices), counts=counts)


def _scene_labels(source: _Source, task: Task[Any], seed: int) -> Rows:
    classed = cast(Classed, task)

    def shown(chip: Chip) -> list[bool] | None:
        target = chip.target
        if not isinstance(target, SceneClasses):
            return None
        return [code in target.codes for code in classed.codes]

    given, rows = _scene_rows(source, shown)
    answers = torch.tensor(given, dtype=torch.bool)
    counts = dict(zip(classed.names, answers.sum(dim=0).tolist(), strict=True))
    if not any(0 < count < len(rows) for count in counts.values()):
        raise LabelError(
            f"a model needs a class that some chips show and others do not; of {len(rows)} chips "
            f"show: {choices(f'{name} {count}' for name, count in counts.items())}"
        )
    outputs = len(classed.codes)
    return replace(rows, kind=Kind.LABELS, answers=answers, outputs=outputs, counts=counts)


def _scene_value(source: _Source, task: Task[Any], seed: int) -> Rows:
    unit: str | None = getattr(task, "unit", None)

    def value_of(chip: Chip) -> float | None:
        target = chip.target
        if not isinstance(target, SceneValue) or not math.isfinite(target.value):
            return None
        check_unit(chip.id, target.unit, unit)
        return target.value

    given, rows = _scene_rows(source, value_of)
    return replace(rows, answers=torch.tensor(given, dtype=torch.float64))


def _check_classes(counts: Mapping[str, int], chips: int) -> None:
    """LabelError unless two classes or more are labelled."""
    present = [name for name, count in counts.items() if count]
    if len(present) < 2:
        raise LabelError(
            f"a model needs labels of two classes or more; the {chips} training chips have labels "
            f"of: {choices(present)}; the project's classes are: {choices(counts)}"
        )


_GATHER: Mapping[str, Callable[[_Source, Any, int], Rows]] = {
    "pixel-class": _pixel_classes,
    "scene-class": _scene_class,
    "scene-labels": _scene_labels,
    "scene-value": _scene_value,
    "pixel-value": _pixel_values,
}

KINDS: Mapping[str, Kind] = {
    "pixel-class": Kind.CLASSES,
    "scene-class": Kind.CLASSES,
    "scene-labels": Kind.LABELS,
    "scene-value": Kind.VALUES,
    "pixel-value": Kind.VALUES,
}
"""What the answers to each task are, by `Task.name`."""

OF_SCENES = frozenset({"scene-class", "scene-labels", "scene-value"})
"""Tasks whose rows are chips as a whole."""
