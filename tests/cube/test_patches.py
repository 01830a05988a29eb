"""Patches of several sensors, one file each, as one aligned sample (TerraMesh's layout)."""

import numpy as np
import pytest
import rasterio
import yaml

from earthloom.archive.open import open_archive
from earthloom.areas import areas_of, scenes_of
from earthloom.cube import build_cube, open_cube, plan_layers
from earthloom.project import load_project
from earthloom.sample import Shape2d, Window
from earthloom.sensors import load_sensor

pytestmark = pytest.mark.shared

BANDS_2A = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
BANDS_1C = [*BANDS_2A[:10], "B10", *BANDS_2A[10:]]


def _part(sensor, folder, bands):
    return {
        "sensor": sensor,
        "pattern": rf"{folder}/(?P<place>\w+)\.tif",
        "bands": bands,
        "day": "2020-06-01",
    }


@pytest.fixture
def project(shared_data, tmp_path):
    parts = [
        _part("sentinel-2-l2a-patch", "S2L2A", BANDS_2A),
        _part("sentinel-2-l1c", "S2L1C", BANDS_1C),
        _part("sentinel-1-grd-db", "S1RTC", ["VV", "VH"]),
        _part("cop-dem-glo-30", "DEM", ["elevation"]),
    ]
    table = load_sensor("sentinel-2-l2a")
    # Patches lie on one grid of 10 m, and have no scene classification beside them.
    bands = "".join(
        f'[[bands]]\nname = "{b.name}"\nkind = "reflectance"\nunit = "1"\ngsd = 10\n'
        f"scale = 0.0001\nwavelength_nm = {b.wavelength_nm}\nwidth_nm = {b.width_nm}\n"
        for b in table.bands
    )
    head = 'name = "sentinel-2-l2a-patch"\ntitle = "Patches"\nsource = "TerraMesh"\n'
    (tmp_path / "sentinel-2-l2a-patch.sensor.toml").write_text(head + bands)
    settings = {
        "name": "patches",
        "archive": {
            "kind": "folder",
            "path": str(shared_data / "terramind_examples"),
            **parts[0],
            "more": parts[1:],
        },
        "grid": {"crs": "native"},
        "sensors": [
            {"name": "sentinel-2-l2a-patch", "every": "date"},
            {"name": "sentinel-2-l1c", "bands": ["B02", "B03", "B04", "B08"], "every": "date"},
            {"name": "sentinel-1-grd-db", "every": "date"},
            {"name": "cop-dem-glo-30"},
        ],
        "classes": [
            {"code": 1, "name": "a", "colour": "#000000"},
            {"code": 2, "name": "b", "colour": "#ffffff"},
        ],
        "model": {"name": "ridge"},
        "assess": {"method": "folds", "by": "place"},
    }
    file = tmp_path / "project.yaml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    return load_project(file)


def test_each_place_is_one_aligned_sample(project, shared_data, tick, tmp_path):
    root = shared_data / "terramind_examples"
    archive = open_archive(project, tick)
    areas = areas_of(project, archive)
    assert [area.name for area in areas] == sorted(p.stem for p in (root / "DEM").glob("*.tif"))
    for area in areas:
        scenes = scenes_of(project, archive, area)
        assert len({scene.id for scene in scenes}) == len(scenes) == 4
        plans = plan_layers(project, area.box, scenes)
        shape = Shape2d(*area.box.shape)
        folder = tmp_path / area.name
        assert build_cube(str(root), plans, shape, folder, tick) == {}
        layers = open_cube(folder / "cube.zarr", shape).window(Window(0, 0, shape))
        assert {layer.pixels.shape[2:] for layer in layers.values()} == {tuple(shape)}
        with rasterio.open(root / "S2L2A" / f"{area.name}.tif") as file:
            stored = file.read()
        optical = layers["sentinel-2-l2a-patch_10m"].pixels[0]
        np.testing.assert_allclose(optical, stored * 0.0001, atol=1e-6)
        with rasterio.open(root / "S1RTC" / f"{area.name}.tif") as file:
            decibel = file.read()
        radar = layers["sentinel-1-grd-db_10m"].pixels[0]
        seen = np.isfinite(radar)
        assert seen.mean() > 0.99
        np.testing.assert_allclose(10 * np.log10(radar[seen]), decibel[seen], atol=1e-3)
        with rasterio.open(root / "DEM" / f"{area.name}.tif") as file:
            height = file.read(1)
        found = layers["cop-dem-glo-30_10m"].pixels[0, 0]
        np.testing.assert_allclose(found, height, atol=0.6)
