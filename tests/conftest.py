"""A small simulated archive, made once, and small projects on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

from earthloom.archive.simulated import SimulationSpec, simulate
from earthloom.world import CLASSES

# Tests do not assert on time, and a run of them is the same as the one before. To look for other
# examples: pytest --hypothesis-profile=default.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.load_profile("same")

SHARED = Path(__file__).parents[2] / "shared" / "data"
"""Real data beside the checkout, where it is present."""

SPEC = SimulationSpec(seed=3, size_m=1280, sentinel2_items=12, sentinel1_items=12)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason="needs ../shared/data beside the checkout"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that ask for it are marked `shared`."""
    return SHARED


@pytest.fixture(scope="session")
def tiny_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a simulated archive. Copy it before you damage it."""
    return simulate(tmp_path_factory.mktemp("tiny") / "archive", SPEC, workers=1).parent


def _settings(archive: Path) -> dict[str, Any]:
    return {
        "name": "tiny",
        "seed": 3,
        "archive": {"kind": "catalog", "path": str(archive / "catalog.json")},
        "area": str(archive / "area.geojson"),
        "dates": {"start": "2023-07-01", "end": "2023-08-31"},
        "sensors": [
            {"name": "sentinel-2-l2a", "bands": ["B04", "B08", "B11"]},
            {"name": "sentinel-1-rtc"},
            {"name": "cop-dem-glo-30"},
        ],
        "classes": [{"code": c.code, "name": c.name, "colour": c.colour} for c in CLASSES],
        "labels": {"path": str(archive / "labels.gpkg")},
        "chips": {"size": 32},
        "model": {"name": "ridge", "radius": 0, "random_features": 32},
        "map": {"window": 64},
        "assess": {
            "method": "sample",
            "reference": str(archive / "truth" / "class.tif"),
            "truth": str(archive / "truth" / "class.tif"),
            "points": 200,
            "min_per_class": 5,
            "apart_m": 20,
        },
    }


@pytest.fixture(scope="session")
def new_project(tiny_archive: Path) -> Callable[..., Path]:
    """Writes a small project into a folder and returns its file; `changes` replace whole keys,
    and a change to None leaves the key out."""

    def write(folder: Path, archive: Path | None = None, **changes: Any) -> Path:
        settings = _settings(archive or tiny_archive) | changes
        kept = {key: value for key, value in settings.items() if value is not None}
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "project.yaml"
        file.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
        return file

    return write
