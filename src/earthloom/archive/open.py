"""Opens the archive that a project names."""

from pathlib import Path

from earthloom.archive.catalog import StaticCatalog
from earthloom.archive.folder import FolderOfFiles
from earthloom.archive.scene import SceneSource
from earthloom.errors import ArchiveError, ProjectError
from earthloom.progress import Tick
from earthloom.project import (
    CatalogArchive,
    FolderArchive,
    Project,
    SeriesArchive,
    SimulatedArchive,
)


def archive_folder(project: Project) -> Path:
    """The folder that an archive's files are relative to."""
    path = project.path(project.archive.path)
    return path.parent if isinstance(project.archive, CatalogArchive) else path


def open_archive(project: Project, tick: Tick) -> SceneSource:
    """The archive of a project; a simulated one is made if it is not there yet."""
    archive = project.archive
    folder = project.path(archive.path)
    if isinstance(archive, SimulatedArchive):
        from earthloom.archive.simulated import SimulationSpec, simulate

        spec = SimulationSpec(
            seed=project.seed,
            year=archive.year,
            size_m=archive.size_m,
            sentinel2_items=archive.sentinel2_items,
            sentinel1_items=archive.sentinel1_items,
            two_zones=archive.two_zones,
        )
        return StaticCatalog(simulate(folder, spec, tick))
    if isinstance(archive, CatalogArchive):
        if not folder.exists():
            raise ArchiveError(f"the catalog {folder} does not exist")
        return StaticCatalog(folder)
    if isinstance(archive, FolderArchive):
        return FolderOfFiles(folder, archive)
    assert isinstance(archive, SeriesArchive)
    raise ProjectError(
        "an archive of pixel series has no scenes; its project goes straight to fit and assess"
    )
