"""Every step against one contract; tiles against the whole."""

from dataclasses import replace

import numpy as np
import pytest

from earthloom.archive.scene import Angles
from earthloom.cube.harmonise import (
    KNOWN,
    STEPS,
    Align,
    SceneContext,
    Speckle,
    Topography,
    fit_c,
    make_chain,
)
from earthloom.errors import DataError, ProjectError
from earthloom.sensors import Band, load_sensor
from earthloom.world import Extent, Shape
from earthloom.world.noise import fractal

S2 = load_sensor("sentinel-2-l2a")
POWER = Band(name="VV", kind="backscatter", unit="linear power", gsd=10, polarisation="VV")
BANDS = (S2.band("B02"), S2.band("B08"), POWER)
SIZE, PIXEL = 90, 30.0
ANGLES = Angles(58.0, 155.0, 8.0, 290.0)

every_step = pytest.mark.parametrize("name", STEPS)


def scene() -> tuple[np.ndarray, SceneContext]:
    """An image with gaps, values beyond the usual, and mountains around it."""
    rng = np.random.default_rng(0)
    image = rng.gamma(4.4, 0.2 / 4.4, (3, SIZE, SIZE)).astype(np.float32)
    image[:, 20:24, 30:50] = np.nan
    image[0, 60, 60], image[1, 61, 61] = -0.03, 1.3
    margin = Topography().elevation_margin(PIXEL)
    size = SIZE + 2 * margin
    height = 900 + 90 * fractal(rng, Extent(Shape(size, size), PIXEL), 1500.0, 4.4)
    context = SceneContext(
        bands=BANDS,
        pixel_m=PIXEL,
        platform="sentinel-2b",
        angles=ANGLES,
        elevation=height.astype(np.float32),
        elevation_margin=margin,
        terrain_c={"B02": 0.6, "B08": 0.2},
    )
    return image, context


def cut(context: SceneContext, row: int, col: int, size: int) -> SceneContext:
    """The context of a square tile of the image."""
    reach = size + 2 * context.elevation_margin
    assert context.elevation is not None
    return replace(context, elevation=context.elevation[row : row + reach, col : col + reach])


@every_step
def test_the_contract(name):
    image, context = scene()
    kept = image.copy()
    step = STEPS[name]()
    out = step.apply(image, context)
    assert step.name == name
    assert out.shape == image.shape
    assert out.dtype == np.float32
    np.testing.assert_array_equal(image, kept)
    assert np.isnan(out[np.isnan(image)]).all()
    changed = (out != image) & ~np.isnan(image)
    # A step touches the kind of band that it is for, and no other.
    assert changed[2].any() == (name == "speckle")
    assert changed[1].any() == (name in ("nbar", "topography"))
    assert np.isnan(out).sum() == np.isnan(image).sum() or name == "topography"


@every_step
def test_reflectance_is_not_clipped(name):
    image, context = scene()
    out = STEPS[name]().apply(image, context)
    assert out[0, 60, 60] < 0 or np.isnan(out[0, 60, 60])
    assert out[1, 61, 61] > 1 or np.isnan(out[1, 61, 61])


@pytest.mark.parametrize("names", [*([name] for name in STEPS), list(STEPS)], ids="-".join)
def test_tiles_with_their_margin_are_as_the_whole(names):
    image, context = scene()
    chain = make_chain(names)
    whole, m, size = chain.apply(image, context), chain.needs_margin(PIXEL), 40
    assert chain.elevation_margin(PIXEL) <= context.elevation_margin
    for row, col in [(10, 5), (35, 30)]:
        tile = image[:, row - m : row + size + m, col - m : col + size + m].copy()
        out = chain.apply(tile, cut(context, row - m, col - m, size + 2 * m))
        expected = whole[:, row : row + size, col : col + size]
        np.testing.assert_allclose(out[:, m : m + size, m : m + size], expected, rtol=1e-5)


@pytest.mark.parametrize("filter", ["lee", "boxcar", "refined-lee"])
def test_every_speckle_filter_is_the_same_in_tiles(filter):
    image, context = scene()
    step = Speckle(filter=filter, window=5)
    whole, m = step.apply(image, context), step.needs_margin(PIXEL)
    tile = step.apply(image[:, 15 - m : 60 + m, 15 - m : 60 + m].copy(), context)
    np.testing.assert_allclose(tile[2, m:-m, m:-m], whole[2, 15:60, 15:60], rtol=1e-5)


def test_the_fit_over_tiles_is_that_of_the_scene():
    image, context = scene()
    step = Topography()
    whole = step.sums(image, context)
    parts = [
        step.sums(image[:, r : r + 45, c : c + 45], cut(context, r, c, 45))
        for r in (0, 45)
        for c in (0, 45)
    ]
    joined = parts[0] + parts[1] + parts[2] + parts[3]
    assert fit_c(joined) == pytest.approx(fit_c(whole))
    assert (joined.count == whole.count).all()


def test_steps_run_in_their_own_order():
    chain = make_chain(["speckle", "bandpass", "align", "topography"])
    assert chain.align == Align()
    assert [step.name for step in chain.steps] == ["topography", "bandpass", "speckle"]
    empty = make_chain([])
    image, context = scene()
    assert empty.apply(image, context) is image
    assert (empty.align, empty.needs_margin(10), empty.elevation_margin(10)) == (None, 0, 0)


def test_an_unknown_step_is_refused():
    with pytest.raises(ProjectError, match="'brdf'; valid: " + ", ".join(KNOWN)):
        make_chain(["nbar", "brdf"])


@pytest.mark.parametrize(
    ("name", "lack", "words"),
    [
        ("nbar", {"angles": None}, "no sun angles"),
        ("nbar", {"angles": Angles(40.0, 150.0)}, "no view angles"),
        ("topography", {"angles": None}, "no sun angles"),
        ("topography", {"elevation": None}, "elevation"),
        ("topography", {"elevation_margin": 3}, "margin of 3"),
        ("topography", {"terrain_c": None}, "B02, B08"),
        ("topography", {"terrain_c": {"B02": 0.1}}, "it has: B02"),
    ],
)
def test_what_a_step_needs_is_named(name, lack, words):
    image, context = scene()
    with pytest.raises(DataError, match=words):
        STEPS[name]().apply(image, replace(context, **lack))


def test_an_unknown_filter_is_refused():
    image, context = scene()
    with pytest.raises(DataError, match="'frost'; valid: refined-lee"):
        Speckle(filter="frost").apply(image, context)
