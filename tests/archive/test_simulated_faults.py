"""What is wrong with simulated items is what the truth says of them, and nothing else is."""

import hashlib
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioError
from scipy.ndimage import label
from shapely.geometry import box
from skimage.registration import phase_cross_correlation

from earthloom.archive import simulated
from earthloom.archive.catalog import StaticCatalog
from earthloom.archive.simulated import Faults, SimulationSpec, simulate
from earthloom.archive.simulated_faults import Departure, ItemFaults, misjudge, moved
from earthloom.archive.simulated_index import read_faults, true_world, truth_reflectance
from earthloom.archive.simulated_items import find_items
from earthloom.archive.simulated_plan import lay_grids, plan_sentinel2
from earthloom.archive.simulated_scenes import CLEAR, CLOUD, sense_sentinel2
from earthloom.archive.simulated_spec import spec_from_json
from earthloom.archive.simulated_tasks import Studio, list_tasks, open_studio
from earthloom.errors import ArchiveError
from earthloom.sensors import load_sensor

PLAIN = SimulationSpec(
    seed=4,
    size_m=1280,
    sentinel2_items=6,
    sentinel1_items=1,
    points_per_class=2,
    polygons_per_class=1,
)
FAULTS = Faults(
    quality_errors=0.05,
    wrong_offsets=2,
    truncated=2,
    missing=1,
    reprocessed=1,
    checksums=True,
    wrong_checksums=1,
)
FAULTY = replace(PLAIN, landsat_items=3, faults=FAULTS)
SENTINEL2, LANDSAT = "sentinel-2-l2a", "landsat-oli-c2-l2"


def digest(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def pixels(file: Path) -> np.ndarray:
    with rasterio.open(file) as data:
        return data.read(1)


def item_of(folder: Path, faults: ItemFaults) -> dict[str, Any]:
    path = folder / faults.collection / faults.item / f"{faults.item}.json"
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("plain"), PLAIN, workers=1).parent


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("faulty"), FAULTY, workers=1).parent


@pytest.fixture(scope="module")
def listed(faulty: Path) -> dict[str, ItemFaults]:
    return dict(read_faults(faulty).items)


@pytest.fixture(scope="module")
def studio() -> Studio:
    return open_studio(replace(PLAIN, size_m=2560))


def with_faults(listed: dict[str, ItemFaults], field: str) -> Iterator[ItemFaults]:
    empty = ItemFaults("", "", 0, 0, 0, 0, 0)
    return (each for each in listed.values() if getattr(each, field) != getattr(empty, field))


def test_without_faults_nothing_is_said_of_them(plain: Path) -> None:
    assert not (plain / "truth" / "faults.json").exists()
    manifest = json.loads((plain / "simulation.json").read_text())
    assert not {"faults", "landsat_items", "modis_items", "variability"} & set(manifest["spec"])
    text = next((plain / SENTINEL2).glob("*/*.json")).read_text()
    assert "file:" not in text
    assert "off_nadir" not in text
    with pytest.raises(ArchiveError, match=r"faults\.json"):
        read_faults(plain)


@pytest.mark.parametrize("spec", [PLAIN, FAULTY, replace(PLAIN, variability=0.5, modis_items=3)])
def test_manifest_tells_the_spec(spec: SimulationSpec) -> None:
    told = spec_from_json(json.loads(json.dumps(spec.as_json())))
    assert told == replace(spec, baseline_change=spec.first_with_offset)


def test_faults_change_nothing_else(
    plain: Path, faulty: Path, listed: dict[str, ItemFaults]
) -> None:
    """Bands of sound Sentinel-2 items are those of the archive without faults, bit for bit."""
    bands = [path.relative_to(plain) for path in (plain / SENTINEL2).glob("*/B0*.tif")]
    damaged = {
        f"{each.item}/{asset}.tif"
        for each in listed.values()
        for asset in (each.truncated, each.missing)
        if asset
    }
    same = 0
    for path in bands:
        if "/".join(path.parts[-2:]) not in damaged:
            assert (plain / path).read_bytes() == (faulty / path).read_bytes()
            same += 1
    assert same > 30


