"""Scenes of a folder of files, told by a pattern over their paths."""

from datetime import date
from pathlib import Path

import pytest
import shapely

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
