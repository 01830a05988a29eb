"""What all ways of fitting without gradient descent have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from earthloom.encoders import Encoder
from earthloom.errors import ContractError, choices
from earthloom.fit.model import Member, Model
from earthloom.fit.shallow.gather import KINDS, MOST, Classed, gather
from earthloom.fit.shallow.rows import Kind, Rows, thinned
from earthloom.sample import Samples
from earthloom.tasks.base import Task
from earthloom.tasks.heads import DenseHead

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Solution = dict[str, float | int | list[float]]
"""What decided a head, and what was seen of it on held-out groups, by name."""


class Shallow(ABC):
    """A head for features of an encoder that stays as it is; fulfils `Adaptation`.

    A subclass is a frozen dataclass of its settings.
    """

    name: ClassVar[str]
    kinds: ClassVar[frozenset[Kind]]
    """What answers it can give."""
    most: ClassVar[int] = MOST
    """Rows that it is fitted to at most."""

    @property
    def trains_encoder(self) -> bool:
        """False: the encoder is the caller's own."""
        return False

    def serves(self, task: Task[Any]) -> bool:
        """Whether it can fit such a task: one number a class, or one value."""
        kind = KINDS.get(task.name)
        if kind is None or kind not in self.kinds:
            return False
        wanted = 1 if kind is Kind.VALUES else len(cast(Classed, task).codes)
        return task.outputs == wanted

    def candidates(self, budget: int) -> Sequence[Self]:
        """`budget` of the settings worth a try, this one first; always the same ones."""
        others = [each for each in self.settings() if each != self]
        return [self, *others][: max(budget, 1)]

    @classmethod
    @abstractmethod
    def settings(cls) -> Sequence[Self]:
        """Settings worth a try, the default first."""

    @abstractmethod
    def solved(self, rows: Rows, seed: int) -> tuple[DenseHead, Solution]:
        """A head for rows of one of its kinds."""

    def fit(
        self,
        encoder: Encoder,
        train: Samples,
        task: Task[Any],
        seed: int,
        validation: Samples | None = None,
    ) -> Model:
        """A model of the training samples; `validation` plays no part, see `Adaptation`."""
        if not self.serves(task):
            raise ContractError(
                f"'{self.name}' cannot be fitted to the task '{task.name}' with {task.outputs} "
                f"outputs; it gives: {choices(sorted(kind.value for kind in self.kinds))}"
            )
        task = task.fitted(train)
        return self.fit_rows(gather(encoder, train, task, seed, self.most), encoder, task, seed)

    def fit_rows(self, rows: Rows, encoder: Encoder, task: Task[Any], seed: int) -> Model:
        """A model of rows that were gathered for a fitted task with this encoder.

        So that several settings are tried on features that are computed once. The head is put where
        the encoder is.
        """
        rows = thinned(rows.counted(), self.most, seed)
        head, solution = self.solved(rows, seed)
        beside = next(encoder.buffers(), None)
        if beside is not None:
            head = head.to(beside.device)
        settings = asdict(_as_dataclass(self))
        record = {
            "labels": dict(rows.counts),
            "rows": len(rows),
            "adaptation": {"name": self.name} | settings,
            "seed": seed,
            "solution": solution,
        }
        return Model((Member(encoder, head.eval()),), task, threshold=None, record=record)


def _as_dataclass(adaptation: Any) -> "DataclassInstance":
    found: DataclassInstance = adaptation
    return found
