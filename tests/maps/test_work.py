"""Maps made in parts are what windows over the whole image would give, in whatever order."""

import pickle
import random
from dataclasses import dataclass, field

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.maps.clip import Clip
from earthloom.maps.outputs import Probabilities, Values
from earthloom.maps.parts import Finish, is_whole
from earthloom.maps.stitch import stitch
from earthloom.maps.tiling import Tiling, layout_of
from earthloom.maps.work import MapWork
from earthloom.sample import Layer, LayerSpec, Shape2d

FINE = LayerSpec("optical", 10, ("red",), "1", ("1",), (660.0,))
DAYS = np.zeros(1, np.int32)
PLANES = 2


@dataclass(frozen=True)
class Image:
    """Pixels in memory, as a source of themselves; what lies outside is not valid."""

    image: np.ndarray
    specs: dict = field(default_factory=lambda: {FINE.key: FINE})

    @property
    def shape(self):
        return Shape2d(*self.image.shape)

    def open(self):
        return self

    def window(self, window):
        rows, cols = window.shape
        pixels = np.full((1, 1, rows, cols), np.nan, np.float32)
        part = self.image[window.row : window.row + rows, window.col : window.col + cols]
        pixels[0, 0, : part.shape[0], : part.shape[1]] = part
        return {FINE.key: Layer(FINE, pixels, ~np.isnan(pixels[:, 0]), DAYS)}


@dataclass(frozen=True)
class Ready:
    """A prediction that is there."""

    shares: torch.Tensor

    def result(self):
        return self.shares


@dataclass(frozen=True)
class Edgy:
    """Predicts the pixel, and where in its window it lies, so that windows disagree."""

    fail_after: int | None = None
    seen: list = field(default_factory=list)
    planes: int = PLANES

    def open(self):
        return self

    ahead: int = 2

    def begin(self, batch):
        return Ready(self._predicted(batch))

    def _predicted(self, batch):
        self.seen.extend(batch.ids)
        if self.fail_after is not None and len(self.seen) > self.fail_after:
            raise RuntimeError("killed")
        return torch.stack([predicted(one) for one in batch.layers[FINE.key].pixels[:, 0, 0]])


def predicted(pixels):
    """(H, W) to (2, H, W)."""
    rows, cols = pixels.shape
    across = torch.linspace(0, 1, rows)[:, None] + torch.linspace(0, 2, cols)[None]
    return torch.stack([pixels, torch.where(pixels.isnan(), torch.nan, across)])


def _image(rows, cols, seed):
    rng = np.random.default_rng(seed)
    image = rng.random((rows, cols)).astype(np.float32)
    image[rng.random((rows, cols)) < 0.1] = np.nan
    return image


def _work(folder, image, tiling, part, clip=None, batch=3, model=None, output=None):
    return MapWork(
        model=model or Edgy(),
        pixels=Image(image),
        layout=layout_of(Shape2d(*image.shape), tiling, part),
        finish=Finish((output or Values(("a", "b")),), clip),
        folder=folder,
        batch=batch,
    )


def _stitched(work):
    rows, cols = work.layout.shape
    output = work.finish.outputs[0]
    whole = np.full((PLANES, rows, cols), output.nodata, output.dtype)

    def write(number, row, col, numbers):
        place = whole[:, row : row + numbers.shape[1], col : col + numbers.shape[2]]
        place[:] = numbers[:, : place.shape[1], : place.shape[2]]

    stitch(work.units(), work.path_of, PLANES, work.finish, write)
    return whole


def _slow(image, tiling):
    """Every window over the whole image, in plain numpy and double precision."""
    rows, cols = tiling.axis(image.shape[0]), tiling.axis(image.shape[1])
    padded = np.full((rows.extent, cols.extent), np.nan, np.float32)
    padded[: image.shape[0], : image.shape[1]] = image
    total, weights = np.zeros((PLANES, *padded.shape)), np.zeros(padded.shape)
    for row, below in zip(rows.starts, rows.ends, strict=True):
        for col, behind in zip(cols.starts, cols.ends, strict=True):
            here = np.s_[row:below, col:behind]
            found = predicted(torch.from_numpy(padded[here].copy())).numpy()
            weight = np.outer(_tent(rows, row, below), _tent(cols, col, behind))
            weight = weight * ~np.isnan(found[0])
            total[:, *here] += np.nan_to_num(found) * weight
            weights[here] += weight
    with np.errstate(invalid="ignore"):
        return (total / weights)[:, : image.shape[0], : image.shape[1]]


def _tent(axis, start, end):
    """A window's share of each of its pixels along an axis, said of one pixel at a time."""

    def height(start, end, at):
        left = at - start + 1 - axis.margin if start > 0 else axis.ramp + 1
        right = end - at - axis.margin if end < axis.extent else axis.ramp + 1
        return max(min(left, right, axis.ramp + 1), 0)

    def share(at):
        every = [
            height(a, b, at) for a, b in zip(axis.starts, axis.ends, strict=True) if a <= at < b
        ]
        return height(start, end, at) / sum(every)

    return np.array([share(at) for at in range(start, end)])


