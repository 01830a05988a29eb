"""Stages in a store are whole or have no manifest, and nothing is sent twice."""

import json
import shutil

import pytest

from earthloom.errors import ProjectError, StageError
from earthloom.objects import Objects
from earthloom.publish import DEFAULT, RECORD, publish
from earthloom.stages import run_stage


def _write(files):
    def build(folder):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    return build


@pytest.fixture
def out(tmp_path):
    """The results of a small project."""
    out = tmp_path / "out"
    run_stage(out, "map/north", {"n": 1}, _write({"map.tif": "north", "deep/item.json": "{}"}))
    run_stage(out, "map/south", {"n": 1}, _write({"map.tif": "south"}))
    run_stage(out, "assess", {"n": 1}, _write({"report.html": "<p>"}))
    run_stage(out, "cube/north", {"n": 1}, _write({"cube.zarr/a": "1", "cube.zarr/b": "2"}))
    (out / "map" / "west.partial").mkdir()
    (out / "map" / "west.partial" / "manifest.json").write_text("{}")
    return out


def _texts(url):
    objects = Objects(url)
    return {key: objects.read(key).decode() for key in objects.listing() if key != RECORD}


def _expected(out, *stages):
    return {
        path.relative_to(out).as_posix(): path.read_text()
        for stage in stages
        for path in (out / stage).rglob("*")
        if path.is_file() and ".partial" not in path.as_posix()
    }


def test_finished_stages_are_sent_once(out, s3, silent):
    url = f"{s3}/project"
    first = publish(out, url, silent)
    assert first.stages == ("map/north", "map/south", "assess")
    assert (first.sent, first.kept, first.removed) == (7, 0, 0)
    assert _texts(url) == _expected(out, "map", "assess")
    again = publish(out, url, silent)
    assert (again.sent, again.kept, again.bytes_sent) == (0, 4, 0)


def test_only_what_changed_is_sent_and_what_is_gone_is_removed(out, s3, silent):
    url = f"{s3}/project"
    publish(out, url, silent, ["cube", "map"])
    other = {"cube.zarr/a": "1", "cube.zarr/c": "3"}
    run_stage(out, "cube/north", {"n": 2}, _write(other))
    done = publish(out, url, silent, ["cube", "map"])
    assert (done.sent, done.kept, done.removed) == (2, 4, 1)
    assert _texts(url) == _expected(out, "cube", "map")


def test_what_others_changed_in_the_store_is_sent_again(out, s3, silent):
    url = f"{s3}/project"
    publish(out, url, silent)
    objects = Objects(url)
    objects.put("map/south/map.tif", b"SOUTH")
    objects.put("map/south/note.txt", b"mine")
    objects.remove(["assess/report.html"])
    done = publish(out, url, silent)
    assert done.sent == 4
    texts = _texts(url)
    assert texts.pop("map/south/note.txt") == "mine"
    assert texts == _expected(out, "map", "assess")


@pytest.mark.parametrize("at", range(1, 8))
def test_broken_off_anywhere_it_has_no_manifest_and_goes_on(at, out, s3, silent, monkeypatch):
    """A manifest in the store says that all of its stage is there."""
    url = f"{s3}/project"
    put, calls = Objects.put, []

    def breaks(self, key, content):
        if key != RECORD:
            calls.append(key)
            if len(calls) == at:
                raise StageError("the net is gone")
        return put(self, key, content)

    with monkeypatch.context() as broken:
        broken.setattr(Objects, "put", breaks)
        with pytest.raises(StageError):
            publish(out, url, silent, at_once=1)
    texts = _texts(url)
    for key in [key for key in texts if key.endswith("manifest.json")]:
        for name in json.loads(texts[key])["outputs"]:
            assert key.replace("manifest.json", name) in texts
    done = publish(out, url, silent)
    assert _texts(url) == _expected(out, "map", "assess")
    assert done.sent == 7 - (at - 1)


def test_a_file_that_is_not_what_its_manifest_says_is_not_sent(out, s3, silent):
    (out / "map" / "south" / "map.tif").write_text("South")
    with pytest.raises(StageError, match=r"south/map\.tif is not what its manifest says"):
        publish(out, f"{s3}/project", silent)
    (out / "map" / "south" / "map.tif").unlink()
    with pytest.raises(StageError, match=r"south/map\.tif is not whole"):
        publish(out, f"{s3}/project", silent)


def test_what_is_not_finished_is_named(out, s3, silent):
    shutil.rmtree(out / "assess")
    with pytest.raises(ProjectError, match=r"no finished 'assess' to publish; it has: cube, map"):
        publish(out, f"{s3}/project", silent, DEFAULT)
    with pytest.raises(ProjectError, match="s3, gs, az"):
        publish(out, "results", silent, ["map"])
