"""The page in a real browser: it draws the map and answers a click."""

import io
import os
import shutil
import threading
from collections.abc import Iterator

import matplotlib.image
import numpy as np
import pytest
import uvicorn

from earthloom.project import Project
from earthloom.serve import make_app, maps_of
from earthloom.serve.server import _listening

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine; set CHROMIUM to its path"
)
# WebGL is drawn by the processor, and without a sandbox, which containers do not allow.
SWITCHES = ["--no-sandbox", "--disable-quic", "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader"]  # fmt: skip


@pytest.fixture(scope="module")
def address(project: Project) -> Iterator[str]:
    listener = _listening(0)
    config = uvicorn.Config(make_app(project, maps_of(project)), log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()


@pytest.mark.timeout(120)
def test_the_map_is_drawn_and_a_click_names_the_class(address: str) -> None:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = browser.new_page(viewport={"width": 900, "height": 600})
        wrong: list[str] = []
        asked: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        with page.expect_response(lambda answer: "/tiles/lake/classes/" in answer.url):
            page.goto(address)
        page.wait_for_selector("#controls:not([hidden])")
        page.wait_for_load_state("networkidle")
        page.wait_for_function("() => map.loaded() && map.areTilesLoaded()")
        drawn = colours_drawn(page)
        assert drawn["water"] > 0.05
        assert drawn["forest"] > 0.05
        area = page.locator("#map").bounding_box()
        middle = area["y"] + area["height"] / 2
        page.mouse.click(area["x"] + area["width"] * 0.6, middle)
        page.wait_for_selector("#pixel .class:has-text('forest & <heath>')")
        with page.expect_response(lambda answer: "/tiles/lake/confidence/" in answer.url):
            page.select_option("#layer", "confidence")
        assert page.locator("#ramp").is_visible()
        assert page.locator("#report").get_attribute("href") == "/report.html"
        browser.close()
    assert wrong == []
    elsewhere = [url for url in asked if not url.startswith((address, "blob:", "data:"))]
    assert elsewhere == []


def colours_drawn(page: "sync_api.Page") -> dict[str, float]:
    """Shares of the map's canvas that have the colours of the classes."""
    shot = matplotlib.image.imread(io.BytesIO(page.locator("#map").screenshot()), format="png")
    pixels = np.rint(shot[..., :3] * 255).astype(int)
    wanted = {"water": (47, 116, 181), "forest": (79, 157, 63)}
    return {
        name: float((np.abs(pixels - colour).max(axis=-1) <= 3).mean())
        for name, colour in wanted.items()
    }