@st.composite
def tilings(draw):
    multiple = draw(st.integers(1, 2))
    step = multiple * draw(st.integers(1, 3))
    size = step * draw(st.integers(1, 5))
    stride = step * draw(st.integers(1, size // step))
    return Tiling(size, stride, draw(st.integers(0, (size - stride) // 2)), multiple, step)


sizes = st.integers(1, 40)


@settings(deadline=None, max_examples=40)
@given(
    rows=sizes,
    cols=sizes,
    tiling=tilings(),
    part=st.integers(1, 30),
    batch=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_parts_are_windows_over_the_whole_image(
    tmp_path_factory, rows, cols, tiling, part, batch, seed
):
    image = _image(rows, cols, seed)
    model = Edgy()
    folder = tmp_path_factory.mktemp("parts")
    work = _work(folder, image, tiling, part, batch=batch, model=model)
    for each in work.units():
        work.do(each)
    np.testing.assert_allclose(_stitched(work), _slow(image, tiling), atol=1e-5)
    # No window is predicted twice.
    assert len(model.seen) == len(set(model.seen))


@settings(deadline=None, max_examples=30)
@given(
    rows=sizes,
    cols=sizes,
    tiling=tilings(),
    part=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_order_interruption_and_repetition_change_no_byte(
    tmp_path_factory, rows, cols, tiling, part, seed
):
    image = _image(rows, cols, seed)
    plain = _work(tmp_path_factory.mktemp("plain"), image, tiling, part)
    for each in plain.units():
        plain.do(each)
    folder = tmp_path_factory.mktemp("other")
    chance = random.Random(seed)
    units = plain.units()
    chance.shuffle(units)
    killed = _work(folder, image, tiling, part, model=Edgy(fail_after=chance.randrange(9)))
    for each in units:
        try:
            killed.do(each)
        except RuntimeError:
            break
    chance.shuffle(units)
    again = _work(folder, image, tiling, part)
    for each in [*units, *units[:2]]:
        again.do(each)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert _stitched(plain).tobytes() == _stitched(again).tobytes()


def _spoilt(content):
    middle = len(content) // 3
    return content[:middle] + bytes(99) + content[middle + 99 :]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", _spoilt])
def test_a_part_is_made_once_and_again_if_it_was_damaged(tmp_path, damage):
    work = _work(tmp_path, _image(30, 30, 0), Tiling(8, 6), 12)
    part = work.units()[0]
    assert work.do(part) > 0
    assert work.do(part) == 0
    path, whole = work.path_of(part), work.path_of(part).read_bytes()
    path.write_bytes(damage(whole))
    assert not is_whole(path)
    assert work.do(part) > 0
    assert is_whole(path)


def test_nothing_is_left_of_a_part_that_fails(tmp_path):
    work = _work(tmp_path, _image(30, 30, 0), Tiling(8, 6), 30, model=Edgy(fail_after=2))
    with pytest.raises(RuntimeError, match="killed"):
        work.do(work.units()[0])
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None, max_examples=30)
@given(
    tiling=tilings(),
    part=st.integers(1, 20),
    corners=st.lists(st.tuples(st.floats(-5, 45), st.floats(-5, 45)), min_size=3, max_size=6),
)
def test_what_lies_outside_the_outline_is_nodata(tmp_path_factory, tiling, part, corners):
    image = _image(33, 37, 1)
    outline = shapely.MultiPoint(corners).convex_hull
    if outline.area < 1:
        outline = shapely.box(3, 3, 9, 9)
    model = Edgy()
    folder = tmp_path_factory.mktemp("clip")
    work = _work(folder, image, tiling, part, clip=Clip(shapely.to_wkb(outline)), model=model)
    for each in work.units():
        work.do(each)
    found, wanted = _stitched(work), _slow(image, tiling)
    y, x = np.mgrid[:33, :37] + 0.5
    inside = shapely.contains_xy(outline, x, y)
    # GDAL may see a centre within a hair of the outline on either side.
    sure = shapely.distance(outline.boundary, shapely.points(x, y)) > 1e-6
    np.testing.assert_allclose(found[:, inside & sure], wanted[:, inside & sure], atol=1e-5)
    assert np.isnan(found[:, ~inside & sure]).all()
    for name in model.seen:
        row, col = map(int, name.split("_"))
        assert outline.intersects(shapely.box(col, row, col + tiling.size, row + tiling.size))


def test_an_area_that_nobody_saw_asks_nothing_of_the_model(tmp_path):
    model = Edgy()
    output = Probabilities(("a", "b"))
    image = np.full((20, 20), np.nan, np.float32)
    work = _work(tmp_path, image, Tiling(8, 6), 12, model=model, output=output)
    for part in work.units():
        work.do(part)
    assert (_stitched(work) == 255).all()
    assert model.seen == []


def test_work_that_was_sent_to_a_worker_does_the_same(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    image, clip = _image(20, 20, 0), Clip(shapely.to_wkb(shapely.box(2, 3, 15, 18)))
    work = _work(here, image, Tiling(8, 6), 12, clip)
    sent = pickle.loads(pickle.dumps(_work(there, image, Tiling(8, 6), 12, clip)))
    for each, folder in ((work, here), (sent, there)):
        folder.mkdir()
        for part in each.units():
            each.do(part)
    assert _stitched(work).tobytes() == _stitched(sent).tobytes()


def test_memory_does_not_grow_with_the_height_of_a_part(tmp_path):
    """Strips leave as soon as no window reaches them any more."""
    from earthloom.maps.predict import PartPixels, predict_part

    image = _image(500, 20, 0)
    work = _work(tmp_path, image, Tiling(16, 12), 1000)
    (part,) = work.units()
    wanted = frozenset(work.layout.windows(part))
    pixels = PartPixels(Image(image), work.layout, part, 1, wanted)
    strips = list(predict_part(Edgy(), work.layout, part, pixels.batches()))
    rows = [row for row, _ in strips]
    ends = [row + sums.shape[1] for row, sums in strips]
    assert rows == [0, *ends[:-1]]
    assert ends[-1] == 500
    assert max(sums.shape[1] for _, sums in strips) <= 16
