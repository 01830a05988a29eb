"""The simulated archive: its files are those of real products, and its truth is kept."""

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
from rasterio.transform import rowcol
from rasterio.warp import transform as warp_points

from earthloom.archive import simulated
from earthloom.archive.simulated import SimulationSpec, simulate
from earthloom.archive.simulated_files import write_whole
from earthloom.archive.simulated_plan import lay_grids, plan_sentinel1, plan_sentinel2
from earthloom.archive.simulated_scenes import LOOKS, encode, offset_of, speckle
from earthloom.archive.simulated_tasks import Studio, open_studio
from earthloom.errors import ArchiveError, StageError
from earthloom.world import BANDS, CLASSES

SPEC = SimulationSpec(
    seed=4,
    size_m=1920,
    sentinel2_items=8,
    sentinel1_items=4,
    baseline_change=date(2023, 7, 1),
    points_per_class=6,
    polygons_per_class=2,
)
TWO = SimulationSpec(
    seed=4, size_m=1920, sentinel2_items=4, sentinel1_items=2, two_zones=True, points_per_class=3
)


def digest(folder: Path) -> dict[str, str]:
    """Content of every file by its path."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def items_of(folder: Path, collection: str) -> list[dict[str, Any]]:
    items = [json.loads(file.read_text()) for file in (folder / collection).glob("*/*.json")]
    return sorted(items, key=lambda item: (item["properties"]["datetime"], item["id"]))


def pixels(file: Path) -> np.ndarray:
    with rasterio.open(file) as data:
        return data.read(1)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("archive"), SPEC, workers=1).parent


@pytest.fixture(scope="module")
def two_zones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("zones"), TWO, workers=1).parent


@pytest.fixture(scope="module")
def studio() -> Studio:
    return open_studio(SPEC)


def test_same_spec_same_bytes_with_other_workers(archive: Path, tmp_path: Path) -> None:
    simulate(tmp_path, SPEC, workers=2)
    assert digest(tmp_path) == digest(archive)


def test_another_seed_differs(archive: Path, tmp_path: Path) -> None:
    spec = SimulationSpec(seed=5, size_m=640, sentinel2_items=1, sentinel1_items=1)
    one = digest(simulate(tmp_path / "a", spec, workers=1).parent)
    spec = SimulationSpec(seed=6, size_m=640, sentinel2_items=1, sentinel1_items=1)
    other = digest(simulate(tmp_path / "b", spec, workers=1).parent)
    for name in ("truth/class.tif", "labels.gpkg", "truth/parcels.gpkg"):
        assert one[name] != other[name]


def test_interrupted_run_goes_on(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        """As if the user had pressed Ctrl-C."""

    def stop_soon(done: int, total: int, name: str) -> None:
        if done == 5:
            raise Stop

    with pytest.raises(Stop):
        simulate(tmp_path, SPEC, stop_soon, workers=1)
    assert not (tmp_path / "catalog.json").exists()
    whole = digest(archive)
    assert all(whole[name] == value for name, value in digest(tmp_path).items())
    # A file that was being written, and one that was lost from a finished item.
    first = next((tmp_path / "sentinel-2-l2a").iterdir())
    (first / "B04.tif").unlink()
    (first / ".part-B04.tif").write_bytes(b"half")
    before = (first / "B03.tif").stat().st_mtime_ns
    simulate(tmp_path, SPEC, workers=1)
    assert digest(tmp_path) == whole
    assert (first / "B03.tif").stat().st_mtime_ns == before, "what is there is left alone"


def test_finished_archive_is_left_alone(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "_do", None)
    assert simulate(archive, SPEC) == archive / "catalog.json"


def test_another_spec_is_refused(archive: Path) -> None:
    with pytest.raises(ArchiveError, match="seed 4, not 9"):
        simulate(archive, SimulationSpec(seed=9, size_m=1920))


def test_foreign_catalog_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_text("{}")
    with pytest.raises(ArchiveError, match="not simulated"):
        simulate(tmp_path, SPEC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sentinel2_items": 400}, "between 1 and 146"),
        ({"size_m": 1930}, "multiple of 20 m"),
        ({"latitude": -20}, "latitude"),
        ({"longitude": 11.99}, "two_zones"),
    ],
)
def test_impossible_specs_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=message):
        simulate(tmp_path, SimulationSpec(**changes))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_told(tmp_path: Path) -> None:
    def refuse(part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError("No space left on device")

    with pytest.raises(StageError, match="No space left"):
        write_whole(tmp_path / "file.tif", refuse)
    assert list(tmp_path.iterdir()) == []


def test_catalog_is_valid_stac(archive: Path) -> None:
    catalog = pystac.Catalog.from_file(str(archive / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    assert len(items) == SPEC.sentinel2_items + SPEC.sentinel1_items + 1
    assert {child.id for child in catalog.get_children()} == {
        "sentinel-2-l2a",
        "sentinel-1-rtc",
        "cop-dem-glo-30",
    }
    catalog.validate()
    for child in catalog.get_children():
        child.validate()
    for item in items:
        item.stac_extensions = []  # their schemas are on the network
        item.validate()
        for asset in item.get_assets().values():
            assert Path(asset.get_absolute_href() or "").exists()


def test_assets_are_what_the_items_say(archive: Path) -> None:
    for collection in ("sentinel-2-l2a", "sentinel-1-rtc", "cop-dem-glo-30"):
        for item in items_of(archive, collection):
            for asset in item["assets"].values():
                with rasterio.open(archive / collection / item["id"] / asset["href"]) as data:
                    band = asset["raster:bands"][0]
                    assert list(data.shape) == asset["proj:shape"]
                    assert np.allclose(list(data.transform)[:6], asset["proj:transform"])
                    assert data.crs.to_epsg() == item["properties"]["proj:epsg"]
                    assert data.dtypes[0] == band["data_type"]
                    assert data.nodata == band.get("nodata")
                    assert data.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_names_are_like_real_ones(archive: Path) -> None:
    for item in items_of(archive, "sentinel-2-l2a"):
        mission, level, sensed, orbit, tile, made = item["id"].split("_")
        assert mission in ("S2A", "S2B")
        assert level == "MSIL2A"
        assert orbit[0] == "R"
        assert tile == "T32UPV"
        assert len(sensed) == len(made) == 15
        assert set(item["assets"]) == {*BANDS, "SCL"}
    for item in items_of(archive, "sentinel-1-rtc"):
        assert item["id"].startswith("S1A_IW_GRDH_1SDV_")
        assert item["id"].endswith("_rtc")
        assert set(item["assets"]) == {"vv", "vh"}


def test_both_processing_baselines(archive: Path) -> None:
    offsets = {}
    for item in items_of(archive, "sentinel-2-l2a"):
        baseline = item["properties"]["s2:processing_baseline"]
        offsets[baseline] = item["assets"]["B04"]["raster:bands"][0]["offset"]
        before = item["properties"]["datetime"] < "2023-07-01"
        assert baseline == ("03.01" if before else "05.09")
    assert offsets == {"03.01": 0.0, "05.09": -0.1}


@pytest.mark.parametrize("baseline", ["03.01", "04.00", "05.09"])
def test_numbers_decode_to_reflectance(baseline: str) -> None:
    reflectance = np.linspace(0.0002, 1.2, 999, dtype=np.float32)
    numbers = encode(reflectance, baseline)
    assert np.abs(numbers * 1e-4 + offset_of(baseline) - reflectance).max() <= 0.51e-4
    assert encode(np.array([-5.0], np.float32), baseline)[0] == 1, "0 means no data"


def test_clear_pixels_show_the_surface(archive: Path, studio: Studio) -> None:
    """Decoded numbers meet the world's own reflectance, for both baselines."""
    seen = set()
    for item in items_of(archive, "sentinel-2-l2a"):
        clear = pixels(archive / "truth" / "cloud" / f"{item['id']}.tif") == 0
        if clear.mean() < 0.2:
            continue
        day = date.fromisoformat(item["properties"]["datetime"][:10]).timetuple().tm_yday
        surface = studio.world.reflectance(day, ("B08",))[0]
        band = item["assets"]["B08"]["raster:bands"][0]
        numbers = pixels(archive / "sentinel-2-l2a" / item["id"] / "B08.tif")
        error = (numbers * band["scale"] + band["offset"] - surface)[clear]
        assert abs(np.median(error)) < 0.02
        assert np.corrcoef(error + surface[clear], surface[clear])[0, 1] > 0.9
        seen.add(item["properties"]["s2:processing_baseline"])
    assert seen == {"03.01", "05.09"}


