"""Files of HDF5 as arrays; attributes, in which some hold pickles, are not looked at."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from earthloom.errors import DataError


def arrays_in(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name; DataError if it cannot be read."""
    try:
        with h5py.File(file, "r") as store:
            return {
                name: np.asarray(store[name])
                for name in store
                if isinstance(store[name], h5py.Dataset)
            }
    except OSError as error:
        words = " ".join(str(error).split())
        raise DataError(f"the file {file} cannot be read: {words}") from error
