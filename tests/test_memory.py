"""Free memory goes back to the system."""

import sys
from pathlib import Path

import numpy as np
import pytest

from earthloom.memory import give_back_memory


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone keeps and trims")
def test_what_lies_free_between_living_arrays_is_given_back():
    """Each second array lives on, so that the C library cannot cut the heap at its end."""
    arrays = [np.ones(12_000) for _ in range(2_000)]  # 96 KB each: from the heap, not mapped alone
    kept = arrays[1::2]
    full = resident_mb()
    del arrays
    give_back_memory()
    assert full - resident_mb() > 60
    assert all(array.sum() == 12_000 for array in kept)
