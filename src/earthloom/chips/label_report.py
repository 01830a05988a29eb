"""What became of the features of a label file."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_WORDS = {
    "class": "without a class",
    "geometry": "without a geometry, or with NaN in it",
    "date": "without a date",
    "weight": "without a weight or confidence",
    "confidence": "of too low a confidence",
    "unmapped": "of a class that the mapping does not take",
    "outside": "outside the area",
    "period": "of another time",
    "value": "without a number, or with one that is ignored",
    "mask": "without a mask",
    "size": "smaller than a chip",
}


@dataclass(frozen=True)
class LabelReport:
    """How many features were read and kept, and why the others were not."""

    read: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    """By reason: `class`, `geometry`, `date`, `weight`, `confidence`, `unmapped`, `outside`,
    `period`."""
    repaired: int = 0
    """Kept ones whose geometry was not valid, such as a polygon that crosses itself."""

    @property
    def kept(self) -> int:
        """Features that label something in the area."""
        return self.read - sum(self.skipped.values())

    def __add__(self, other: "LabelReport") -> "LabelReport":
        skipped = Counter(self.skipped) + Counter(other.skipped)
        return LabelReport(
            self.read + other.read, dict(sorted(skipped.items())), self.repaired + other.repaired
        )

    def sentence(self, what: str = "labels") -> str:
        """The report in one line: `10 labels read, 8 kept; 2 outside the area`."""
        parts = [f"{count} {_WORDS[reason]}" for reason, count in self.skipped.items() if count]
        if self.repaired:
            parts.append(f"{self.repaired} repaired")
        return f"{self.read} {what} read, {self.kept} kept" + "".join(f"; {part}" for part in parts)
