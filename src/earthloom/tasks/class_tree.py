"""Classes that are parts of other classes: a pine wood is a forest, and a forest is vegetation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from earthloom.errors import ContractError, choices
from earthloom.tasks.classes import IGNORED, check_classes

ROOT = 0
"""The parent of a class that is part of no other."""


@final
@dataclass(frozen=True)
class ClassTree:
    """Classes with their parents; N in all, of which K are leaves, without children.

    A level asks for one class of each chip: level 1 for one of those without parents, level 2 for
    one of their children, and so on down to the leaves. A leaf that lies high stands in all levels
    below it too, so that every level has a class for everything.
    """

    codes: tuple[int, ...]
    names: tuple[str, ...]
    parents: tuple[int, ...]
    """The code of each class's parent, `ROOT` for none."""

    def __post_init__(self) -> None:
        check_classes(self.codes, self.names)
        if len(self.parents) != len(self.codes):
            raise ContractError(f"{len(self.parents)} parents do not fit {len(self.codes)} classes")
        for name, parent in zip(self.names, self.parents, strict=True):
            if parent != ROOT and parent not in self.codes:
                raise ContractError(
                    f"class {name} has the parent {parent}; valid are {ROOT} for none, or one of "
                    f"{choices(self.codes)}"
                )
        for code, name in zip(self.codes, self.names, strict=True):
            seen = {code}
            while (code := self.parent_of(code)) != ROOT:
                if code in seen:
                    raise ContractError(f"class {name} is among its own parents")
                seen.add(code)

    def parent_of(self, code: int) -> int:
        """The code of a class's parent, `ROOT` for none."""
        return self.parents[self.codes.index(code)]

    def path(self, code: int) -> tuple[int, ...]:
        """Codes from the top down to a class itself."""
        found = [code]
        while (parent := self.parent_of(found[0])) != ROOT:
            found.insert(0, parent)
        return tuple(found)

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """(K,) codes of the classes without children, in the order of the classes."""
        return tuple(code for code in self.codes if code not in self.parents)

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """Codes of the classes of each level, in the order of the classes; the last are leaves."""
        paths = {code: self.path(code) for code in self.codes}
        deepest = max(len(path) for path in paths.values())
        return tuple(
            tuple(
                code
                for code, path in paths.items()
                if len(path) == level or (len(path) < level and code in self.leaves)
            )
            for level in range(1, deepest + 1)
        )

    def names_of(self, codes: Iterable[int]) -> tuple[str, ...]:
        """The names of some classes."""
        return tuple(self.names[self.codes.index(code)] for code in codes)

    def members(self, codes: tuple[int, ...]) -> Tensor:
        """(K, M) bool on the CPU: whether each leaf is one of M classes or part of it."""
        return torch.tensor([[code in self.path(leaf) for code in codes] for leaf in self.leaves])

    def logarithms(self, leaves: Tensor, codes: tuple[int, ...]) -> Tensor:
        """(B, M) log p of M classes, from log p of the leaves (B, K)."""
        members = self.members(codes).to(leaves.device)
        return torch.where(members, leaves[:, :, None], -torch.inf).logsumexp(dim=1)

    def deepest(self, chip: str, codes: Iterable[int]) -> int:
        """The code of the class that a chip's codes lead down to, `ROOT` where it has none.

        ContractError unless the others are its parents.
        """
        known = sorted(
            {code for code in codes if code in self.codes}, key=lambda c: len(self.path(c))
        )
        if known and not set(known) <= set(self.path(known[-1])):
            raise ContractError(
                f"chip {chip} has the classes {choices(known)}, which do not lie on one way down "
                "the tree; a chip has one class, alone or with its parents"
            )
        return known[-1] if known else ROOT

    def index_in(self, level: tuple[int, ...], code: int) -> int:
        """The index in a level of a class or of its parent there; `IGNORED` where the class is
        known only above that level."""
        if code == ROOT:
            return IGNORED
        found = [level.index(each) for each in self.path(code) if each in level]
        return found[-1] if found else IGNORED
