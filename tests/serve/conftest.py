"""A project with a small map: left half water, right half forest, a hole, and its outline."""

from pathlib import Path

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from earthloom.maps import MAP, PROBABILITY
from earthloom.maps.cog import StripWriter
from earthloom.project import Project, load_project

PROJECT = """
name: lake
archive: {kind: catalog, path: catalog.json}
area: [10.0, 45.0, 10.1, 45.1]
dates: {start: 2023-01-01, end: 2023-12-31}
sensors: [{name: sentinel-2-l2a}]
classes:
  - {code: 3, name: water, colour: "#2f74b5"}
  - {code: 7, name: "forest & <heath>", colour: "#4f9d3f"}
labels: {path: labels.gpkg}
model: {name: ridge}
assess: {method: sample}
"""
BOX = GeoBox.from_bbox((560_000, 5_000_000, 563_000, 5_003_000), crs="EPSG:32632", resolution=10)


def write_map(folder: Path) -> None:
    """Codes and probabilities: 0.9 for water on the left, 0.6 for forest on the right."""
    folder.mkdir(parents=True)
    left = np.zeros(BOX.shape, np.bool_)
    left[:, : BOX.shape.x // 2] = True
    hole = np.zeros(BOX.shape, np.bool_)
    hole[:60, :60] = True
    codes = np.where(hole, 0, np.where(left, 3, 7)).astype(np.uint8)
    water = np.where(left, 225, 100)
    shares = np.where(hole, 255, np.stack([water, 250 - water])).astype(np.uint8)
    for name, bands, nodata, strip, overviews in (
        (MAP, ["class"], 0, codes[None], "MODE"),
        (PROBABILITY, ["water", "forest"], 255, shares, "AVERAGE"),
    ):
        writer = StripWriter(folder / name, BOX, bands, nodata)
        writer.write(0, strip)
        writer.finish(overviews)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("lake")
    (folder / "project.yaml").write_text(PROJECT, encoding="utf-8")
    write_map(folder / "out" / "map" / "lake")
    (folder / "out" / "map" / "other.partial").mkdir()
    (folder / "out" / "assess").mkdir()
    report = folder / "out" / "assess" / "report.html"
    report.write_text("<!doctype html><title>Map report</title>", encoding="utf-8")
    return load_project(folder / "project.yaml")
