"""Finding scenes: static STAC catalogs, folders of files, the simulated archive."""

from earthloom.archive.catalog import StaticCatalog
from earthloom.archive.folder import FolderOfFiles
from earthloom.archive.scene import Asset, Scene, SceneSource, scenes_from_json, scenes_to_json

__all__ = [
    "Asset",
    "FolderOfFiles",
    "Scene",
    "SceneSource",
    "StaticCatalog",
    "scenes_from_json",
    "scenes_to_json",
]