def test_quality_band_agrees_with_the_true_clouds(archive: Path) -> None:
    right = total = 0
    for item in items_of(archive, "sentinel-2-l2a"):
        truth = pixels(archive / "truth" / "cloud" / f"{item['id']}.tif")[::2, ::2]
        quality = pixels(archive / "sentinel-2-l2a" / item["id"] / "SCL.tif")
        sure = (truth == 0) | (truth == 2)
        said = np.isin(quality, (3, 7, 8, 9, 10))
        right += int((said == (truth == 2))[sure].sum())
        total += int(sure.sum())
        assert np.array_equal(quality == 0, truth == 255) or (quality == 0).any()
    assert 0.88 < right / total < 0.9999, "mostly right, never perfect"


def test_water_is_called_water(archive: Path) -> None:
    code = pixels(archive / "truth" / "class_start.tif")[::2, ::2]
    found = []
    for item in items_of(archive, "sentinel-2-l2a"):
        truth = pixels(archive / "truth" / "cloud" / f"{item['id']}.tif")[::2, ::2]
        quality = pixels(archive / "sentinel-2-l2a" / item["id"] / "SCL.tif")
        found.append(quality[(truth == 0) & (code == 1)] == 6)
    assert np.concatenate(found).mean() > 0.6


def test_swath_edges_are_nodata(archive: Path) -> None:
    cut = 0
    for item in items_of(archive, "sentinel-2-l2a"):
        fine = pixels(archive / "sentinel-2-l2a" / item["id"] / "B02.tif") == 0
        truth = pixels(archive / "truth" / "cloud" / f"{item['id']}.tif") == 255
        assert np.array_equal(fine, truth)
        cut += fine.any()
    assert 0 < cut < SPEC.sentinel2_items
    radar = [
        pixels(archive / "sentinel-1-rtc" / item["id"] / "vv.tif")
        for item in items_of(archive, "sentinel-1-rtc")
    ]
    assert any((image == -32768).any() for image in radar)
    assert all((image[image != -32768] > 0).all() for image in radar)


