"""The served page: tiles, pixels, what it refuses, and how it starts and ends."""

import io
import os
import signal
import socket
import threading
from pathlib import Path

import httpx
import matplotlib.image
import numpy as np
import pytest
from fastapi.testclient import TestClient
from odc.geo.geobox import GeoBox

from earthloom.errors import DataError, EarthloomError
from earthloom.project import Project, load_project
from earthloom.serve import make_app, maps_of, serve_maps
from earthloom.serve.app import STATIC
from earthloom.serve.maps import RAMP

WATER, FOREST = (47, 116, 181), (79, 157, 63)


@pytest.fixture(scope="module")
def client(project: Project) -> TestClient:
    return TestClient(make_app(project, maps_of(project)), base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def listed(client: TestClient) -> dict:
    return client.get("/maps.json").json()


def middle_tile(listed: dict) -> tuple[int, int, int]:
    """Zoom, column and row of the tile that holds the map's middle."""
    west, south, east, north = listed["areas"][0]["bounds"]
    zoom = listed["areas"][0]["minzoom"]
    lon, lat = (west + east) / 2, np.radians((south + north) / 2)
    x = (lon + 180) / 360 * 2**zoom
    y = (1 - np.arcsinh(np.tan(lat)) / np.pi) / 2 * 2**zoom
    return zoom, int(x), int(y)


def tile(client: TestClient, listed: dict, layer: str) -> np.ndarray:
    zoom, x, y = middle_tile(listed)
    answer = client.get(f"/tiles/lake/{layer}/{zoom}/{x}/{y}.png")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    image = matplotlib.image.imread(io.BytesIO(answer.content), format="png")
    assert image.shape == (256, 256, 4)
    return np.rint(image * 255).astype(int)


def colours(image: np.ndarray) -> set[tuple[int, ...]]:
    """Colours of a tile's opaque pixels."""
    return {tuple(each) for each in image[image[..., 3] > 0][:, :3].tolist()}


def test_the_page_lists_what_there_is(listed: dict) -> None:
    assert listed["project"] == "lake"
    assert [area["name"] for area in listed["areas"]] == ["lake"]
    assert [each["name"] for each in listed["classes"]] == ["water", "forest & <heath>"]
    assert list(listed["layers"]) == ["classes", "confidence", "class-3", "class-7"]
    assert listed["report"] == "/report.html"
    assert "Sentinel-2" in listed["attribution"]


def test_class_tiles_have_the_class_colours_and_nothing_else(
    client: TestClient, listed: dict
) -> None:
    image = tile(client, listed, "classes")
    assert colours(image) == {WATER, FOREST}
    assert set(np.unique(image[..., 3])) == {0, 255}


def test_probability_tiles_have_the_ramps_colours(client: TestClient, listed: dict) -> None:
    shown = {share: RAMP[round(share * 255)][:3] for share in (0.9, 0.6, 0.4, 0.1)}
    assert colours(tile(client, listed, "confidence")) == {shown[0.9], shown[0.6]}
    assert colours(tile(client, listed, "class-3")) == {shown[0.9], shown[0.4]}
    assert colours(tile(client, listed, "class-7")) == {shown[0.1], shown[0.6]}


def test_a_tile_elsewhere_is_transparent(client: TestClient) -> None:
    answer = client.get("/tiles/lake/classes/10/3/3.png")
    assert answer.status_code == 200
    image = matplotlib.image.imread(io.BytesIO(answer.content), format="png")
    assert image.shape[:2] == (256, 256)
    assert image[..., -1].max() == 0


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/tiles/nowhere/classes/10/3/3.png", "there are maps of: lake"),
        ("/tiles/lake/height/10/3/3.png", "layers are: classes, confidence"),
        ("/tiles/lake/classes/2/9/0.png", "no tile 2/9/0"),
        ("/tiles/..%2f..%2fetc/classes/2/0/0.png", ""),
        ("/point/nowhere?lon=1&lat=1", "there are maps of: lake"),
    ],
)
def test_what_is_not_there_is_said(client: TestClient, path: str, said: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert said in answer.text


def lonlat(x: float, y: float) -> str:
    box = GeoBox.from_bbox((x, y, x + 1, y + 1), crs="EPSG:32632", resolution=1)
    place = box.extent.to_crs(4326).geom.centroid
    return f"lon={place.x}&lat={place.y}"


def test_a_click_names_class_and_probabilities(client: TestClient) -> None:
    found = client.get(f"/point/lake?{lonlat(560_500, 5_000_500)}").json()
    assert found["class"] == "water"
    assert found["code"] == 3
    assert found["probabilities"] == {"water": 0.9, "forest & <heath>": 0.1}


@pytest.mark.parametrize("place", [(560_100, 5_002_900), (570_000, 5_000_000)])
def test_where_the_map_says_nothing_a_click_says_so(
    client: TestClient, place: tuple[float, float]
) -> None:
    found = client.get(f"/point/lake?{lonlat(*place)}").json()
    assert found["class"] is None
    assert found["probabilities"] is None


def test_a_place_off_the_earth_is_refused(client: TestClient) -> None:
    assert client.get("/point/lake?lon=999&lat=0").status_code == 422
    assert client.get("/point/lake?lon=nan&lat=0").status_code == 422


def test_another_host_name_is_refused(project: Project) -> None:
    app = make_app(project, maps_of(project))
    assert TestClient(app, base_url="http://evil.example").get("/maps.json").status_code == 400


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.text
    assert "://" not in page
    assert "<style" not in page
    assert "onclick" not in page
    for name in ("page.js", "page.css", "icon.svg", "maplibre/maplibre-gl-csp.js"):
        assert f"/static/{name}" in page
        assert client.get(f"/static/{name}").status_code == 200
    assert (STATIC / "maplibre" / "LICENSE.txt").read_text(encoding="utf-8").startswith("Copyright")


def test_the_report_is_linked_and_cannot_run_scripts(client: TestClient) -> None:
    answer = client.get("/report.html")
    assert "Map report" in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_without_a_map_the_next_step_is_named(tmp_path: Path, project: Project) -> None:
    (tmp_path / "project.yaml").write_text(project.file.read_text(), encoding="utf-8")
    with pytest.raises(DataError, match="run 'earthloom map' first"):
        serve_maps(load_project(tmp_path / "project.yaml"), 0, print)


def test_a_taken_port_is_named(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EarthloomError, match=rf"port {port} .* is in use .*--port"):
            serve_maps(project, port, print)


@pytest.mark.timeout(60)
def test_it_says_its_address_answers_there_and_ends_on_ctrl_c(project: Project) -> None:
    lines: list[str] = []
    answers: list[str] = []

    def ask_then_stop() -> None:
        try:
            answers.append(httpx.get(lines[0] + "maps.json", timeout=30).json()["project"])
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    asker = threading.Thread(target=ask_then_stop)

    def ready(line: str) -> None:
        lines.append(line)
        asker.start()

    serve_maps(project, 0, ready)
    asker.join()
    assert lines[0].startswith("http://127.0.0.1:")
    assert answers == ["lake"]
