"""What the values of a label file are called in the project: class codes, none, or ignore."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earthloom.chips.schemes import Scheme, load_mapping, load_scheme, near
from earthloom.errors import LabelError, choices
from earthloom.project import Labels as LabelSettings
from earthloom.project import LandClass
from earthloom.sample import IGNORE as IGNORE
from earthloom.sample import UNLABELLED

if TYPE_CHECKING:
    from earthloom.chips.label_attributes import Judge


@dataclass(frozen=True)
class Vocabulary:
    """The values that a label file may hold."""

    codes: Mapping[str, int]
    """The project's code of each value, as text; `UNLABELLED` for those that are left out, and
    `IGNORE`."""
    listed: str
    """The classes as a person reads them."""
    fallback: int
    """The code of pixels without any label: `UNLABELLED`, or that of the background."""

    @staticmethod
    def of(settings: LabelSettings, classes: Sequence[LandClass]) -> "Vocabulary":
        """The vocabulary of a project's labels; LabelError if schemes or names do not fit."""
        own = {each.name: each.code for each in classes}
        scheme = load_scheme(settings.scheme) if settings.scheme else None
        if isinstance(settings.mapping, Mapping):
            codes = _by_hand(settings.mapping, own, scheme)
        elif scheme is not None:
            codes = _by_name(scheme, settings.mapping or scheme.name, own)
        else:
            codes = own | {str(each.code): each.code for each in classes}
        codes |= {str(value): IGNORE for value in settings.ignore}
        listed = choices(f"{each.code} {each.name}" for each in classes)
        if settings.background is None:
            return Vocabulary(codes, listed, UNLABELLED)
        return Vocabulary(codes, listed, _own_code(settings.background, own, "labels.background"))

    def code(self, value: object) -> int | None:
        """The code of a value; None if the vocabulary lacks it."""
        return self.codes.get(as_text(value))

    def unknown(self, value: object, where: str) -> LabelError:
        """The error that names a value, with near ones."""
        return LabelError(
            f"unknown class '{value}' in {where}; classes are: {self.listed}"
            + near(str(value), [name for name in self.codes if not name.isdigit()])
        )

    def read(self, column: pd.Series, path: Path, judge: "Judge", before: int) -> NDArray[np.uint8]:
        """Codes (N,) of classes that are given by name or by code; see `Meaning`."""
        try:
            # Files repeat few classes many times: each is looked up once.
            positions, values = pd.factorize(column)
        except TypeError as error:
            raise LabelError(
                f"the column '{column.name}' of the labels {path} holds no plain values: {error}"
            ) from error
        missing = positions < 0
        judge.broken(
            missing,
            "class",
            f"has no class (NaN) in column '{column.name}'; classes are: {self.listed}",
        )
        codes = np.zeros(len(values) + 1, np.uint8)
        for at, value in enumerate(values):
            code = self.code(value)
            if code is None:
                number = before + int(np.argmax(positions == at)) + 1
                raise self.unknown(value, f"feature {number} of the labels {path}")
            codes[at] = code
        judge.skip(~missing & (codes[positions] == UNLABELLED), "unmapped")
        return np.asarray(codes[positions], np.uint8)

    def numbers(self) -> frozenset[int]:
        """The whole numbers among the values that are not ignored."""
        values = (value for value, code in self.codes.items() if code != IGNORE)
        return frozenset(int(value) for value in values if value.lstrip("-").isdigit())

    def remap(self, values: NDArray[np.generic], where: str) -> NDArray[np.uint8]:
        """Codes of an array of numbers, of the same shape; NaN becomes `UNLABELLED`.

        0 is `UNLABELLED` unless the vocabulary has it. LabelError names a value that is unknown.
        """
        found, positions = np.unique(values, return_inverse=True)
        codes = np.zeros(len(found), np.uint8)
        for at, value in enumerate(found.tolist()):
            code = self.code(value)
            if code is None and value != UNLABELLED and value == value:
                raise LabelError(
                    f"{where} hold the value {as_text(value)}, which is no class of the project; "
                    f"classes are: {choices(sorted(self.numbers()))}, and 0 for none"
                )
            codes[at] = code or UNLABELLED
        return codes[positions].reshape(values.shape)


def as_text(value: object) -> str:
    """A value as the vocabulary has it: 3.0, and the text `3.0`, is `3`."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    whole = text.removesuffix(".0")
    return whole if whole.lstrip("-").isdigit() else text


def _own_code(name: str, own: Mapping[str, int], place: str) -> int:
    if name not in own:
        raise LabelError(
            f"{place}: the project has no class '{name}'; its classes are: {choices(own)}"
            + near(name, own)
        )
    return own[name]


def _by_hand(
    mapping: Mapping[str, tuple[int | str, ...]], own: Mapping[str, int], scheme: Scheme | None
) -> dict[str, int]:
    """Values that are named for the project's classes; the nearest named ancestor counts."""
    named: dict[str, int] = {}
    for name, values in mapping.items():
        code = _own_code(name, own, "labels.mapping")
        for value in values:
            text = str(scheme.find(value).code) if scheme else str(value)
            if named.setdefault(text, code) != code:
                raise LabelError(f"labels.mapping has '{value}' for more than one class")
    if scheme is None:
        return named
    lines = {each.code: scheme.ancestors(each.code) for each in scheme.classes}
    codes = {
        code: next((named[str(one)] for one in line if str(one) in named), UNLABELLED)
        for code, line in lines.items()
    }
    return _with_names(scheme, codes)


def _by_name(scheme: Scheme, into: str, own: Mapping[str, int]) -> dict[str, int]:
    """Classes of a scheme, whose counterparts in another one the project names."""
    mapping = load_mapping(scheme.name, into)
    codes: dict[int, int] = dict.fromkeys(mapping.dropped, UNLABELLED)
    for code, counterpart in mapping.pairs.items():
        line = [mapping.into.by_code[one].name for one in mapping.into.ancestors(counterpart)]
        codes[code] = next((own[name] for name in line if name in own), UNLABELLED)
    if not any(codes.values()):
        raise LabelError(
            f"labels.mapping: none of the project's classes is called as one of the scheme {into}; "
            f"its classes are: {choices(each.name for each in mapping.into.leaves)}"
        )
    return _with_names(scheme, codes)


def _with_names(scheme: Scheme, codes: Mapping[int, int]) -> dict[str, int]:
    by_name = {each.name: codes[scheme.find(each.name).code] for each in scheme.classes}
    return by_name | {str(code): each for code, each in codes.items()}