def test_speckle_is_gamma() -> None:
    drawn = speckle(np.random.default_rng(0), (600, 600))
    assert abs(drawn.mean() - 1) < 0.005
    assert abs(drawn.var() * LOOKS - 1) < 0.01
    skewness = ((drawn - drawn.mean()) ** 3).mean() / drawn.std() ** 3
    assert abs(skewness - 2 / np.sqrt(LOOKS)) < 0.05


def test_radar_has_the_stated_looks(archive: Path, studio: Studio) -> None:
    """The ratio of a scene to the land's own backscatter is speckle, but for relief and noise."""
    item = items_of(archive, "sentinel-1-rtc")[0]
    image = pixels(archive / "sentinel-1-rtc" / item["id"] / "vv.tif")
    day = date.fromisoformat(item["properties"]["datetime"][:10]).timetuple().tm_yday
    power = studio.world.backscatter(day)[0]
    ratio = (image / power)[(image > 0) & (power > 0.05)]
    assert abs(ratio.mean() - 1) < 0.06
    assert abs(ratio.mean() ** 2 / ratio.var() / LOOKS - 1) < 0.12


def test_truth_is_the_world(archive: Path, studio: Studio) -> None:
    world = studio.world
    assert np.array_equal(pixels(archive / "truth" / "class.tif"), world.class_map(366))
    assert np.array_equal(pixels(archive / "truth" / "class_start.tif"), world.class_map(0))
    with rasterio.open(archive / "truth" / "reflectance" / "2023-07-15.tif") as data:
        assert data.descriptions == BANDS
        assert np.abs(data.read() * 1e-4 - world.reflectance(196)).max() < 3e-4
    biomass = pixels(archive / "truth" / "biomass.tif")
    assert np.allclose(biomass, world.biomass(366), rtol=1e-3)
    classes = json.loads((archive / "truth" / "classes.json").read_text())["classes"]
    assert [row["name"] for row in classes] == [land.name for land in CLASSES]
    assert [row["code"] for row in classes] == list(range(1, len(CLASSES) + 1))
    events = gpd.read_file(archive / "truth" / "events.gpkg")
    assert list(events["kind"]) == [event.kind for event in world.events]
    parcels = gpd.read_file(archive / "truth" / "parcels.gpkg")
    assert abs(parcels.area.sum() - SPEC.size_m**2) < 1


def test_elevation_model_is_the_world_in_degrees(archive: Path, studio: Studio) -> None:
    item = items_of(archive, "cop-dem-glo-30")[0]
    with rasterio.open(archive / "cop-dem-glo-30" / item["id"] / "data.tif") as data:
        assert data.crs.to_epsg() == 4326
        assert np.isclose(data.res[0] * 3600, 1)
        height = data.read(1)
        rows, cols = (
            side.ravel()
            for side in np.mgrid[4 : height.shape[0] - 4 : 5, 8 : height.shape[1] - 8 : 5]
        )
        x, y = data.xy(rows, cols)
    home = studio.layout.home
    east, north = warp_points("EPSG:4326", home.crs, list(x), list(y))
    col = ((np.array(east) - home.west) / 10).astype(int)
    row = ((home.north - np.array(north)) / 10).astype(int)
    ok = (row >= 0) & (row < home.shape.rows) & (col >= 0) & (col < home.shape.cols)
    difference = height[rows, cols][ok] - studio.world.elevation[row[ok], col[ok]]
    assert np.abs(np.median(difference)) < 0.3
    assert np.abs(difference).mean() < 1.5


