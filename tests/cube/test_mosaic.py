"""Scenes of one pass to one observation, and images to one image."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earthloom.archive import Asset, Scene
from earthloom.archive.scene import solar_day
from earthloom.cube.mosaic import acquisitions, chosen_image, mosaic

NOON = datetime(2023, 7, 2, 10, 10, tzinfo=UTC)


def scene(tile="32UPV", minutes=0.0, version="05.09", bounds=(11.0, 48.0, 12.0, 49.0), **changes):
    time = NOON + timedelta(minutes=minutes)
    name = f"{tile}_{minutes:g}_{version}"
    plain = Scene(
        id=name,
        sensor="sentinel-2-l2a",
        time=time,
        day=solar_day(time, 11.5),
        bounds=bounds,
        place="",
        cloud_cover=None,
        bands={"B04": Asset(f"{name}/B04.tif", None)},
        quality=None,
        tile=tile,
        version=version,
        platform="sentinel-2a",
    )
    return replace(plain, **changes)


@st.composite
def scenes(draw):
    """Passes of two platforms on some days, each of some tiles, some of them processed twice."""
    found = {}
    for _ in range(draw(st.integers(1, 12))):
        tile = draw(st.sampled_from(["32UPU", "32UPV", "33UUP", ""]))
        minutes = draw(st.sampled_from([0, 0.2, 5, 20, 100, 200, 1440, 1445]))
        version = draw(st.sampled_from(["", "02.14", "05.09", "05.10"]))
        west = draw(st.sampled_from([11.0, 11.02, 11.6, 179.5]))
        bounds = draw(st.sampled_from([None, (west, 48.0, (west + 181) % 360 - 180, 49.0)]))
        platform = draw(st.sampled_from([None, "sentinel-2a", "sentinel-2b"]))
        one = scene(tile, minutes, version, bounds, platform=platform)
        name = f"{one.id}_{platform}_{bounds}"
        found[name] = replace(one, id=name)
    return list(found.values())


middles = st.sampled_from([None, (11.4, 48.3), (-179.9, 48.3)])


@settings(deadline=None, max_examples=200)
@given(scenes(), middles, st.sampled_from(["", "32", "33"]), st.randoms(use_true_random=False))
def test_the_order_of_scenes_does_not_matter(listed, middle, zone, rng):
    shuffled = listed.copy()
    rng.shuffle(shuffled)
    assert acquisitions(shuffled, middle, zone) == acquisitions(listed, middle, zone)


@settings(deadline=None, max_examples=200)
@given(scenes(), middles)
def test_every_scene_is_in_one_acquisition(listed, middle):
    found = acquisitions(listed, middle)
    members = [s.id for each in found for s in each.scenes + each.superseded]
    assert sorted(members) == sorted(s.id for s in listed)
    for each in found:
        assert each.scenes
        assert {(s.sensor, s.day) for s in each.scenes} == {(each.sensor, each.day)}
        assert len({s.platform for s in each.scenes + each.superseded}) == 1
        assert each.time == min(s.time for s in each.scenes)
    assert [each.time for each in found] == sorted(each.time for each in found)


@settings(deadline=None, max_examples=200)
@given(scenes(), middles)
def test_what_is_kept_stays_as_it_is(listed, middle):
    """Without the superseded ones the same acquisitions come out."""
    found = acquisitions(listed, middle)
    kept = [s for each in found for s in each.scenes]
    again = acquisitions(kept, middle)
    assert [s.id for each in again for s in each.scenes] == [s.id for s in kept]
    assert not any(each.superseded for each in again)


@settings(deadline=None, max_examples=100)
@given(scenes())
def test_the_newest_processing_is_never_superseded(listed):
    for each in acquisitions(listed):
        for old in each.superseded:
            assert any(new.version > old.version and new.tile == old.tile for new in each.scenes)


def _ids(listed):
    return {each.id for each in listed}


def test_tiles_of_one_pass_are_one_look():
    north, south = scene("32UPV", 0), scene("32UPU", 0.3, bounds=(11.0, 47.0, 12.0, 48.1))
    (look,) = acquisitions([north, south])
    assert look.scenes == (south, north)
    assert (look.time, look.superseded) == (NOON, ())


@pytest.mark.parametrize(
    "changes",
    [{"platform": "sentinel-2b"}, {"place": "elsewhere"}, {"sensor": "landsat-oli-c2-l2"}],
)
def test_other_platforms_places_and_sensors_are_looks_of_their_own(changes):
    assert len(acquisitions([scene(), scene("32UPU", 1, **changes)])) == 2


def test_the_next_orbit_and_the_next_day_are_looks_of_their_own():
    looks = acquisitions([scene(), scene(minutes=100), scene(minutes=1440)])
    assert [len(look.scenes) for look in looks] == [1, 1, 1]


def test_a_pass_over_the_date_line_is_one_look():
    west = scene("60KWF", 0, bounds=(178.0, -18.0, 179.5, -17.0))
    east = replace(scene("01KAB", 0.1, bounds=(179.4, -18.0, -179.0, -17.0)), day=west.day)
    assert len(acquisitions([west, east])) == 1


def test_the_newest_reprocessing_counts_and_the_others_are_listed():
    old, new, older = scene(version="02.14"), scene(minutes=0.1, version="05.10"), scene(version="")
    (look,) = acquisitions([old, new, older])
    assert look.scenes == (new,)
    assert _ids(look.superseded) == _ids([old, older])


def test_halves_of_a_tile_are_both_kept():
    """A tile that was received in two pieces; only the southern half was processed again."""
    north = scene(version="02.14", bounds=(11.0, 48.5, 12.0, 49.0))
    south = scene(minutes=0.3, version="05.10", bounds=(11.0, 48.0, 12.0, 48.55))
    old_south = scene(minutes=0.3, version="02.14", bounds=(11.0, 48.0, 12.0, 48.5))
    (look,) = acquisitions([north, south, old_south])
    assert _ids(look.scenes) == _ids([north, south])
    assert look.superseded == (old_south,)


def test_without_tiles_the_ground_decides():
    old, new = scene("", version="1"), scene("", version="2", bounds=(11.01, 48.0, 12.01, 49.0))
    beside = scene("", version="1", bounds=(11.6, 48.0, 12.6, 49.0))
    (look,) = acquisitions([old, new, beside])
    assert _ids(look.scenes) == _ids([new, beside])
    assert look.superseded == (old,)
    blind = [replace(each, bounds=None) for each in (old, new)]
    assert len(acquisitions(blind)[0].scenes) == 2


def test_a_scene_that_is_listed_twice_is_read_once():
    (look,) = acquisitions([scene(), scene()])
    assert (len(look.scenes), len(look.superseded)) == (1, 1)


def test_scenes_of_the_area_s_own_zone_and_near_its_middle_go_first():
    near = scene("33UUP", bounds=(12.0, 48.0, 13.0, 49.0))
    own = scene("32UPV", bounds=(11.0, 48.0, 12.0, 49.0))
    far = scene("32UPU", bounds=(11.0, 46.0, 12.0, 47.0))
    middle = (12.4, 48.5)
    assert acquisitions([own, far, near], middle)[0].scenes == (near, own, far)
    assert acquisitions([own, far, near], middle, "32")[0].scenes == (own, far, near)
    over = scene("01UAB", bounds=(179.0, 48.0, -179.0, 49.0))
    assert acquisitions([own, over], (-179.5, 48.5))[0].scenes == (over, own)


stacks = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    elements=st.one_of(st.just(np.nan), st.floats(-2, 2, width=32)),
)


def _pixel_by_pixel(stack):
    """The slow oracle."""
    _, bands, rows, cols = stack.shape
    image = np.full((bands, rows, cols), np.nan, np.float32)
    for row, col in np.ndindex(rows, cols):
        looks = [look[:, row, col] for look in stack]
        whole = [look for look in looks if not np.isnan(look).any()]
        partly = [look for look in looks if not np.isnan(look).all()]
        if whole or partly:
            image[:, row, col] = (whole or partly)[0]
    return image


@settings(deadline=None, max_examples=200)
@given(stacks)
def test_a_mosaic_takes_each_pixel_from_the_first_image_that_saw_it(stack):
    found = mosaic(stack)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, _pixel_by_pixel(stack))


@settings(deadline=None, max_examples=100)
@given(stacks)
def test_a_mosaic_of_a_mosaic_is_itself(stack):
    once = mosaic(stack)
    np.testing.assert_array_equal(mosaic(once[None]), once)
    np.testing.assert_array_equal(mosaic(np.concatenate([stack, stack])), once)
    seen = (~np.isnan(stack).all(axis=1)).any(axis=0)
    np.testing.assert_array_equal(chosen_image(stack) >= 0, seen)


@settings(deadline=None, max_examples=100)
@given(stacks, st.randoms(use_true_random=False))
def test_where_one_image_saw_the_ground_the_order_does_not_matter(stack, rng):
    order = list(range(len(stack)))
    rng.shuffle(order)
    once = (~np.isnan(stack)).all(axis=1).sum(axis=0) == 1
    np.testing.assert_array_equal(mosaic(stack[order])[:, once], mosaic(stack)[:, once])
