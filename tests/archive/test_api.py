"""Searching a STAC API: a real server with the simulated archive, and servers that misbehave."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.affinity import translate

from earthloom.archive import StaticCatalog
from earthloom.archive.api import StacApi, open_api
from earthloom.archive.holdings import holdings
from earthloom.archive.http import Http, Manners
from earthloom.archive.listing import on_earth
from earthloom.archive.open import archive_signer, open_archive
from earthloom.archive.sign import Unsigned
from earthloom.cube.read import Reader, native_box
from earthloom.errors import ArchiveError
from earthloom.project import ApiArchive, load_project
from earthloom.sensors import load_sensor

OPTICAL, RADAR = load_sensor("sentinel-2-l2a"), load_sensor("sentinel-1-rtc")
HEIGHT = load_sensor("cop-dem-glo-30")
HERE = shapely.Point(11.2, 48.9)
YEAR = (date(2023, 1, 1), date(2023, 12, 31))
EVERYWHERE = shapely.box(-180, -90, 180, 90)


def api(url, **changes):
    """An API that is asked without waits."""
    chosen = ApiArchive(kind="api", url=url, **changes)
    manners = Manners(requests_per_second=1e6, retries=chosen.retries, timeout_s=20)
    return StacApi(chosen, Http(manners, sleep=lambda _: None))


def without_files(scenes):
    """Scenes without where their files are, which differs between archives."""
    return [
        replace(
            scene,
            bands={
                name: replace(asset, href=asset.href.rpartition("/")[2], size=None)
                for name, asset in scene.bands.items()
            },
            quality=scene.quality
            and replace(scene.quality, href=scene.quality.href.rpartition("/")[2], size=None),
        )
        for scene in scenes
    ]


@pytest.fixture(scope="module")
def catalog(tiny_archive):
    return StaticCatalog(tiny_archive / "catalog.json")


@pytest.mark.parametrize("page_size", [1, 5, 100])
@pytest.mark.parametrize("sensor", [OPTICAL, RADAR, HEIGHT], ids=lambda s: s.name)
def test_an_api_gives_the_scenes_of_the_catalog(sensor, page_size, stac_api, catalog):
    found = api(stac_api, page_size=page_size).search(sensor, *YEAR, HERE)
    expected = catalog.search(sensor, *YEAR, HERE)
    assert found
    assert without_files(found) == without_files(expected)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    days=st.tuples(st.integers(0, 364), st.integers(0, 364)),
    west=st.floats(11.15, 11.25),
    south=st.floats(48.87, 48.93),
    width=st.floats(0.001, 0.05),
    corner=st.booleans(),
)
def test_any_search_is_that_of_the_catalog(days, west, south, width, corner, stac_api, catalog):
    """Whatever the period and the outline, be it a box or not, the server narrows rightly."""
    start, end = (date.fromordinal(YEAR[0].toordinal() + day) for day in sorted(days))
    outline = shapely.box(west, south, west + width, south + width)
    if corner:
        outline = outline.difference(shapely.box(west, south, west + width / 2, south + width / 2))
    found = api(stac_api).search(OPTICAL, start, end, outline)
    assert without_files(found) == without_files(catalog.search(OPTICAL, start, end, outline))


def test_files_have_their_addresses(stac_api, file_server):
    scene, *_ = api(stac_api).search(OPTICAL, *YEAR, HERE)
    assert all(asset.href.startswith(file_server.url) for asset in scene.bands.values())
    assert scene.quality.href.endswith("SCL.tif")


def test_collection_by_another_name(stac_api):
    named = api(stac_api, collections={"sentinel-2-l1c": "sentinel-2-l2a"})
    found = named.search(load_sensor("sentinel-2-l1c"), *YEAR, HERE)
    assert {scene.sensor for scene in found} == {"sentinel-2-l1c"}


def test_unknown_collection_is_named_with_those_there(stac_api):
    words = "no collection nope for sentinel-2-l2a; .*: cop-dem-glo-30, sentinel-1-rtc, sentinel-2"
    with pytest.raises(ArchiveError, match=words):
        api(stac_api, collections={"sentinel-2-l2a": "nope"}).search(OPTICAL, *YEAR, HERE)
    with pytest.raises(ArchiveError, match="has no collection sentinel-2-l1c"):
        api(stac_api).search(load_sensor("sentinel-2-l1c"), *YEAR, HERE)


def test_what_there_is_without_listing_it(stac_api, catalog):
    held = holdings(api(stac_api), OPTICAL)
    assert held.startswith("the collection sentinel-2-l2a, from 2023-01-")
    assert "within (11.1" in held
    assert holdings(catalog, OPTICAL).startswith("12 scenes from 2023-01-")


def test_outline_of_many_corners(stac_api):
    circle = HERE.buffer(0.01, quad_segs=2000)
    assert len(api(stac_api).search(OPTICAL, *YEAR, circle)) == 12


def test_a_project_with_an_api(new_project, tmp_path, stac_api):
    project = load_project(new_project(tmp_path), archive={"kind": "api", "url": stac_api})
    archive = open_archive(project, lambda *_: None)
    assert isinstance(archive, StacApi)
    assert len(archive.search(OPTICAL, *YEAR, HERE)) == 12
    assert archive_signer(project) == Unsigned()


# -- servers that misbehave ----------------------------------------------------------------------

ITEM = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "id": "one",
    "geometry": {"type": "Point", "coordinates": [11.2, 48.9]},
    "bbox": [11.2, 48.9, 11.2, 48.9],
    "properties": {"datetime": "2023-06-01T10:00:00Z"},
    "collection": "sentinel-2-l2a",
    "links": [],
    "assets": {"B04": {"href": "https://example.org/B04.tif"}},
}


@pytest.fixture
def small(scripted, answer):
    """An API whose pages of /search a test sets."""
    root = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "small",
        "description": "",
        "conformsTo": ["https://api.stacspec.org/v1.0.0/collections"],
        "links": [
            {
                "rel": "search",
                "href": f"{scripted.url}/search",
                "type": "application/geo+json",
                "method": "POST",
            },
            {"rel": "data", "href": f"{scripted.url}/collections"},
        ],
    }
    collection = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": "sentinel-2-l2a",
        "description": "",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-06-27T00:00:00Z", None]]},
        },
        "links": [],
    }
    scripted.by_path["/"] = answer(200, root)
    scripted.by_path["/collections"] = answer(200, {"collections": [collection], "links": []})
    return scripted


def page(*ids, following=None):
    features = [{**ITEM, "id": name} for name in ids]
    links = [{"rel": "next", **following}] if following else []
    return {"type": "FeatureCollection", "features": features, "links": links}


def search(server, **changes):
    found = api(f"{server.url}/", **changes).search(OPTICAL, *YEAR, HERE)
    return [scene.id for scene in found]


def test_pages_in_any_order_give_one_list(small, answer):
    following = {"href": f"{small.url}/more", "method": "POST", "body": {"token": "2"}}
    small.answers = [answer(200, page("c", "a", following=following)), answer(200, page("b", "a"))]
    assert search(small) == ["a", "b", "c"]


def test_an_empty_page_is_not_the_last(small, answer):
    following = {"href": f"{small.url}/more?token=2"}
    small.answers = [answer(200, page(following=following)), answer(200, page("a"))]
    assert search(small) == ["a"]
    assert small.seen[-1][0] == "GET"


def test_pages_without_end(small, answer):
    following = {"href": f"{small.url}/search?token=same"}
    small.answers = [answer(200, page("a", following=following))]
    with pytest.raises(ArchiveError, match="pages without end"):
        search(small)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"message": "sorry"}, "a page that is none: it lacks a list of 'features'.*: .*message"),
        ({"features": ["a"]}, "a page that is none"),
        ({"features": None}, "a page that is none"),
        (b"<html>", "does not answer in JSON"),
        ({"features": [{"id": "x"}]}, "the item 'x' is not STAC"),
    ],
)
def test_bad_pages(content, words, small, answer):
    small.answers = [answer(200, content)]
    with pytest.raises(ArchiveError, match=words):
        search(small)


def test_a_page_that_comes_at_the_third_try(small, answer):
    small.answers = [answer(503), answer(429), answer(200, page("a"))]
    assert search(small) == ["a"]


def test_a_page_that_never_comes(small, answer):
    small.answers = [answer(502)]
    with pytest.raises(ArchiveError, match="HTTP 502 Bad Gateway after 3 tries"):
        search(small, retries=2)


def test_a_server_that_takes_no_post(small, answer):
    link = small.by_path["/"].content["links"][0]
    link["method"] = "GET"
    small.answers = [answer(200, page("a"))]
    assert search(small) == ["a"]
    method, path, _ = small.seen[-1]
    assert method == "GET"
    assert "collections=sentinel-2-l2a" in path
    assert "datetime=2022-12-31T00" in path


def test_a_static_catalog_is_no_api(scripted, answer):
    root = {"type": "Catalog", "stac_version": "1.0.0", "id": "x", "description": "", "links": []}
    scripted.answers = [answer(200, root)]
    with pytest.raises(ArchiveError, match=r"is STAC, but has no search; .*'kind: catalog'"):
        search(scripted)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"hello": "world"}, "is not the landing page of a STAC API"),
        (ITEM, "is not the landing page of a STAC API"),
        (b"Welcome", "does not answer in JSON; it begins with: 'Welcome'"),
    ],
)
def test_addresses_of_something_else(content, words, scripted, answer):
    scripted.answers = [answer(200, content)]
    with pytest.raises(ArchiveError, match=words):
        search(scripted)


def test_server_that_wants_a_key(small, answer, monkeypatch):
    small.by_path["/"] = answer(401)
    with pytest.raises(ArchiveError, match=r"HTTP 401 Unauthorized; give the key .* archive\.sign"):
        search(small)


def test_the_key_goes_with_each_request(small, answer, monkeypatch):
    monkeypatch.setenv("OUR_KEY", "hush")
    small.answers = [answer(200, page("a"))]
    sign = {"kind": "header", "variable": "OUR_KEY"}
    chosen = ApiArchive(
        kind="api", url=f"{small.url}/", sign=sign, requests_per_second=1e6, retries=0
    )
    assert len(open_api(chosen).search(OPTICAL, *YEAR, HERE)) == 1
    assert {headers.get("Authorization") for _, _, headers in small.seen} == {"Bearer hush"}


# -- outlines ------------------------------------------------------------------------------------


@given(st.floats(-180, 170), st.floats(-80, 70), st.floats(0.5, 9), st.sampled_from([-360, 0, 360]))
def test_an_outline_is_the_same_place_on_any_turn(west, south, size, turn):
    box = shapely.box(west, south, west + size, south + size)
    brought = on_earth(translate(box, xoff=turn))
    assert brought.symmetric_difference(box).area < 1e-6
    assert -180 <= brought.bounds[0] <= brought.bounds[2] <= 180


def test_an_outline_over_the_date_line_is_cut_there():
    brought = on_earth(shapely.box(178, -20, 183, -15))
    expected = shapely.union_all(
        [shapely.box(178, -20, 180, -15), shapely.box(-180, -20, -177, -15)]
    )
    assert brought.equals(expected)


# -- pixels --------------------------------------------------------------------------------------


def test_pixels_of_an_api_are_those_of_the_catalog(stac_api, catalog, tiny_archive):
    """Byte for byte, whether files come over HTTP or from disk."""
    period = (date(2023, 6, 1), date(2023, 7, 31))
    here = catalog.search(OPTICAL, *period, HERE)
    there = api(stac_api).search(OPTICAL, *period, HERE)
    assert [scene.id for scene in here] == [scene.id for scene in there]
    near, far = Reader(str(tiny_archive)), Reader("")
    for ours, theirs in zip(here, there):
        for band in ("B04", "B11"):
            box = native_box(str(tiny_archive), ours.bands[band])
            local = near.physical(ours.bands[band], box)
            remote = far.physical(theirs.bands[band], box)
            assert local.tobytes() == remote.tobytes()
            assert np.isfinite(local).any()
