"""What lies in an object store is read as what lies on the disk: archives, scenes, cubes."""

import pickle

import numpy as np
import pytest

from earthloom.archive import StaticCatalog
from earthloom.archive.open import open_archive
from earthloom.areas import areas_of, scenes_of
from earthloom.cube import build_cube, open_cube, plan_layers
from earthloom.errors import ArchiveError, DataError, ProjectError, StageError
from earthloom.objects import Held, Objects, is_object_url, read_object
from earthloom.project import load_project
from earthloom.sample import Shape2d, Window
from earthloom.workers import Threads


def _send(folder, url):
    objects = Objects(url)
    for path in folder.rglob("*"):
        if path.is_file():
            objects.put(path.relative_to(folder).as_posix(), path)
    return objects


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("s3://bucket/a", True),
        ("gs://bucket/a", True),
        ("az://container/a", True),
        ("https://example.org/a", False),
        ("/folder/a", False),
        ("s3:/bucket", False),
    ],
)
def test_addresses(text, known):
    assert is_object_url(text) is known


@pytest.mark.parametrize("text", ["s3://", "ftp://server/a", "folder"])
def test_what_is_no_address_is_named(text):
    with pytest.raises(ProjectError, match="s3, gs, az"):
        Objects(text)


def test_objects_are_written_read_listed_and_removed(s3, tmp_path):
    objects = pickle.loads(pickle.dumps(Objects(f"{s3}/folder")))
    assert objects.listing() == {}
    assert objects.read("a") is None
    tag = objects.put("deep/a b+ü.txt", b"one")
    large = tmp_path / "large"
    large.write_bytes(np.random.default_rng(0).bytes(20 * 2**20))
    objects.put("large", large)
    assert objects.read("large") == large.read_bytes()
    assert objects.listing()["deep/a b+ü.txt"] == Held(3, tag)
    assert objects.put("deep/a b+ü.txt", b"two") != tag
    assert read_object(f"{s3}/folder/deep/a b+ü.txt") == b"two"
    objects.remove(["large", "never there"])
    assert set(objects.listing()) == {"deep/a b+ü.txt"}


def test_what_is_not_there_or_refuses_is_one_line(s3, monkeypatch):
    with pytest.raises(DataError, match=r"s3://earth/none does not exist"):
        read_object(f"{s3}/none")
    with pytest.raises(StageError, match=r"s3://nobody.*AWS_ACCESS_KEY_ID") as caught:
        Objects("s3://nobody/a").put("b", b"")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr("earthloom.objects._RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StageError, match="AWS_ENDPOINT_URL") as caught:
        Objects(f"{s3}/a").listing()
    assert "\n" not in str(caught.value)


@pytest.fixture
def remote(s3, tiny_archive, new_project, tmp_path):
    """A project whose archive lies in the store, and the same with it on the disk."""
    _send(tiny_archive, f"{s3}/archive")
    dates = {"start": "2023-07-01", "end": "2023-07-31"}
    here = new_project(tmp_path / "here", dates=dates)
    settings = {"kind": "catalog", "path": f"{s3}/archive/catalog.json"}
    there = new_project(tmp_path / "there", archive=None, dates=dates)
    text = there.read_text().replace(str(tiny_archive / "catalog.json"), settings["path"])
    there.write_text(text)
    assert settings["path"] in text
    return load_project(here), load_project(there)


def _made(project, root, folder, silent):
    archive = open_archive(project, silent)
    (area,) = areas_of(project, archive)
    plans = plan_layers(project, area.box, scenes_of(project, archive, area))
    shape = Shape2d(*area.box.shape)
    assert build_cube(str(root), plans, shape, folder, silent, Threads(2)) == {}
    return open_cube(folder / "cube.zarr", shape)


def test_an_archive_in_a_store_makes_the_same_cube(remote, tiny_archive, s3, tmp_path, silent):
    here, there = remote
    cubes = [
        _made(here, tiny_archive, tmp_path / "a", silent),
        _made(there, "/nowhere", tmp_path / "b", silent),
    ]
    files = [
        {p.relative_to(cube.path): p.read_bytes() for p in cube.path.rglob("*") if p.is_file()}
        for cube in cubes
    ]
    assert files[0] == files[1]


def test_a_cube_in_a_store_is_read_as_one_on_the_disk(remote, tiny_archive, s3, tmp_path, silent):
    here, _ = remote
    cube = _made(here, tiny_archive, tmp_path / "a", silent)
    _send(cube.path, f"{s3}/cubes/tiny/cube.zarr")
    far = pickle.loads(pickle.dumps(open_cube(f"{s3}/cubes/tiny/cube.zarr", cube.shape)))
    window = Window(10, 20, Shape2d(64, 48))
    for key, layer in cube.window(window).items():
        np.testing.assert_array_equal(far.window(window)[key].pixels, layer.pixels)
        np.testing.assert_array_equal(far.counts(key), cube.counts(key))
    tree = far.tree()
    for key in cube.specs:
        np.testing.assert_array_equal(tree[key].pixels.values, cube.tree()[key].pixels.values)
    with pytest.raises(DataError, match="is not a cube"):
        open_cube(f"{s3}/cubes/none/cube.zarr", cube.shape)


def test_a_catalog_that_lacks_a_file_is_named(s3, new_project, tmp_path, silent):
    file = new_project(tmp_path)
    project = load_project(file, archive={"kind": "catalog", "path": f"{s3}/catalog.json"})
    archive = open_archive(project, silent)
    assert isinstance(archive, StaticCatalog)
    (area,) = areas_of(project, archive)
    with pytest.raises(ArchiveError, match=r"s3://earth/catalog\.json does not exist"):
        scenes_of(project, archive, area)
