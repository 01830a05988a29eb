"""Random forests for classes, labels and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from earthloom.fit.forest import grow_forest, grow_label_forest, grow_value_forest
from earthloom.fit.shallow.base import Shallow, Solution
from earthloom.fit.shallow.rows import Kind, Rows
from earthloom.tasks.forest import ForestHead


@final
@dataclass(frozen=True)
class Forest(Shallow):
    """Trees on rows drawn with replacement (Breiman 2001)."""

    trees: int = 200

    name: ClassVar[str] = "forest"
    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)

    @classmethod
    def settings(cls) -> Sequence[Forest]:
        return [cls(), cls(trees=500)]

    def solved(self, rows: Rows, seed: int) -> tuple[ForestHead, Solution]:
        head = self._grown(rows, seed)
        return head, {"nodes": head.nodes, "depth": int(head.depths.max())}

    def _grown(self, rows: Rows, seed: int) -> ForestHead:
        weights = rows.repeats
        if rows.kind is Kind.CLASSES:
            return grow_forest(
                rows.features,
                rows.answers,
                class_count=rows.outputs,
                trees=self.trees,
                seed=seed,
                weights=weights,
            )
        grow = grow_label_forest if rows.kind is Kind.LABELS else grow_value_forest
        return grow(rows.features, rows.answers, trees=self.trees, seed=seed, weights=weights)
