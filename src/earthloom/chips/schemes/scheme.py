"""Class schemes and the mappings between them."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earthloom.errors import LabelError, choices
from earthloom.sample import UNLABELLED


@dataclass(frozen=True)
class SchemeClass:
    """A class of a scheme."""

    code: int
    """Value in the scheme's own rasters and tables, 0 or more."""
    name: str
    colour: str
    """`#rrggbb`."""
    parent: int | None = None
    """Code of the class one level above; None at level 1."""


@dataclass(frozen=True)
class Scheme:
    """Classes with names, codes, colours and a hierarchy."""

    name: str
    title: str
    source: str
    """Where codes and names were published."""
    colours: str
    """Where colours come from."""
    classes: tuple[SchemeClass, ...]

    def __post_init__(self) -> None:
        codes = [each.code for each in self.classes]
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice:
            raise LabelError(f"the scheme {self.name} has the code {twice[0]} more than once")
        for each in self.classes:
            if each.parent is not None and each.parent not in codes:
                raise LabelError(
                    f"the scheme {self.name}: class {each.code} has the parent {each.parent}, "
                    "which is no class of it"
                )
        for each in self.classes:
            self._line(each.code)

    @cached_property
    def by_code(self) -> Mapping[int, SchemeClass]:
        """The classes by their codes."""
        return {each.code: each for each in self.classes}

    @property
    def leaves(self) -> tuple[SchemeClass, ...]:
        """The classes that are no other one's parent."""
        parents = {each.parent for each in self.classes}
        return tuple(each for each in self.classes if each.code not in parents)

    def ancestors(self, code: int) -> tuple[int, ...]:
        """The code itself, its parent, and so on up to level 1; LabelError for no class."""
        self._known(code)
        return self._line(code)

    def level(self, code: int) -> int:
        """How deep a class lies, from 1."""
        return len(self.ancestors(code))

    def at_level(self, level: int) -> tuple[SchemeClass, ...]:
        """The classes of a level."""
        return tuple(each for each in self.classes if self.level(each.code) == level)

    def find(self, value: str | int) -> SchemeClass:
        """A class by its code or its name, the finest one of that name; LabelError offers near
        ones."""
        text = str(value).strip()
        if text.isdigit() and int(text) in self.by_code:
            return self.by_code[int(text)]
        named = [each for each in self.classes if each.name.casefold() == text.casefold()]
        if named:
            return max(named, key=lambda each: self.level(each.code))
        raise LabelError(
            f"'{value}' is no class of the scheme {self.name}"
            + near(text, [each.name for each in self.classes])
        )

    def roll_up(self, level: int) -> "SchemeMapping":
        """The mapping of every class to its ancestor at a level; coarser ones stay themselves."""
        pairs = {}
        for each in self.classes:
            line = self.ancestors(each.code)
            pairs[each.code] = line[-min(level, len(line))]
        return SchemeMapping(self, self, pairs, frozenset(), self.source)

    def _known(self, code: int) -> None:
        if code not in self.by_code:
            raise LabelError(
                f"{code} is no class of the scheme {self.name}; its codes are: "
                f"{choices(self.by_code)}"
            )

    def _line(self, code: int) -> tuple[int, ...]:
        line: list[int] = []
        at: int | None = code
        while at is not None:
            if at in line:
                raise LabelError(f"the scheme {self.name}: class {at} is its own ancestor")
            line.append(at)
            at = self.by_code[at].parent
        return tuple(line)


@dataclass(frozen=True)
class SchemeMapping:
    """How each class of one scheme becomes a class of another, or none.

    Every class of `of` is either in `pairs` or in `dropped`, and never in both.
    """

    of: Scheme
    into: Scheme
    pairs: Mapping[int, int]
    """Codes of `into` by codes of `of`."""
    dropped: frozenset[int]
    """Codes of `of` that have no counterpart."""
    source: str

    def __post_init__(self) -> None:
        codes, mapped = set(self.of.by_code), set(self.pairs)
        wrong = sorted((mapped | self.dropped) ^ codes) or sorted(mapped & self.dropped)
        if wrong:
            raise LabelError(
                f"the mapping of {self.of.name} into {self.into.name} must take or drop each class "
                f"once; wrong is {wrong[0]}"
            )
        for code in self.pairs.values():
            self.into.ancestors(code)

    def then(self, after: "SchemeMapping") -> "SchemeMapping":
        """This mapping, and another one after it; LabelError if the schemes do not meet."""
        if after.of.name != self.into.name:
            raise LabelError(
                f"a mapping into {self.into.name} cannot be followed by one of {after.of.name}"
            )
        pairs = {a: after.pairs[b] for a, b in self.pairs.items() if b in after.pairs}
        source = "; ".join(dict.fromkeys((self.source, after.source)))
        return SchemeMapping(
            self.of, after.into, pairs, frozenset(self.of.by_code) - set(pairs), source
        )


def remap(
    codes: ArrayLike, mapping: SchemeMapping, keep: Iterable[int] = (UNLABELLED,)
) -> NDArray[np.int32]:
    """Codes of one scheme as codes of another, of the same shape.

    `keep` are values that are no class and stay as they are, such as `UNLABELLED` and `IGNORE`; a
    class of the scheme goes before them, as Dynamic World's 0. A dropped class becomes
    `UNLABELLED`. LabelError names the first code that is neither.
    """
    given = np.asarray(codes)
    if given.dtype.kind not in "iu":
        raise LabelError(f"codes must be whole numbers, not {given.dtype}")
    values, positions = np.unique(given, return_inverse=True)
    into = np.array([_mapped(int(value), mapping, frozenset(keep)) for value in values], np.int32)
    return np.asarray(into[positions].reshape(given.shape), np.int32)


def _mapped(value: int, mapping: SchemeMapping, keep: frozenset[int]) -> int:
    if value in mapping.pairs:
        return mapping.pairs[value]
    if value in mapping.dropped:
        return UNLABELLED
    if value in keep:
        return value
    raise LabelError(
        f"{value} is no class of the scheme {mapping.of.name}; its codes are: "
        f"{choices(mapping.of.by_code)}"
    )


def near(text: str, known: Iterable[str]) -> str:
    """`; did you mean 'forest'?` where a known name is near, else nothing."""
    folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(text.casefold(), folded, n=2, cutoff=0.6)
    if not found:
        return ""
    return "; did you mean " + " or ".join(f"'{folded[each]}'" for each in found) + "?"
