"""The web application: the page, its tiles, and the class of a pixel."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware

from earthloom.errors import DataError, choices
from earthloom.project import Project, SeriesArchive, SimulatedArchive
from earthloom.serve.maps import CLASSES, RAMP, ServedMap

STATIC = Path(__file__).parent / "static"
REPORT = Path("assess") / "report.html"

# The page has no inline script or style, and nothing may come from elsewhere.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_HOSTS = ["127.0.0.1", "localhost"]
"""Under which names the page answers: another site cannot have a browser ask in its own name."""


def make_app(project: Project, maps: Mapping[str, ServedMap]) -> FastAPI:
    """The application that shows a project's maps."""
    app = FastAPI(title="Earthloom", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)
    app.middleware("http")(_with_policy)
    report = project.out_folder / REPORT
    _add_maps(app, project, maps, report)
    _add_pixels(app, maps)

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/report.html")
    def report_page() -> FileResponse:
        if not report.exists():
            raise HTTPException(404, "there is no report yet; run 'earthloom assess'")
        return FileResponse(report, headers={"Content-Security-Policy": _REPORT_POLICY})

    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def _add_maps(app: FastAPI, project: Project, maps: Mapping[str, ServedMap], report: Path) -> None:
    """What the page shows: areas, classes and layers."""

    @app.get("/maps.json")
    def listed() -> dict[str, Any]:
        return {
            "project": project.name,
            "attribution": _attribution(project),
            "report": "/report.html" if report.exists() else None,
            "classes": [
                {"code": each.code, "name": each.name, "colour": each.colour}
                for each in project.classes
            ],
            "layers": next(iter(maps.values())).layers,
            "first_layer": CLASSES,
            "ramp": [f"rgb{RAMP[step][:3]}" for step in range(0, 256, 15)],
            "areas": [_described(each) for each in maps.values()],
        }


def _add_pixels(app: FastAPI, maps: Mapping[str, ServedMap]) -> None:
    """Tiles and points. They are plain functions, so each runs in a thread of its own."""

    @app.get("/tiles/{area}/{layer}/{zoom}/{x}/{y}.png")
    def tile(area: str, layer: str, zoom: int, x: int, y: int) -> Response:
        served = _chosen(maps, area)
        if not (0 <= zoom <= 30 and 0 <= x < 2**zoom and 0 <= y < 2**zoom):
            raise HTTPException(404, f"there is no tile {zoom}/{x}/{y}")
        try:
            content = served.tile(layer, zoom, x, y)
        except DataError as error:
            raise HTTPException(404, str(error)) from error
        # The page asks with the map's version, so what it holds cannot grow stale.
        return Response(content, media_type="image/png", headers={"Cache-Control": "max-age=86400"})

    @app.get("/point/{area}")
    def point(
        area: str,
        lon: Annotated[float, Query(ge=-180, le=180)],
        lat: Annotated[float, Query(ge=-90, le=90)],
    ) -> JSONResponse:
        return JSONResponse({"lon": lon, "lat": lat} | _chosen(maps, area).point(lon, lat))


async def _with_policy(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _chosen(maps: Mapping[str, ServedMap], area: str) -> ServedMap:
    if area not in maps:
        raise HTTPException(404, f"no map of '{area}'; there are maps of: {choices(maps)}")
    return maps[area]


def _described(served: ServedMap) -> dict[str, Any]:
    least, most = served.zooms
    return {
        "name": served.name,
        "version": served.version,
        "bounds": served.bounds,
        "outline": served.outline,
        "minzoom": least,
        "maxzoom": most,
    }


def _attribution(project: Project) -> str:
    """Whose observations the maps are made of."""
    if isinstance(project.archive, SimulatedArchive):
        return "Simulated data: no place on Earth"
    if isinstance(project.archive, SeriesArchive):
        return "Earthloom"
    sensors = ", ".join(project.sensor(choice.name).title for choice in project.sensors)
    return f"Made by Earthloom from: {sensors}"
