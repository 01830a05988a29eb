"""Memory that is no longer used goes back to the system."""

import ctypes
import sys
from functools import cache
from typing import Any


def give_back_memory() -> None:
    """Hands free memory to the system, which the C library would keep for later.

    Among arrays that come and go in many sizes, glibc keeps pages in which little is alive, and a
    process grows although it holds no more. Where there is no glibc nothing is done.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
