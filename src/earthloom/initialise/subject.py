"""What a first project file maps: classes or numbers, and what it asks for."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import final

import yaml

from earthloom.errors import ProjectError, choices
from earthloom.world import CLASSES

PALETTE = ("#1d5b36", "#e8c96b", "#2f74b5", "#c0392b", "#8e6bbf", "#d98c3f", "#7fb069", "#7f7f7f")
"""Colours of classes, in turn; a legend wants others, which is one line each."""

_PLAIN = re.compile(r"[A-Za-z./](?:[A-Za-z0-9_ ./-]*[A-Za-z0-9_/-])?")
"""Text that needs no quotes in YAML, unless it stands for something else, such as `null`."""

_CLASSES = """\
classes:                 # code 0 is nodata
{classes}
labels:
  path: {labels}   # points or polygons with a class, or a raster of codes
  column: {column}   # the vector file's column of class names or codes

chips: {{size: 60}}        # pixels of the grid
model: {{name: ridge}}     # or: forest, boosted, loom, unet

assess:
  method: sample         # a probability sample of the map, written out for you to label
"""

_VALUES = """\
task:
  kind: pixel-value      # a number of each pixel, with an interval; docs/values.md
  quantity: {quantity}   # what is measured, as a person calls it
  unit: {unit}   # of the labels and of the map; "1" for a bare number
  link: identity         # or, for what is never below 0: sqrt, log1p; for what is above it: log
  level: 0.9             # share of true values that the interval, from low to high, is to hold
labels:
  path: {labels}   # points or polygons with a number, or a raster of numbers
  column: {column}   # the vector file's column of numbers

chips: {{size: 60}}        # pixels of the grid
model: {{name: ridge}}     # or: forest, boosted, loom, unet

assess:
  method: folds          # leaves out parts of the labels in turn
  by: blocks             # of chips that lie together; or place, split
  baselines: [mean]      # what stands beside the model; forest too, which takes longer
  # For the mean of the area with an interval, put in place of these three lines:
  # method: sample         # a random sample of the map, written out for you to measure
  # reference: truth.tif   # or a raster that knows the truth
"""


class Subject(ABC):
    """What a map shows."""

    @abstractmethod
    def text(self, labels: str) -> str:
        """The file's sections from here on, with the path of the labels."""


@final
@dataclass(frozen=True)
class Classes(Subject):
    """A class of each pixel."""

    names: tuple[str, ...]
    """In the order of their codes from 1."""
    column: str = "class"

    def text(self, labels: str) -> str:
        lines = "\n".join(_class_lines(self.names))
        return _CLASSES.format(
            classes=lines, labels=as_scalar(labels), column=as_scalar(self.column)
        )


@final
@dataclass(frozen=True)
class Values(Subject):
    """A number of each pixel."""

    quantity: str
    unit: str
    column: str

    def text(self, labels: str) -> str:
        return _VALUES.format(
            quantity=as_scalar(self.quantity),
            unit=as_scalar(self.unit),
            labels=as_scalar(labels),
            column=as_scalar(self.column),
        )


@dataclass(frozen=True)
class SubjectKind:
    """What is asked for a kind of map, and what becomes of the answers."""

    questions: Mapping[str, str]
    """In their order, `labels` among them."""
    options: frozenset[str]
    """What may be given beside, and is not asked."""
    defaults: Mapping[str, str]
    """Braces stand for earlier answers."""
    simulated: Mapping[str, str]
    """Other defaults with the simulated archive."""
    made: Callable[[Mapping[str, str]], Subject]

    @property
    def keys(self) -> frozenset[str]:
        """All that may be given."""
        return frozenset(self.questions) | self.options


def _classes_of(said: Mapping[str, str]) -> Classes:
    return Classes(parse_classes(said["classes"]), said.get("column", "class"))


def _values_of(said: Mapping[str, str]) -> Values:
    return Values(said["quantity"], said["unit"], said["column"])


SUBJECTS: Mapping[str, SubjectKind] = {
    "class": SubjectKind(
        questions={
            "labels": "Labels: a vector file with a column 'class', or a raster of codes",
            "classes": "Classes, with commas between",
        },
        options=frozenset({"column"}),
        defaults={"labels": "labels.gpkg", "classes": "forest,cropland,grassland,built-up,water"},
        simulated={
            "labels": "archive/labels.gpkg",
            "classes": ",".join(e.name for e in sorted(CLASSES, key=lambda each: each.code)),
        },
        made=_classes_of,
    ),
    "value": SubjectKind(
        questions={
            "quantity": "What is measured: biomass, height, yield",
            "unit": "Its unit, as in the labels; 1 for a bare number",
            "labels": "Labels: a vector file with a column of numbers, or a raster of them",
            "column": "The vector file's column of numbers",
        },
        options=frozenset(),
        defaults={
            "quantity": "biomass",
            "unit": "t/ha",
            "labels": "plots.gpkg",
            "column": "{quantity}",
        },
        simulated={},
        made=_values_of,
    ),
}
"""By the task's name, which the project file begins with `pixel-`."""


def parse_classes(text: str) -> tuple[str, ...]:
    """Names between commas; ProjectError for fewer than two."""
    names = split(text)
    if len(names) < 2:
        raise ProjectError(f"a map needs two classes or more; given: {choices(names)}")
    return names


def split(text: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def as_scalar(text: str) -> str:
    """Text as YAML reads it back, quoted where it must be; on one line, inside braces too."""
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    escapes = {'"': '\\"', "\\": "\\\\"}
    shown = (
        escapes.get(each) or (each if each.isprintable() else f"\\U{ord(each):08x}")
        for each in text
    )
    return '"' + "".join(shown) + '"'


def _class_lines(names: Sequence[str]) -> list[str]:
    known = {each.name: each.colour for each in CLASSES}
    return [
        f'  - {{code: {code}, name: {as_scalar(name)}, colour: "{known.get(name, colour)}"}}'
        for code, (name, colour) in enumerate(zip(names, cycle(PALETTE)), start=1)
    ]
