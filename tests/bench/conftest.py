"""The fakes, under their names; the modules beside the tests can be imported by name."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bench_fakes import Centroids, make_choosy, make_flat

from earthloom.bench import registry


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = {"flat": make_flat, "choosy": make_choosy}
    adaptations = {
        "centroids": Centroids,
        "soft": lambda: Centroids(0.01, name="soft"),
        "broken": lambda: Centroids(broken=True, name="broken"),
    }
    monkeypatch.setattr(registry, "encoders", lambda: encoders)
    monkeypatch.setattr(registry, "adaptations", lambda: adaptations)
