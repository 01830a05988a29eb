"""A value of every chip that is made when it is asked for, so that a million cost nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Column(Sequence[T_co]):
    """A value of every chip, made when it is asked for."""

    size: int
    get: Callable[[int], T_co]

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | Sequence[T_co]:
        if isinstance(index, slice):
            return [self.get(number) for number in range(*index.indices(self.size))]
        if not -self.size <= index < self.size:
            raise IndexError(f"chip {index} of {self.size}")
        return self.get(int(index) % self.size)

    def __iter__(self) -> Iterator[T_co]:
        return (self.get(number) for number in range(self.size))