def test_as_many_faults_as_asked_for(listed: dict[str, ItemFaults]) -> None:
    for field, count in (
        ("true_offset", FAULTS.wrong_offsets),
        ("truncated", FAULTS.truncated),
        ("missing", FAULTS.missing),
        ("wrong_checksum", FAULTS.wrong_checksums),
        ("older_of", FAULTS.reprocessed),
    ):
        assert len(list(with_faults(listed, field))) == count
    assert len(listed) == 6 + 1 + 3


def test_wrong_offsets_are_wrong_as_told(
    plain: Path, faulty: Path, listed: dict[str, ItemFaults]
) -> None:
    for each in with_faults(listed, "true_offset"):
        item = item_of(faulty, each)
        said = item["assets"]["B04"]["raster:bands"][0]["offset"]
        assert said == each.said_offset != each.true_offset
        modern = item["properties"]["s2:processing_baseline"] >= "04.00"
        assert modern == (said != 0), "baseline and offset tell the same wrong thing"
        if each.older_of is None:
            honest = item_of(plain, each)["assets"]["B04"]["raster:bands"][0]["offset"]
            assert honest == each.true_offset


def test_truncated_assets_cannot_be_read(faulty: Path, listed: dict[str, ItemFaults]) -> None:
    for each in with_faults(listed, "truncated"):
        said = item_of(faulty, each)["assets"][each.truncated]
        path = faulty / each.collection / each.item / f"{each.truncated}.tif"
        assert path.stat().st_size == int(said["file:size"] * each.kept)
        with pytest.raises(RasterioError):
            pixels(path)


def test_missing_assets_are_named_and_not_there(
    faulty: Path, listed: dict[str, ItemFaults]
) -> None:
    for each in with_faults(listed, "missing"):
        assert each.missing in item_of(faulty, each)["assets"]
        assert not (faulty / each.collection / each.item / f"{each.missing}.tif").exists()


def test_checksums_are_those_of_the_files_but_for_the_wrong_ones(
    faulty: Path, listed: dict[str, ItemFaults]
) -> None:
    wrong = set()
    for path in faulty.glob("*/*/*.json"):
        item = json.loads(path.read_text())
        for name, asset in item["assets"].items():
            file = path.parent / asset["href"]
            if file.exists():
                found = "1220" + hashlib.sha256(file.read_bytes()).hexdigest()
                if found != asset["file:checksum"]:
                    wrong.add((item["id"], name))
    told = {(each.item, each.truncated) for each in with_faults(listed, "truncated")}
    told |= {(each.item, each.wrong_checksum) for each in with_faults(listed, "wrong_checksum")}
    assert wrong == told


def test_two_processings_of_one_acquisition(faulty: Path, listed: dict[str, ItemFaults]) -> None:
    (older,) = with_faults(listed, "older_of")
    old, new = item_of(faulty, older), item_of(faulty, listed[older.older_of or ""])
    assert old["id"] != new["id"]
    assert old["properties"]["datetime"] == new["properties"]["datetime"]
    assert old["properties"]["s2:mgrs_tile"] == new["properties"]["s2:mgrs_tile"]
    scenes = StaticCatalog(faulty / "catalog.json").search(
        load_sensor(SENTINEL2), date(2023, 1, 1), date(2023, 12, 31), box(-180, -90, 180, 90)
    )
    version = {scene.id: scene.version for scene in scenes}
    assert len(scenes) == 7
    assert version[old["id"]] != version[new["id"]]


def test_an_interrupted_run_goes_on(faulty: Path, listed: dict[str, ItemFaults]) -> None:
    before = digest(faulty)
    for each in with_faults(listed, "truncated"):
        (faulty / each.collection / each.item / f"{each.item}.json").unlink()
    simulate(faulty, FAULTY, workers=1)
    assert digest(faulty) == before


