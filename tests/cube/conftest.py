"""A cube of the small simulated archive, made once."""

import pytest

from earthloom.archive import StaticCatalog
from earthloom.areas import areas_of, scenes_of
from earthloom.cube import build_cube, open_cube, plan_layers
from earthloom.cube.build import failed_scenes
from earthloom.project import load_project
from earthloom.sample import Shape2d


def silent(done, total, detail=""):
    pass


@pytest.fixture(scope="session")
def project(new_project, tmp_path_factory):
    file = new_project(
        tmp_path_factory.mktemp("cube"), dates={"start": "2023-03-10", "end": "2023-08-10"}
    )
    return load_project(file)


@pytest.fixture(scope="session")
def planned(project, tiny_archive):
    archive = StaticCatalog(tiny_archive / "catalog.json")
    (area,) = areas_of(project, archive)
    return area, plan_layers(project, area.box, scenes_of(project, archive, area))


@pytest.fixture(scope="session")
def cube(planned, tiny_archive, tmp_path_factory):
    area, plans = planned
    folder = tmp_path_factory.mktemp("built")
    shape = Shape2d(*area.box.shape)
    assert build_cube(str(tiny_archive), plans, shape, folder, silent) == {}
    assert failed_scenes(folder) == {}
    return open_cube(folder / "cube.zarr", shape)


@pytest.fixture(scope="session")
def tick():
    """Progress that nobody watches."""
    return silent
