"""Putting an item's files down, with their checksums and with what is wrong with them."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from earthloom.archive.simulated_faults import ItemFaults
from earthloom.archive.simulated_files import write_cog
from earthloom.archive.simulated_plan import SceneGrid
from earthloom.archive.simulated_stac import Json

_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_SHA256 = "1220"
"""What a multihash of SHA-2 with 256 bits begins with: its kind and its length in bytes."""


@dataclass
class Delivery:
    """The files of one item, as they are put down."""

    home: Path
    """The item's folder."""
    faults: ItemFaults | None
    """None where nothing is wrong with any item."""
    checksums: bool
    _found: dict[str, Json] = field(default_factory=dict)
    """Checksum and size by asset, of whole files."""

    def put(
        self,
        asset: str,
        values: NDArray[Any],
        grid: SceneGrid,
        *,
        nodata: float | None,
        resampling: str = "AVERAGE",
    ) -> None:
        """Writes an asset where it is not there yet; see `write_cog`."""
        if self.faults is not None and asset == self.faults.missing:
            return
        path = self.home / f"{asset}.tif"
        kept = 1.0
        if self.faults is not None and asset == self.faults.truncated:
            kept = self.faults.kept
        # A cut file says nothing of the whole one, so it is made again.
        if kept < 1 or not path.exists():

            def finish(part: Path) -> None:
                if self.checksums:
                    self._found[asset] = describe(part)
                if kept < 1:
                    with part.open("r+b") as file:
                        file.truncate(int(part.stat().st_size * kept))

            write_cog(path, values, grid, nodata=nodata, resampling=resampling, finish=finish)
        elif self.checksums:
            self._found[asset] = describe(path)

    def label(self, item: Json) -> Json:
        """The item with the checksums of what was put down."""
        if not self.checksums:
            return item
        wrong = None if self.faults is None else self.faults.wrong_checksum
        for asset, said in self._found.items():
            if asset == wrong:
                other = hashlib.sha256(json.dumps(said).encode()).hexdigest()
                said = {**said, "file:checksum": _SHA256 + other}
            item["assets"][asset] |= said
        return item | {"stac_extensions": [*item["stac_extensions"], _EXTENSION]}


def describe(path: Path) -> Json:
    """Checksum and size of a file, as STAC's file extension names them."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file:checksum": _SHA256 + found, "file:size": path.stat().st_size}
