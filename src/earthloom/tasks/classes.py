"""Codes of classes, as labels hold them, against indices of classes, as logits do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError, choices
from earthloom.sample.batch import Batch
from earthloom.sample.target import SceneClasses, Target
from earthloom.tasks.base import chip_weights
from earthloom.tasks.class_weights import ClassWeighting, weighting_from

IGNORED = -1
"""Class index of a pixel or chip without a label, or with one that must not be used; losses and
metrics pass it over."""


def check_classes(codes: Sequence[int], names: Sequence[str], highest: int | None = None) -> None:
    """ContractError unless there are as many names as codes, which rise above 0, each once."""
    if len(codes) != len(names):
        raise ContractError(f"{len(codes)} class codes do not fit {len(names)} names")
    for code, name in zip(codes, names, strict=True):
        if code < 1 or (highest is not None and code > highest):
            valid = "1 and above" if highest is None else f"1 to {highest}"
            raise ContractError(f"class {name} has the code {code}; valid are {valid}")
    twice = sorted({code for code in codes if list(codes).count(code) > 1})
    if twice:
        raise ContractError(f"each class has a code of its own, but several have: {choices(twice)}")


def indices_of(codes: Tensor, classes: tuple[int, ...]) -> Tensor:
    """Class codes 0 to 255 (any shape, int64) to indices; `IGNORED` where there is no class."""
    table = torch.full((256,), IGNORED, dtype=torch.int64)
    table[torch.tensor(classes)] = torch.arange(len(classes))
    return table.to(codes.device)[codes]


def scene_codes(chip: str, target: Target | None) -> tuple[int, ...] | None:
    """Codes of the classes of a whole chip; None where it has no target.

    ContractError where its target is something else.
    """
    if target is None or isinstance(target, SceneClasses):
        return None if target is None else target.codes
    raise ContractError(
        f"chip {chip} has a target of {type(target).__name__}; a task of scenes needs SceneClasses"
    )


def scene_index(chip: str, target: Target | None, classes: tuple[int, ...]) -> int:
    """Index of the one class of a chip; `IGNORED` where it has none of them.

    ContractError where it has several.
    """
    known = [code for code in scene_codes(chip, target) or () if code in classes]
    if len(known) > 1:
        raise ContractError(
            f"chip {chip} has the classes {choices(known)}; a chip of this task has one"
        )
    return classes.index(known[0]) if known else IGNORED


def scene_indices(batch: Batch, classes: tuple[int, ...], device: torch.device) -> Tensor:
    """(B,) index of the one class of each chip; `IGNORED` where it has none, or weighs nothing."""
    pairs = zip(batch.ids, batch.targets, strict=True) if batch.targets else ()
    truth = [scene_index(chip, target, classes) for chip, target in pairs]
    found = torch.tensor(truth or [IGNORED] * len(batch.ids), dtype=torch.int64)
    return ignored_without_weight(found, batch).to(device)


def ignored_without_weight(truth: Tensor, batch: Batch) -> Tensor:
    """(B,) class indices of chips, `IGNORED` where a chip weighs nothing."""
    each = chip_weights(batch)
    return truth if each is None else truth.masked_fill(each.to(truth.device) == 0, IGNORED)


def seen_scenes(features: Features) -> Tensor:
    """(B,) bool: False for chips of which nothing was seen."""
    return features.seen.flatten(1).any(dim=1)


def class_weights(
    weighting: ClassWeighting, counts: tuple[float, ...] | None, like: Tensor, classes: int
) -> Tensor:
    """(K,) weights of the classes on the device of `like`; 1 before a task is fitted."""
    if counts is None:
        return torch.ones(classes, dtype=like.dtype, device=like.device)
    return torch.tensor(weighting.of(counts), dtype=like.dtype, device=like.device)


def check_fit(counts: Sequence[float] | None, classes: int) -> None:
    """ContractError unless there is one count a class, or none are known yet."""
    if counts is not None and len(counts) != classes:
        raise ContractError(f"{len(counts)} counts of labels do not fit {classes} classes")


def check_counts(names: Sequence[str], counts: NDArray[np.int64]) -> None:
    """LabelError unless two classes or more are labelled."""
    present = [name for name, count in zip(names, counts, strict=True) if count]
    if len(present) < 2:
        raise LabelError(
            f"a model needs labels of two classes or more; the training chips have labels of: "
            f"{choices(present)}; the project's classes are: {choices(names)}"
        )


class OfClasses(Protocol):
    """A task of classes."""

    @property
    def codes(self) -> tuple[int, ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def weighting(self) -> ClassWeighting: ...
    @property
    def counts(self) -> tuple[int, ...] | None: ...


class ClassArguments(TypedDict):
    """What all tasks of classes are made of."""

    codes: tuple[int, ...]
    names: tuple[str, ...]
    weighting: ClassWeighting
    counts: tuple[int, ...] | None


def class_config(task: OfClasses) -> dict[str, Any]:
    """As JSON values, that part of `Task.config` which all tasks of classes have."""
    return {
        "codes": list(task.codes),
        "names": list(task.names),
        "weighting": task.weighting.config(),
        "counts": None if task.counts is None else list(task.counts),
    }


def class_arguments(config: Mapping[str, Any]) -> ClassArguments:
    """What `class_config` was asked of."""
    counts = config["counts"]
    return {
        "codes": tuple(config["codes"]),
        "names": tuple(config["names"]),
        "weighting": weighting_from(config["weighting"]),
        "counts": None if counts is None else tuple(counts),
    }


def colours_from(config: Mapping[str, Any]) -> tuple[tuple[int, int, int], ...]:
    """Red, green and blue of each class, from the part `colours` of a task's config."""
    return tuple((red, green, blue) for red, green, blue in config["colours"])
