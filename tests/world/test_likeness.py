"""Laws of land that looks like other land."""

from dataclasses import replace

import numpy as np
import pytest

from earthloom.world import Shape, World, WorldSpec, make_world
from earthloom.world.likeness import likeness_on

SPEC = WorldSpec(seed=3, shape=Shape(200, 200))


@pytest.fixture(scope="module")
def plain() -> World:
    return make_world(SPEC)


@pytest.fixture(scope="module")
def varied() -> World:
    return make_world(replace(SPEC, variability=1.0))


def test_the_map_stays_the_same(plain: World, varied: World) -> None:
    for day in (1, 160, 366):
        np.testing.assert_array_equal(plain.class_map(day), varied.class_map(day))
    assert [event.day for event in plain.events] == [event.day for event in varied.events]


def test_most_of_a_piece_is_its_own(plain: World, varied: World) -> None:
    assert (plain.traits.likeness == 0).all()
    part = varied.traits.likeness
    assert 0.4 < (part > 0).mean() < 0.75
    assert part.max() < 0.5


def test_changed_land_is_not_mixed(varied: World) -> None:
    event = varied.events[0]
    changed = np.unique(varied.pieces[event.mask])
    assert (likeness_on(varied.traits, event.day + 1)[changed] == 0).all()


def test_classes_lie_closer_together(plain: World, varied: World) -> None:
    """Pixels are nearer to another class's mean spectrum more often."""

    def confused(world: World) -> float:
        image = np.concatenate([world.reflectance(day) for day in (110, 170, 230)])
        code = world.class_map(170)
        spectra = image.reshape(len(image), -1).T / image.std(axis=(1, 2))
        codes = np.unique(code)
        means = np.stack([spectra[code.ravel() == each].mean(axis=0) for each in codes])
        away = ((spectra[:, None] - means[None]) ** 2).sum(axis=-1)
        return float((codes[away.argmin(axis=1)] != code.ravel()).mean())

    assert confused(varied) > 1.5 * confused(plain)


def test_reflectance_stays_physical(varied: World) -> None:
    image = varied.reflectance(200)
    assert image.min() > 0
    assert image.max() < 0.9
    assert (varied.backscatter(200) > 0).all()
