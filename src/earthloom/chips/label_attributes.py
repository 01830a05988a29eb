"""What the columns of a label file say of each feature: class, weight and time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earthloom.chips.label_dates import EVER, Period, days_of
from earthloom.chips.label_report import LabelReport
from earthloom.errors import LabelError, choices
from earthloom.project import Labels as LabelSettings

REASONS = (
    "kept",
    "class",
    "geometry",
    "date",
    "weight",
    "confidence",
    "unmapped",
    "outside",
    "period",
    "value",
)
"""Why a feature is left out; a position in it stands for each feature."""


@dataclass(frozen=True)
class Attributes:
    """What N features say, in their order."""

    code: NDArray[np.uint8] | NDArray[np.float32]
    """(N,) class codes of the project, or `IGNORE`; of labels that are numbers, the numbers."""
    weight: NDArray[np.float32]
    """(N,) weight times confidence; 1 where neither is given."""
    first: NDArray[np.int32]
    """(N,) days since 1970-01-01 from which on the label is true."""
    last: NDArray[np.int32]
    """(N,) the last such day."""

    @property
    def classes(self) -> NDArray[np.uint8]:
        """(N,) the codes, of labels that are classes."""
        return self.code.astype(np.uint8, copy=False)

    def take(self, which: NDArray[np.generic]) -> "Attributes":
        """Some of the features, by a mask or by positions."""
        return Attributes(self.code[which], self.weight[which], self.first[which], self.last[which])

    def meets(self, period: Period | None) -> NDArray[np.bool_]:
        """(N,) True where the label is true on a day of a period; None is all times."""
        if period is None:
            return np.ones(len(self.code), np.bool_)
        return (self.first <= period.last) & (self.last >= period.first)

    @staticmethod
    def join(parts: "list[Attributes]") -> "Attributes":
        """Features one after the other; none at all if there are no parts."""
        if not parts:
            days = np.zeros(0, np.int32)
            return Attributes(np.zeros(0, np.uint8), np.zeros(0, np.float32), days, days)
        return Attributes(
            np.concatenate([part.code for part in parts]),
            np.concatenate([part.weight for part in parts]),
            np.concatenate([part.first for part in parts]),
            np.concatenate([part.last for part in parts]),
        )


class Judge:
    """Notes why features are left out, or raises on the first that is broken."""

    def __init__(self, count: int, path: Path, settings: LabelSettings, before: int = 0) -> None:
        """`before` features stand in the file before these `count` ones."""
        self.reasons = np.zeros(count, np.uint8)
        self._path, self._settings, self._before = path, settings, before

    def broken(self, where: NDArray[np.bool_], reason: str, words: str) -> None:
        """Features that cannot be used. LabelError `feature 2 of the labels PATH {words}` unless
        the project says that they are skipped."""
        if self._settings.broken == "error" and where.any():
            number = self._before + int(np.argmax(where)) + 1
            raise LabelError(f"feature {number} of the labels {self._path} {words}")
        self.skip(where, reason)

    def skip(self, where: NDArray[np.bool_], reason: str) -> None:
        """Features that are left out for a reason, unless they are already."""
        self.reasons[where & (self.reasons == 0)] = REASONS.index(reason)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(N,) True for features that nothing spoke against."""
        return np.asarray(self.reasons == 0, np.bool_)

    def report(self) -> LabelReport:
        """The counts."""
        counts = np.bincount(self.reasons, minlength=len(REASONS)).tolist()
        skipped = {name: n for name, n in zip(REASONS[1:], counts[1:], strict=True) if n}
        return LabelReport(len(self.reasons), dict(sorted(skipped.items())))


class Meaning(Protocol):
    """What the label column says."""

    @property
    def fallback(self) -> int:
        """The code of pixels without any label."""
        ...

    def read(
        self, column: pd.Series, path: Path, judge: Judge, before: int
    ) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Class codes or numbers (N,); `judge` learns which features are left out. LabelError for
        a value that means nothing. `before` features stand in the file before these ones."""
        ...


def read_attributes(
    table: pd.DataFrame,
    path: Path,
    settings: LabelSettings,
    meaning: Meaning,
    judge: Judge,
    before: int = 0,
) -> Attributes:
    """Attributes of every feature of a table; `judge` learns which are left out.

    LabelError for a column that is missing, a class that is unknown, and whatever the judge does
    not let pass.
    """
    check_columns(list(table.columns), path, settings)
    code = meaning.read(table[settings.column], path, judge, before)
    weight = np.ones(len(table), np.float32)
    for column, most in ((settings.weight_column, np.inf), (settings.confidence_column, 1.0)):
        if column is not None:
            weight *= _numbers(table[column], most, judge)
    if settings.confidence_column is not None and settings.least_confidence:
        confidence = pd.to_numeric(table[settings.confidence_column], errors="coerce").to_numpy()
        judge.skip(confidence < settings.least_confidence, "confidence")
    first = np.full(len(table), EVER[0], np.int32)
    last = np.full(len(table), EVER[1], np.int32)
    if settings.date_column is not None:
        ends = table[settings.end_column] if settings.end_column is not None else None
        first, last, good = days_of(table[settings.date_column], ends)
        judge.broken(~good, "date", _date_words(table, settings, good))
    return Attributes(code, weight, first, last)


def attribute_columns(settings: LabelSettings) -> list[str]:
    """The columns that the settings name."""
    named = (
        settings.column,
        settings.date_column,
        settings.end_column,
        settings.weight_column,
        settings.confidence_column,
    )
    return list(dict.fromkeys(column for column in named if column is not None))


def check_columns(columns: list[str], path: Path, settings: LabelSettings) -> None:
    """LabelError for the first column that the settings name and a file lacks."""
    for column in attribute_columns(settings):
        if column not in columns:
            raise LabelError(
                f"the labels {path} have no column '{column}'; "
                f"they have: {choices(c for c in columns if c != 'geometry')}"
            )


def _numbers(column: pd.Series, most: float, judge: Judge) -> NDArray[np.float32]:
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    good = np.isfinite(numbers) & (numbers >= 0) & (numbers <= most)
    value = column.iloc[int(np.argmin(good))] if len(column) else None
    valid = "a number from 0 on" if most == np.inf else "a number from 0 to 1"
    judge.broken(~good, "weight", f"has {value} in column '{column.name}', not {valid}")
    return np.where(good, numbers, 0.0).astype(np.float32)


def _date_words(table: pd.DataFrame, settings: LabelSettings, good: NDArray[np.bool_]) -> str:
    at = int(np.argmin(good)) if len(good) else 0
    columns = [c for c in (settings.date_column, settings.end_column) if c is not None]
    given = (
        " and ".join(f"{table[c].iloc[at]} in column '{c}'" for c in columns) if len(good) else ""
    )
    return (
        f"has {given}, which is no time; valid are days, months, years (2023-05-01, 2023-05, "
        "2023), two of them with '/' between, the first one not later"
    )
