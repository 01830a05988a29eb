"""Files that are cut off, not there or not what their checksum says: masked, counted, named."""

import pytest

from earthloom.archive import StaticCatalog
from earthloom.archive.simulated import Faults, SimulationSpec, simulate
from earthloom.archive.simulated_index import read_faults
from earthloom.areas import areas_of, scenes_of
from earthloom.cube import build_cube, open_cube, plan_layers
from earthloom.project import load_project
from earthloom.sample import Shape2d


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """An archive with three kinds of damage."""
    faults = Faults(truncated=2, missing=1, checksums=True, wrong_checksums=1)
    spec = SimulationSpec(seed=5, size_m=1280, sentinel2_items=12, sentinel1_items=0, faults=faults)
    return simulate(tmp_path_factory.mktemp("broken") / "archive", spec, workers=1).parent


def test_each_damage_is_named_and_the_rest_is_there(broken, new_project, tmp_path, tick):
    bands = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
    project = load_project(
        new_project(
            tmp_path,
            broken,
            dates={"start": "2023-01-01", "end": "2023-12-31"},
            sensors=[{"name": "sentinel-2-l2a", "bands": bands, "every": "date"}],
        )
    )
    catalog = StaticCatalog(broken / "catalog.json")
    (area,) = areas_of(project, catalog)
    scenes = scenes_of(project, catalog, area)
    plans = plan_layers(project, area.box, scenes)
    shape = Shape2d(*area.box.shape)
    failed = build_cube(str(broken), plans, shape, tmp_path / "cube", tick)
    damaged = {
        item: fault
        for item, fault in read_faults(broken).items.items()
        if fault.truncated or fault.missing or fault.wrong_checksum
    }
    assert len(damaged) >= 3
    # A file that is cut off behind the blocks of the area may still be read.
    assert set(failed) <= set(damaged)
    for item, fault in damaged.items():
        if fault.missing:
            assert fault.missing in failed[item]
        if fault.wrong_checksum:
            assert fault.wrong_checksum in failed[item]
            assert "checksum" in failed[item]
        if fault.truncated:
            assert item in failed
    assert all(str(broken) not in reason for reason in failed.values())
    cube = open_cube(tmp_path / "cube" / "cube.zarr", shape)
    for plan in plans:
        for step, count in zip(plan.steps, cube.counts(plan.spec.key), strict=True):
            ids = [scene.id for scene in step.scenes]
            faults = [damaged[each] for each in ids if each in damaged]
            lost = {f.missing or f.truncated or f.wrong_checksum for f in faults}
            if len(faults) == len(ids) and lost & {*plan.spec.bands, "SCL"}:
                assert not count.any()
    assert cube.counts(plans[0].spec.key).any()
