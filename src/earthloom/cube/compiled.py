"""How loops over pixels are compiled: one place for the options of numba."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The function as machine code, kept on disk between runs.

    It holds no lock of the interpreter while it runs, so that threads work side by side; it starts
    no threads of its own. Types are those of its arguments at the first call.
    """
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