def test_a_finished_archive_is_left_alone(faulty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An asset that is missing on purpose is not made up for."""
    monkeypatch.setattr(simulated, "_do", None)
    assert simulate(faulty, FAULTY) == faulty / "catalog.json"


def test_other_faults_are_another_archive(faulty: Path) -> None:
    with pytest.raises(ArchiveError, match="faults"):
        simulate(faulty, replace(FAULTY, faults=replace(FAULTS, missing=0)))
    with pytest.raises(ArchiveError, match="landsat_items 3, not None"):
        simulate(faulty, replace(FAULTY, landsat_items=0))


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(shift_px=11), "shift_px is 11; it must lie between 0 and 10"),
        (Faults(quality_errors=0.6), "quality_errors is 0.6"),
        (Faults(missing=7), "missing is 7"),
        (Faults(wrong_checksums=1), "wrong_checksums is 1; it must lie between 0 and 0"),
    ],
)
def test_impossible_faults_are_refused(tmp_path: Path, faults: Faults, words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        simulate(tmp_path, replace(PLAIN, faults=faults))


@pytest.mark.parametrize(("east", "north"), [(6.5, -3.0), (-14.0, 9.0), (0.0, 4.0)])
def test_the_image_lies_off_by_what_is_recorded(studio: Studio, east: float, north: float) -> None:
    """Measured by cross-correlation (Guizar-Sicairos et al. 2008), which knows of no splines."""
    clear = replace(plan_sentinel2(PLAIN)[0], cloud=0.0)
    resampler = studio.resampler(studio.layout.home)
    there = sense_sentinel2(studio.world, clear, resampler, "x").bands["B08"]
    departure = Departure(east=east, north=north)
    here = sense_sentinel2(studio.world, clear, resampler, "y", departure).bands["B08"]
    # The shift that brings the reference onto the moved image, in rows and columns; the windows
    # let no edge take part.
    window = np.outer(np.hanning(256), np.hanning(256))
    moving, still = ((image - image.mean()) * window for image in (here, there))
    found, _, _ = phase_cross_correlation(moving, still, upsample_factor=50, normalization=None)
    assert found[1] * 10 == pytest.approx(east, abs=0.5)
    assert -found[0] * 10 == pytest.approx(north, abs=0.5)


def test_moving_keeps_ramps_and_detail() -> None:
    y, x = np.mgrid[:40, :50].astype(np.float32)
    ramp = moved((2 * x + 3 * y)[None], Departure(east=15, north=-5), 10.0)[0]
    # 1.5 pixels to the east and 0.5 down: what was there is now here.
    inner = slice(12, -12)
    wanted = 2 * (x - 1.5) + 3 * (y - 0.5)
    np.testing.assert_allclose(ramp[inner, inner], wanted[inner, inner], atol=2e-3)
    wave = np.sin(2 * np.pi * x / 5)
    half = moved(wave[None], Departure(east=5), 10.0)[0]
    wanted = np.sin(2 * np.pi * (x - 0.5) / 5)
    assert np.abs(half - wanted)[inner, inner].max() < 0.1


def test_shifts_have_the_spread_that_was_asked_for() -> None:
    spec = replace(PLAIN, sentinel2_items=60, faults=Faults(shift_px=0.7))
    found = [item.faults for item in find_items(spec, open_studio(spec).layout)]
    drawn = np.array([(each.shift_east_m, each.shift_north_m) for each in found])
    assert drawn.std() == pytest.approx(7.0, rel=0.25)
    assert np.abs(drawn.mean(axis=0)).max() < 3


def test_quality_errors_are_as_many_as_asked_for(studio: Studio) -> None:
    wanted = 0.08
    half = replace(plan_sentinel2(PLAIN)[3], cloud=0.5)
    resampler = studio.resampler(studio.layout.home)
    right = sense_sentinel2(studio.world, half, resampler, "x")
    departure = Departure(quality_errors=wanted)
    wrong = sense_sentinel2(studio.world, half, resampler, "x", departure)
    np.testing.assert_array_equal(right.truth, wrong.truth)
    table = load_sensor(SENTINEL2).quality
    assert table is not None
    before, after = (table.where(scene.quality, {"cloud"}) for scene in (right, wrong))
    truth = wrong.truth[::2, ::2]
    clear, cloudy = truth == CLEAR, truth == CLOUD
    assert 0.1 < cloudy.mean() < 0.9
    assert (after & ~before)[clear].mean() == pytest.approx(wanted, abs=0.02)
    assert (~after & before)[cloudy].mean() == pytest.approx(wanted, abs=0.03)


def test_misjudged_blobs_are_blobs() -> None:
    some = np.zeros((200, 200), bool)
    some[:, :120] = True
    wrong = misjudge(np.random.default_rng(1), some, ~some, 0.05, 20.0)
    assert wrong.missed[some].mean() == pytest.approx(0.05, abs=0.005)
    assert wrong.false[~some].mean() == pytest.approx(0.05, abs=0.005)
    assert not wrong.missed[~some].any()
    assert not wrong.false[some].any()
    _, count = label(wrong.missed)
    assert wrong.missed.sum() / count > 20, "some pixels together"


def test_terrain_shows_in_the_scene(studio: Studio) -> None:
    winter = replace(plan_sentinel2(PLAIN)[0], cloud=0.0)
    resampler = studio.resampler(studio.layout.home)
    flat = sense_sentinel2(studio.world, winter, resampler, "x").bands["B08"]
    departure = Departure(flattened=False)
    lit = sense_sentinel2(studio.world, winter, resampler, "x", departure).bands["B08"]
    relief = studio.world.illumination(winter.day)
    hilly = np.abs(relief - 1) > 0.1
    change = lit.astype(float) / flat
    assert np.corrcoef(change[hilly], relief[hilly])[0, 1] > 0.9


def test_truth_has_no_fault(faulty: Path, listed: dict[str, ItemFaults]) -> None:
    each = next(iter(listed.values()))
    world = true_world(faulty)
    bands = ("B04", "B08")
    by_day = truth_reflectance(faulty, each.day, bands)
    np.testing.assert_allclose(by_day, world.reflectance(each.day, bands), rtol=1e-5)
    np.testing.assert_array_equal(by_day, truth_reflectance(faulty, each.item, bands))
    zenith = world.sun(each.day).zenith
    same = truth_reflectance(faulty, each.day, bands, sun_zenith=zenith)
    np.testing.assert_allclose(same, by_day, rtol=1e-5)
    other = truth_reflectance(faulty, each.day, bands, sun_zenith=zenith - 20)
    assert np.abs(other / by_day - 1).mean() > 0.01
    assert truth_reflectance(faulty, each.day, ("red",), "oli").shape == by_day[:1].shape
    with pytest.raises(ArchiveError, match="no band 'B4'; its bands are: B02"):
        truth_reflectance(faulty, each.day, ("B4",))
    with pytest.raises(ArchiveError, match="no instrument 'etm'"):
        truth_reflectance(faulty, each.day, ("B04",), "etm")
    with pytest.raises(ArchiveError, match="no optical item 'x'"):
        truth_reflectance(faulty, "x", bands)


def test_angles_are_told_where_they_count(tmp_path: Path) -> None:
    spec = replace(PLAIN, size_m=640, sentinel2_items=2, faults=Faults(brdf=True))
    folder = simulate(tmp_path, spec, workers=1).parent
    scenes = StaticCatalog(folder / "catalog.json").search(
        load_sensor(SENTINEL2), date(2023, 1, 1), date(2023, 12, 31), box(-180, -90, 180, 90)
    )
    listed = read_faults(folder).items
    for scene in scenes:
        told = listed[scene.id]
        assert scene.angles is not None
        assert scene.angles.view_zenith == pytest.approx(told.view_zenith, abs=1e-3)
        assert scene.angles.view_azimuth == pytest.approx(told.view_azimuth, abs=1e-3)
        assert scene.angles.sun_zenith == pytest.approx(90 - told.sun_elevation, abs=1e-3)
        assert told.view_zenith > 3


def test_tasks_can_be_sent_to_other_processes() -> None:
    spec = replace(FAULTY, size_m=2560, modis_items=2)
    tasks = list_tasks(spec, lay_grids(spec))
    assert pickle.loads(pickle.dumps(tasks)) == tasks
    assert len({task.name for task in tasks}) == len(tasks)
