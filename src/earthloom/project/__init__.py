"""The project file: one YAML that says all, validated once, at the edge, into frozen models.

An error names the file, the line, the value and the valid choices. Paths in the file are relative
to the file.
"""

from earthloom.project.archives import (
    ISO,
    ApiArchive,
    Archive,
    CatalogArchive,
    DatesFile,
    FolderArchive,
    FolderPart,
    GeoParquetArchive,
    HeaderSign,
    NoSign,
    PlanetaryComputerSign,
    PluginSign,
    Remote,
    SeriesArchive,
    Sign,
    SimulatedArchive,
)
from earthloom.project.assess import Assessment, FoldsAssessment, SampleAssessment
from earthloom.project.cube import CellArea, Dates, Grid, MaskChoice, SensorChoice, SeriesChoice
from earthloom.project.labels import Chips, Labels, LandClass
from earthloom.project.load import Project, load_project
from earthloom.project.models import (
    BoostedChangeModel,
    BoostedModel,
    ForestModel,
    LoomModel,
    MapChoice,
    ModelChoice,
    NetworkModel,
    RidgeModel,
)
from earthloom.project.outputs import (
    EnergyChoice,
    PolygonChoice,
    ProviderChoice,
    PublishChoice,
)
from earthloom.project.settings import Settings
from earthloom.project.tasks import PixelClassChoice, PixelValueChoice, TaskChoice

__all__ = [
    "ISO",
    "ApiArchive",
    "Archive",
    "Assessment",
    "BoostedChangeModel",
    "BoostedModel",
    "CatalogArchive",
    "CellArea",
    "Chips",
    "Dates",
    "DatesFile",
    "EnergyChoice",
    "FolderArchive",
    "FolderPart",
    "FoldsAssessment",
    "ForestModel",
    "GeoParquetArchive",
    "Grid",
    "HeaderSign",
    "Labels",
    "LandClass",
    "LoomModel",
    "MapChoice",
    "MaskChoice",
    "ModelChoice",
    "NetworkModel",
    "NoSign",
    "PixelClassChoice",
    "PixelValueChoice",
    "PlanetaryComputerSign",
    "PluginSign",
    "PolygonChoice",
    "Project",
    "ProviderChoice",
    "PublishChoice",
    "Remote",
    "RidgeModel",
    "SampleAssessment",
    "SensorChoice",
    "SeriesArchive",
    "SeriesChoice",
    "Settings",
    "Sign",
    "SimulatedArchive",
    "TaskChoice",
    "load_project",
]
