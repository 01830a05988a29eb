"""Scenes of a folder of files, told by a pattern over their paths."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from earthloom.archive import FolderOfFiles
from earthloom.archive.scene import parse_time
from earthloom.errors import ArchiveError
from earthloom.project import DatesFile, FolderArchive, load_project
from earthloom.sensors import load_sensor

SENSOR = load_sensor("sentinel-2-l1c")
EVER = (date.min, date.max)
DATED = r"(?P<place>[a-z]+)/(?P<date>[0-9]{8})_(?P<band>B[0-9A]{2})\.tif"
SLOTS = r"(?P<place>[a-z]+)/imgs_(?P<slot>[12])/(?P<band>B[0-9A]{2})\.tif"


def _folder(path, *files, pattern=DATED, dates=None, sensor="sentinel-2-l1c"):
    for name in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    settings = FolderArchive(
        kind="folder", path=str(path), sensor=sensor, pattern=pattern, dates=dates
    )
    return FolderOfFiles(path, settings)


def test_files_of_a_place_and_date_are_one_scene(tmp_path):
    folder = _folder(
        tmp_path,
        *("rome/20180101_B02.tif", "rome/20180101_B03.tif", "rome/20180301_B02.tif"),
        *("oslo/20180201_B02.tif", "oslo/20180201_B99.tif", "oslo/readme.txt"),
    )
    assert folder.places(SENSOR) == ["oslo", "rome"]
    first, second = folder.of_place(SENSOR, "rome", *EVER)
    assert (first.id, first.day, first.place) == ("rome_2018-01-01", date(2018, 1, 1), "rome")
    assert list(first.bands) == ["B02", "B03"]
    assert list(second.bands) == ["B02"]
    asset = first.bands["B02"]
    assert asset.href == "rome/20180101_B02.tif"
    assert asset.size == len(asset.href)
    assert (asset.scale, asset.nodata) == (0.0001, 0)
    (oslo,) = folder.of_place(SENSOR, "oslo", *EVER)
    assert list(oslo.bands) == ["B02"]


def test_both_days_are_included(tmp_path):
    folder = _folder(tmp_path, *(f"rome/201801{day:02d}_B02.tif" for day in range(1, 10)))
    found = folder.of_place(SENSOR, "rome", date(2018, 1, 3), date(2018, 1, 5))
    assert [scene.day.day for scene in found] == [3, 4, 5]
    everywhere = shapely.box(-180, -90, 180, 90)
    assert folder.search(SENSOR, date(2018, 1, 3), date(2018, 1, 5), everywhere) == found


def test_dates_written_in_a_file(tmp_path):
    dates = DatesFile(file="{place}/dates.txt", pattern=r"date_{slot}: ([0-9]{8})")
    folder = _folder(
        tmp_path, "rome/imgs_1/B02.tif", "rome/imgs_2/B02.tif", pattern=SLOTS, dates=dates
    )
    (tmp_path / "rome" / "dates.txt").write_text("date_1: 20160102\ndate_2: 20180304\n")
    found = folder.of_place(SENSOR, "rome", *EVER)
    assert [scene.day for scene in found] == [date(2016, 1, 2), date(2018, 3, 4)]
    assert [scene.id for scene in found] == ["rome_1_2016-01-02", "rome_2_2018-03-04"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"cannot read the dates file .*dates\.txt: No such file"),
        ("nothing", r"dates\.txt has nothing that fits date_1: "),
        ("date_1: 20161302", "'20161302' in .* is not a date as YYYYMMDD"),
    ],
)
def test_dates_that_are_not_there(text, words, tmp_path):
    dates = DatesFile(file="{place}/dates.txt", pattern=r"date_{slot}: ([0-9]{8})")
    folder = _folder(tmp_path, "rome/imgs_1/B02.tif", pattern=SLOTS, dates=dates)
    if text is not None:
        (tmp_path / "rome" / "dates.txt").write_text(text)
    with pytest.raises(ArchiveError, match=words):
        folder.places(SENSOR)


def test_date_that_is_none(tmp_path):
    with pytest.raises(ArchiveError, match=r"'20180230' in .* is not a date"):
        _folder(tmp_path, "rome/20180230_B02.tif").places(SENSOR)


def test_nothing_fits(tmp_path):
    folder = _folder(tmp_path, "rome/20180101_B99.tif")
    with pytest.raises(ArchiveError, match=r"no file in .* sentinel-2-l1c: B01, B02"):
        folder.places(SENSOR)


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(ArchiveError, match="does not exist"):
        _folder(tmp_path / "none").places(SENSOR)


def test_another_sensor(tmp_path):
    with pytest.raises(ArchiveError, match="holds sentinel-2-l1c, not sentinel-1-rtc"):
        _folder(tmp_path, "rome/20180101_B02.tif").places(load_sensor("sentinel-1-rtc"))


def test_place_without_a_group_is_nameless(tmp_path):
    folder = _folder(
        tmp_path, "20180101_B02.tif", pattern=r"(?P<date>[0-9]{8})_(?P<band>B[0-9A]{2})\.tif"
    )
    assert folder.places(SENSOR) == [""]
    (scene,) = folder.of_place(SENSOR, "", *EVER)
    assert scene.id == "2018-01-01"


@pytest.mark.parametrize("text", ["2018-01-02T23:59:59Z", "2018-01-02T00:00:00.5+00:00"])
def test_day_of_a_time(text):
    assert parse_time(text).date() == date(2018, 1, 2)


@pytest.mark.shared
def test_the_places_of_a_real_folder(shared_data):
    """The example on real change pairs: every place has two dates and all bands."""
    if not (shared_data / "oscd").is_dir():
        pytest.skip("needs ../shared/data/oscd")
    example = load_project(Path(__file__).parents[2] / "examples" / "oscd" / "project.yaml")
    folder = FolderOfFiles(shared_data / "oscd", example.archive)
    places = folder.places(SENSOR)
    assert len(places) > 1
    for place in places:
        scenes = folder.of_place(SENSOR, place, *EVER)
        assert len(scenes) == 2
        assert scenes[0].day < scenes[1].day
        assert all(len(scene.bands) == 13 for scene in scenes)


# -- several bands in a file, dates in other forms, quality --------------------------------------

L2A = load_sensor("sentinel-2-l2a")
STACKED = r"(?P<date>[0-9T:.Z-]+)\.tif"


def _stacked(path, *files, **settings):
    for name in files:
        (path / name).write_text(name)
    chosen = {"sensor": "sentinel-2-l2a", "pattern": STACKED, **settings}
    return FolderOfFiles(path, FolderArchive(kind="folder", path=str(path), **chosen))


def test_bands_in_the_order_of_a_file(tmp_path):
    folder = _stacked(tmp_path, "20180101.tif", bands=["B02", None, "B04", "SCL"])
    (scene,) = folder.of_place(L2A, "", *EVER)
    assert {name: asset.index for name, asset in scene.bands.items()} == {"B02": 1, "B04": 3}
    assert {asset.href for asset in scene.bands.values()} == {"20180101.tif"}
    assert (scene.quality.href, scene.quality.index) == ("20180101.tif", 4)


def test_images_in_a_file(tmp_path):
    folder = _stacked(tmp_path, "20180101.tif", subdatasets={"B04": "red", "B08": "group/nir"})
    (scene,) = folder.of_place(L2A, "", *EVER)
    hrefs = {name: asset.href for name, asset in scene.bands.items()}
    assert hrefs == {"B04": "20180101.tif#red", "B08": "20180101.tif#group/nir"}
    assert scene.bands["B04"].size == len("20180101.tif")


def test_a_quality_file(tmp_path):
    folder = _folder(
        tmp_path,
        *("rome/20180101_B02.tif", "rome/20180101_SCL.tif"),
        pattern=DATED.replace("B[0-9A]{2}", "[A-Z0-9]+"),
        sensor="sentinel-2-l2a",
    )
    (scene,) = folder.of_place(L2A, "rome", *EVER)
    assert list(scene.bands) == ["B02"]
    assert scene.quality.href == "rome/20180101_SCL.tif"
    assert (scene.quality.scale, scene.quality.offset) == (1, 0)


@pytest.mark.parametrize(
    ("form", "name", "day"),
    [
        ("%Y%m%d", "20180301", date(2018, 3, 1)),
        ("%Y-%m-%d", "2018-03-01", date(2018, 3, 1)),
        ("%d%m%y", "010318", date(2018, 3, 1)),
        ("%Y%j", "2018060", date(2018, 3, 1)),
        ("%Y%j", "2020366", date(2020, 12, 31)),
        ("iso", "2018-03-01", date(2018, 3, 1)),
    ],
)
def test_dates_in_other_forms(form, name, day, tmp_path):
    folder = _stacked(tmp_path, f"{name}.tif", bands=["B02"], date_format=form)
    (scene,) = folder.of_place(L2A, "", *EVER)
    assert scene.day == day
    assert scene.time.hour == 12
    assert scene.id == day.isoformat()


@pytest.mark.parametrize(
    ("form", "name"), [("iso", "2018-03-01T10:30:05Z"), ("%Y%m%dT%H%M%S", "20180301T103005")]
)
def test_times_tell_scenes_of_a_day_apart(form, name, tmp_path):
    later = name.replace("10", "22")
    folder = _stacked(tmp_path, f"{name}.tif", f"{later}.tif", bands=["B02"], date_format=form)
    first, second = folder.of_place(L2A, "", *EVER)
    assert (first.id, second.id) == ("2018-03-01T103005", "2018-03-01T223005")
    assert first.time == parse_time("2018-03-01T10:30:05Z")


def test_date_in_another_form_than_said(tmp_path):
    with pytest.raises(ArchiveError, match=r"'20180301' in .* is not a date as %Y-%m-%d"):
        _stacked(tmp_path, "20180301.tif", bands=["B02"], date_format="%Y-%m-%d").places(L2A)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "must have a group"),
        ({"bands": [None]}, "must name each band once"),
        ({"bands": ["B02", "B02"]}, "must name each band once"),
        ({"bands": ["B02"], "date_format": "%H"}, "does not make a day; valid: iso, or"),
        ({"bands": ["B02"], "pattern": r"(?P<date>.*)_(?P<band>.*)"}, "exclude each other"),
    ],
)
def test_settings_that_contradict(settings, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        _stacked(tmp_path, **settings)


def test_bands_that_the_sensor_lacks(tmp_path):
    with pytest.raises(ArchiveError, match=r"sentinel-2-l2a has no band red; it has: B01.*SCL"):
        _stacked(tmp_path, "20180101.tif", bands=["red"]).places(L2A)


def test_two_files_of_one_band_and_date(tmp_path):
    folder = _folder(
        tmp_path,
        *("20180101_a_B02.tif", "20180101_b_B02.tif"),
        pattern=r"(?P<date>\d{8})_[ab]_(?P<band>B\d\d)\.tif",
    )
    with pytest.raises(ArchiveError, match=r"are both B02 of one place and date; .* 'slot'"):
        folder.places(SENSOR)


def test_what_the_file_says_of_its_values(tmp_path):
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 2, "dtype": "int16"}
    place = {"crs": "EPSG:32632", "transform": from_origin(600_000, 5_400_000, 10, 10)}
    with rasterio.open(tmp_path / "20180101.tif", "w", **profile, **place, nodata=-9) as target:
        target.scales, target.offsets = (0.5, 0.25), (1.0, 2.0)
        target.write(np.ones((2, 4, 4), np.int16))
    (scene,) = _stacked(tmp_path, bands=["B02", "B03"], values="file").of_place(L2A, "", *EVER)
    found = {n: (a.scale, a.offset, a.nodata, a.index) for n, a in scene.bands.items()}
    assert found == {"B02": (0.5, 1.0, -9, 1), "B03": (0.25, 2.0, -9, 2)}
    (scene,) = _stacked(tmp_path, bands=["B02", "B03"]).of_place(L2A, "", *EVER)
    assert scene.bands["B02"].scale == L2A.band("B02").scale
    with pytest.raises(ArchiveError, match=r"has 2 bands, and archive.bands names B04 as its band"):
        _stacked(tmp_path, bands=["B02", "B03", "B04"], values="file").places(L2A)
