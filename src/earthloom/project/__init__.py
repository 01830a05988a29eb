"""The project file: one YAML that says all, validated once, at the edge, into frozen models.

An error names the file, the line, the value and the valid choices. Paths in the file are relative
to the file.
"""

from earthloom.project.archives import (
    Archive,
    CatalogArchive,
    DatesFile,
    FolderArchive,
    SeriesArchive,
    SimulatedArchive,
)
from earthloom.project.assess import Assessment, FoldsAssessment, SampleAssessment
from earthloom.project.cube import Dates, Grid, SensorChoice
from earthloom.project.labels import Chips, Labels, LandClass
from earthloom.project.load import Project, load_project
from earthloom.project.models import (
    BoostedChangeModel,
    ForestModel,
    MapChoice,
    ModelChoice,
    NetworkModel,
    RidgeModel,
)
from earthloom.project.settings import Settings

__all__ = [
    "Archive",
    "Assessment",
    "BoostedChangeModel",
    "CatalogArchive",
    "Chips",
    "Dates",
    "DatesFile",
    "FolderArchive",
    "FoldsAssessment",
    "ForestModel",
    "Grid",
    "Labels",
    "LandClass",
    "MapChoice",
    "ModelChoice",
    "NetworkModel",
    "Project",
    "RidgeModel",
    "SampleAssessment",
    "SensorChoice",
    "SeriesArchive",
    "Settings",
    "SimulatedArchive",
    "load_project",
]
