"""What every task of a simulated archive works with: the world, and the ways to other grids."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from earthloom.archive.simulated_delivery import Delivery
from earthloom.archive.simulated_faults import Departure, ItemFaults, depart
from earthloom.archive.simulated_modis import Bins
from earthloom.archive.simulated_plan import Layout, SceneGrid, lay_grids
from earthloom.archive.simulated_scenes import Resampler
from earthloom.archive.simulated_spec import SimulationSpec
from earthloom.world import World, WorldSpec, make_world


@dataclass(eq=False)
class Studio:
    """The world of a spec, and the way from its grid to others; made once per process."""

    spec: SimulationSpec
    layout: Layout
    _resamplers: dict[SceneGrid, Resampler] = field(default_factory=dict)

    @cached_property
    def world(self) -> World:
        """Made when it is first asked for."""
        spec = self.spec
        return make_world(
            WorldSpec(
                spec.seed,
                self.layout.home.shape,
                spec.year,
                spec.resolution,
                spec.latitude,
                variability=spec.variability,
            )
        )

    @cached_property
    def bins(self) -> Bins:
        """To MODIS's grid."""
        return Bins(self.layout.home)

    def resampler(self, grid: SceneGrid) -> Resampler:
        """To a grid, remembered."""
        if grid not in self._resamplers:
            self._resamplers[grid] = Resampler(self.layout, grid)
        return self._resamplers[grid]


def open_studio(spec: SimulationSpec) -> Studio:
    """A studio for a spec."""
    return Studio(spec, lay_grids(spec))


@dataclass(frozen=True, kw_only=True)
class Task:
    """Some files of the archive that are made together."""

    name: str
    files: tuple[Path, ...]
    """Relative to the archive."""
    item: Path | None = None
    """The STAC item among them."""

    def missing(self, folder: Path) -> bool:
        """Whether any of its files is not there."""
        return not all((folder / file).exists() for file in self.files)

    def do(self, studio: Studio, folder: Path) -> None:
        """Writes those of its files that are not there."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ItemTask(Task):
    """An item with its files, and what is wrong with them."""

    item: Path
    faults: ItemFaults

    def departure(self, studio: Studio) -> Departure:
        """What the faults do to the pixels."""
        return depart(studio.spec, self.faults)

    def delivery(self, studio: Studio, folder: Path) -> Delivery:
        """Puts the item's files down."""
        return Delivery(folder / self.item.parent, self.faults, studio.spec.faults.checksums)

    def cloud_file(self, folder: Path) -> Path:
        """The true cloud mask."""
        return folder / cloud_truth(self.name)


def cloud_truth(name: str) -> Path:
    """The true cloud mask of an item, below the archive."""
    return Path("truth", "cloud", f"{name}.tif")