def test_labels_are_true_and_in_the_area(archive: Path) -> None:
    area = gpd.read_file(archive / "area.geojson")
    assert area.crs.to_epsg() == 4326
    names = {land.name: land.code for land in CLASSES}
    with rasterio.open(archive / "truth" / "class.tif") as data:
        code, transform, crs = data.read(1), data.transform, data.crs
    for layer in ("points", "polygons"):
        labels = gpd.read_file(archive / "labels.gpkg", layer=layer)
        assert set(labels.columns) == {"class", "date", "geometry"}
        assert set(labels["class"]) <= set(names)
        assert labels.within(area.union_all().buffer(2e-4)).all()
        local = labels.to_crs(crs)
        for name, geometry in zip(local["class"], local.geometry, strict=True):
            spot = geometry.representative_point()
            row, col = rowcol(transform, spot.x, spot.y)
            assert code[row, col] == names[name]
    points = gpd.read_file(archive / "labels.gpkg", layer="points")
    assert points["class"].value_counts().max() == SPEC.points_per_class
    assert len(points) >= 0.8 * len(CLASSES) * SPEC.points_per_class


def test_two_zones_agree_where_they_overlap(two_zones: Path) -> None:
    items = items_of(two_zones, "sentinel-2-l2a")
    assert {item["properties"]["proj:epsg"] for item in items} == {32632, 32633}
    by_day: dict[str, dict[int, dict[str, Any]]] = {}
    for item in items:
        by_day.setdefault(item["properties"]["datetime"], {})[item["properties"]["proj:epsg"]] = (
            item
        )
    compared = 0
    for pair in by_day.values():
        west, east = pair[32632], pair[32633]
        assert west["id"] != east["id"]
        with rasterio.open(two_zones / "sentinel-2-l2a" / east["id"] / "B08.tif") as data:
            there, transform, crs = data.read(1).astype(float), data.transform, data.crs
        with rasterio.open(two_zones / "sentinel-2-l2a" / west["id"] / "B08.tif") as data:
            rows, cols = (
                side.ravel() for side in np.mgrid[5 : data.height : 9, 5 : data.width : 7]
            )
            x, y = data.xy(rows, cols)
            here = data.read(1).astype(float)[rows, cols]
            x, y = warp_points(data.crs, crs, list(x), list(y))
        row, col = (np.asarray(side) for side in rowcol(transform, x, y))
        ok = (row >= 0) & (row < there.shape[0]) & (col >= 0) & (col < there.shape[1])
        other = np.where(
            ok, there[np.clip(row, 0, there.shape[0] - 1), np.clip(col, 0, there.shape[1] - 1)], 0
        )
        both = ok & (here > 0) & (other > 0)
        if both.sum() > 50:
            compared += 1
            assert np.median(np.abs(here - other)[both]) < 150, "in digital numbers"
            assert np.corrcoef(here[both], other[both])[0, 1] > 0.85
    assert compared >= 2


def test_two_zones_leave_no_gap(two_zones: Path) -> None:
    """Every part of the area lies in the footprint of an item of each full pass."""
    area = gpd.read_file(two_zones / "area.geojson").union_all()
    full = [item for item in items_of(two_zones, "sentinel-2-l2a") if "_R065_" in item["id"]]
    days = {item["properties"]["datetime"] for item in full}
    for day in days:
        shapes = [item for item in full if item["properties"]["datetime"] == day]
        frame = gpd.GeoDataFrame.from_features(
            [{"type": "Feature", "geometry": item["geometry"], "properties": {}} for item in shapes]
        )
        left = area.difference(frame.union_all())
        assert left.area < 1e-3 * area.area


def test_plans_spread_over_the_year() -> None:
    spec = SimulationSpec()
    for plan, count in ((plan_sentinel2(spec), 48), (plan_sentinel1(spec), 24)):
        assert len(plan) == count == len({scene.time for scene in plan})
        assert len({scene.time.month for scene in plan}) == 12
        assert len({scene.orbit.number for scene in plan}) == 2
    clouds = [scene.cloud for scene in plan_sentinel2(spec)]
    assert min(clouds) < 0.01
    assert max(clouds) > 0.95


def test_tiles_have_their_military_names() -> None:
    assert lay_grids(SimulationSpec()).home.tile == "32UPV"
    names = [grid.tile for grid in lay_grids(SimulationSpec(two_zones=True)).deliveries]
    assert names == ["32UQV", "33UTQ"]
