"""Opens the archive that a project names, and the keys to its files."""

from pathlib import Path

from earthloom.archive.api import manners_of, open_api, signer_of
from earthloom.archive.buckets import BucketFiles
from earthloom.archive.catalog import StaticCatalog
from earthloom.archive.folder import FolderOfFiles
from earthloom.archive.geoparquet import GeoParquet
from earthloom.archive.http import Http, PatientFiles, is_address
from earthloom.archive.scene import SceneSource
from earthloom.archive.sign import Signer, Unsigned
from earthloom.errors import ArchiveError, ProjectError
from earthloom.objects import is_object_url
from earthloom.progress import Tick
from earthloom.project import (
    ApiArchive,
    CatalogArchive,
    FolderArchive,
    GeoParquetArchive,
    Project,
    SeriesArchive,
    SimulatedArchive,
)


def archive_folder(project: Project) -> Path:
    """The folder that an archive's files are relative to; those of an API are addresses."""
    archive = project.archive
    if isinstance(archive, ApiArchive):
        return project.folder
    path = project.path(archive.path)
    return path.parent if isinstance(archive, CatalogArchive | GeoParquetArchive) else path


def archive_signer(project: Project) -> Signer:
    """What makes the addresses of a project's archive readable."""
    archive = project.archive
    if isinstance(archive, ApiArchive):
        return signer_of(archive, archive.url)
    if isinstance(archive, CatalogArchive):
        return signer_of(archive, archive.path)
    return Unsigned()


def open_archive(project: Project, tick: Tick) -> SceneSource:
    """The archive of a project; a simulated one is made if it is not there yet."""
    archive = project.archive
    if isinstance(archive, SimulatedArchive):
        return _simulated(project, archive, tick)
    if isinstance(archive, ApiArchive):
        return open_api(archive)
    folder = project.path(archive.path)
    if isinstance(archive, CatalogArchive):
        if is_object_url(archive.path):
            return StaticCatalog(archive.path, BucketFiles())
        if is_address(archive.path):
            headers = archive_signer(project).headers
            return StaticCatalog(archive.path, PatientFiles(Http(manners_of(archive), headers)))
        if not folder.exists():
            raise ArchiveError(f"the catalog {folder} does not exist")
        return StaticCatalog(folder)
    if isinstance(archive, GeoParquetArchive):
        return GeoParquet(folder, archive)
    if isinstance(archive, FolderArchive):
        return FolderOfFiles(folder, archive)
    assert isinstance(archive, SeriesArchive)
    raise ProjectError(
        "an archive of pixel series has no scenes; its project goes straight to fit and assess"
    )


def _simulated(project: Project, archive: SimulatedArchive, tick: Tick) -> SceneSource:
    from earthloom.archive.simulated import Faults, SimulationSpec, simulate

    spec = SimulationSpec(
        seed=project.seed,
        year=archive.year,
        size_m=archive.size_m,
        sentinel2_items=archive.sentinel2_items,
        sentinel1_items=archive.sentinel1_items,
        two_zones=archive.two_zones,
        landsat_items=archive.landsat_items,
        modis_items=archive.modis_items,
        variability=archive.variability,
        faults=Faults(**archive.faults.model_dump()),
    )
    return StaticCatalog(simulate(project.path(archive.path), spec, tick))
