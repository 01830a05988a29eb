"""Laws of splits: kept apart, the same in any order, shares as asked for."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from earthloom.chips.footprints import RADIUS_M, Footprints, covering, gap_m, near
from earthloom.chips.splits import (
    NONE,
    TEST,
    TRAIN,
    VAL,
    BlockSplit,
    CellSplit,
    ChipTable,
    GroupSplit,
    RandomSplit,
    RegionSplit,
    Shares,
    StratifiedSplit,
    TimeSplit,
    assign,
    cell_names,
)
from earthloom.errors import ContractError
from earthloom.grid.major_tom import cell_at

WGS84 = Geod(ellps="WGS84")


def squares(x, y, size, crs="EPSG:32633"):
    """Corners in degrees of squares with their lower left corners in a projected CRS."""
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    x, y = np.asarray(x, float), np.asarray(y, float)
    steps = ((0, 0), (size, 0), (size, size), (0, size))
    corners = [np.stack(to_degrees.transform(x + dx, y + dy), axis=-1) for dx, dy in steps]
    return np.stack(corners, axis=1)


def table(corners, **more):
    return ChipTable(
        ids=np.array([f"chip{n}" for n in range(len(corners))]), corners=corners, **more
    )


def grid_of_chips(side, size=1000.0, step=1000.0):
    x, y = np.meshgrid(500_000 + step * np.arange(side), 5_500_000 + step * np.arange(side))
    return squares(x.ravel(), y.ravel(), size)


@st.composite
def scattered(draw):
    """Chips of one size, scattered so that many overlap or nearly touch."""
    count = draw(st.integers(2, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    spread = draw(st.sampled_from([3_000.0, 20_000.0, 150_000.0]))
    north = draw(st.sampled_from([100_000.0, 5_500_000.0, 8_900_000.0]))
    rng = np.random.default_rng(seed)
    x = 500_000 + rng.uniform(-spread, spread, count)
    y = north + rng.uniform(0, spread, count)
    return x, y, draw(st.sampled_from([10.0, 640.0, 2560.0]))


def geodesic_gap(a, b):
    """Slow oracle: metres on the ellipsoid between points along two outlines, 0 if they meet."""
    if shapely.Polygon(a).intersects(shapely.Polygon(b)):
        return 0.0
    points = []
    for ring in (a, b):
        line = shapely.LinearRing(ring)
        parts = np.linspace(0, 1, 41)
        points.append(
            shapely.get_coordinates(shapely.line_interpolate_point(line, parts, normalized=True))
        )
    one, other = np.repeat(points[0], 41, axis=0), np.tile(points[1], (41, 1))
    return WGS84.inv(one[:, 0], one[:, 1], other[:, 0], other[:, 1])[2].min()


def grid_gap(chips, one, other):
    """Oracle: metres of the projected grid between all squares of two sets of them."""
    x, y, size = chips
    along, up = (np.abs(each[one][:, None] - each[other]) - size for each in (x, y))
    return np.hypot(np.maximum(along, 0), np.maximum(up, 0))


@settings(max_examples=40, deadline=None)
@given(scattered())
def test_gaps_are_never_longer_than_those_on_the_ellipsoid(chips):
    x, y, size = chips
    corners = squares(x[:2], y[:2], size)
    vertices = Footprints(corners).vertices
    gap = gap_m(vertices[:1], vertices[1:])[0]
    true = geodesic_gap(*corners)
    assert gap <= true + 1.0
    if true > 0:
        # The oracle only looks at points along the edges.
        assert gap >= 0.98 * true - size / 20


def test_gaps_of_plain_cases():
    chips = Footprints(squares([0, 300, 1000, 0, 5000], [0] * 5, 1000, "EPSG:3857"))
    points = Footprints(np.repeat(np.array([[[0.0, 0.0]], [[0.0, 1.0]]]), 4, axis=1))
    one = chips.vertices[[0] * 5]
    scale = RADIUS_M / 6_378_137
    expected = np.array([-1000, -700, 0, -1000, 4000]) * scale
    np.testing.assert_allclose(gap_m(one, chips.vertices), expected, atol=0.01)
    np.testing.assert_allclose(
        gap_m(points.vertices[:1], points.vertices[1:]), [np.radians(1) * RADIUS_M]
    )


def test_chips_over_the_date_line_are_neighbours():
    west = [[179.98, 0], [179.99, 0], [179.99, 0.01], [179.98, 0.01]]
    east = [[-179.99, 0], [-179.98, 0], [-179.98, 0.01], [-179.99, 0.01]]
    places = Footprints(np.array([west, east]))
    gap = gap_m(places.vertices[:1], places.vertices[1:])[0]
    assert gap == pytest.approx(np.radians(0.02) * RADIUS_M, rel=1e-3)
    assert near(places.of(np.array([0])), places.of(np.array([1])), 2500).all()
    assert not near(places.of(np.array([0])), places.of(np.array([1])), 2000).any()


@settings(max_examples=50, deadline=None)
@given(scattered(), st.sampled_from([0.0, 1.0, 500.0, 5000.0, 60_000.0]))
def test_near_is_what_all_pairs_say(chips, within):
    places = Footprints(squares(*chips))
    half = len(places) // 2
    queries, targets = places.of(np.arange(half)), places.of(np.arange(half, len(places)))
    gaps = np.stack(
        [gap_m(queries.vertices, np.repeat(t[None], half, 0)) for t in targets.vertices]
    ).min(axis=0)
    expected = (gaps < -0.5) | ((gaps < within) if within else np.zeros(half, bool))
    np.testing.assert_array_equal(near(queries, targets, within), expected)


@settings(max_examples=40, deadline=None)
@given(
    scattered(),
    st.sampled_from([1.0, 500.0, 5000.0, 30_000.0]),
    st.integers(0, 2**31),
    st.sampled_from([1000.0, 5000.0, 40_000.0]),
)
def test_no_chip_lies_in_the_buffer_of_another_split(chips, buffer, seed, block):
    corners = squares(*chips)
    stratify = np.random.default_rng(seed).integers(0, 9, (len(corners), 4))
    for rule in (
        BlockSplit(block, buffer, Shares(0.2, 0.3)),
        StratifiedSplit(Shares(0.2, 0.3), buffer),
    ):
        splits = assign(table(corners, histograms=stratify), rule, seed)
        for one, other in ((TEST, TRAIN), (TEST, VAL), (VAL, TRAIN)):
            apart = grid_gap(chips, splits == one, splits == other)
            # Metres of the grid are off by less than 0.1 % this near to its meridian.
            assert (apart >= 0.999 * buffer).all()


def test_without_a_buffer_chips_may_touch_but_not_overlap():
    touching, overlapping = grid_of_chips(20), grid_of_chips(20, size=1200.0)
    shares = Shares(0.0, 0.3)
    kept = assign(table(touching), BlockSplit(5000, 0, shares), 1)
    assert set(kept.tolist()) == {TRAIN, TEST}
    split = assign(table(overlapping), BlockSplit(5000, 0, shares), 1)
    train, test = (Footprints(overlapping[split == name]) for name in (TRAIN, TEST))
    assert not near(test, train, 0).any()
    assert NONE in split


def test_what_is_dropped_lies_in_the_buffer():
    """The buffer takes no chip that it need not take."""
    corners = grid_of_chips(30)
    splits = assign(table(corners), BlockSplit(10_000, 1500, Shares(0.1, 0.2)), 3)
    dropped = Footprints(corners[splits == NONE])
    held = Footprints(corners[np.isin(splits, [TEST, VAL])])
    assert 0 < len(dropped) < 450
    assert near(dropped, held, 1500).all()


RULES = [
    RandomSplit(),
    GroupSplit(),
    BlockSplit(3000, 500),
    CellSplit(2.0, 300),
    RegionSplit(test=("b",), shares=Shares(0.3, 0.0), buffer_m=200),
    TimeSplit(19_050, 19_030, 5),
    StratifiedSplit(),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_the_order_of_chips_plays_no_part(rule):
    rng = np.random.default_rng(5)
    corners = grid_of_chips(15)
    count = len(corners)
    first = 19_000 + rng.integers(0, 80, count)
    fields = {
        "ids": np.array([f"chip{n}" for n in range(count)]),
        "corners": corners,
        "days": np.stack([first, first + 3], axis=1).astype(np.int32),
        "regions": rng.choice(["a", "b", "c", "d"], count),
        "groups": rng.choice([f"g{n}" for n in range(40)], count),
        "histograms": rng.integers(0, 50, (count, 5)),
    }
    order = rng.permutation(count)
    one = assign(ChipTable(**fields), rule, 7)
    other = assign(ChipTable(**{name: each[order] for name, each in fields.items()}), rule, 7)
    np.testing.assert_array_equal(one[order], other)
    assert {TRAIN, TEST} <= set(one.tolist())
    if not isinstance(rule, TimeSplit):
        assert not np.array_equal(one, assign(ChipTable(**fields), rule, 8))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
    st.floats(0, 0.4),
    st.floats(0, 0.5),
    st.integers(0, 2**31),
)
def test_shares_are_kept_within_two_groups(sizes, val, test, seed):
    groups = np.repeat([f"g{n}" for n in range(len(sizes))], sizes)
    ids = np.array([str(n) for n in range(len(groups))])
    shares = Shares(val, test)
    splits = assign(ChipTable(ids, groups=groups), GroupSplit(shares), seed)
    allowed = 2 * max(sizes)
    for name, share in zip((TRAIN, VAL, TEST), shares.all):
        assert abs((splits == name).sum() - share * len(groups)) <= allowed
    for group in set(groups.tolist()):
        assert len(set(splits[groups == group].tolist())) == 1
    if len(sizes) >= 3 and min(val, test) > 1e-9:
        assert set(splits.tolist()) == {TRAIN, VAL, TEST}


def test_random_shares_are_exact():
    ids = np.array([str(n) for n in range(1000)])
    splits = assign(ChipTable(ids), RandomSplit(Shares(0.15, 0.25)), 0)
    assert [(splits == name).sum() for name in (TRAIN, VAL, TEST)] == [600, 150, 250]


def test_stratified_splits_have_each_class_in_its_share():
    rng = np.random.default_rng(2)
    groups = np.array([f"g{n // 5}" for n in range(2000)])
    # Each group is of one or two classes, the last of them rare.
    chances = rng.dirichlet(np.array([3, 1, 0.5, 0.05]), 400)[np.arange(2000) // 5]
    histograms = rng.multinomial(100, chances)
    ids = np.array([str(n) for n in range(2000)])
    splits = assign(
        ChipTable(ids, groups=groups, histograms=histograms), StratifiedSplit(Shares(0.1, 0.2)), 4
    )
    totals = histograms.sum(axis=0)
    for name, share in ((TRAIN, 0.7), (VAL, 0.1), (TEST, 0.2)):
        got = histograms[splits == name].sum(axis=0) / totals
        np.testing.assert_allclose(got, share, atol=0.04)


def test_time_cuts_leave_a_gap():
    days = np.array([[0, 9], [5, 10], [5, 90], [20, 30], [20, 41], [50, 60], [35, 60]], np.int32)
    ids = np.array(list("abcdefg"))
    rule = TimeSplit(test_from=50, val_from=20, gap_days=10)
    splits = assign(ChipTable(ids, days=days), rule, 0)
    assert splits.tolist() == [TRAIN, NONE, NONE, VAL, NONE, TEST, NONE]


def test_regions_are_held_out_by_name():
    regions = np.array(["north", "south", "east", "north"])
    ids = np.array(list("abcd"))
    splits = assign(ChipTable(ids, regions=regions), RegionSplit(("east",), ("north",)), 0)
    assert splits.tolist() == [TEST, TRAIN, VAL, TEST]
    with pytest.raises(ContractError, match=r"region 'west'; regions are: east, north, south"):
        assign(ChipTable(ids, regions=regions), RegionSplit(test=("west",)), 0)


@settings(max_examples=100, deadline=None)
@given(st.floats(-180, 179.99), st.floats(-89, 89), st.sampled_from([1.0, 10.0, 100.0]))
def test_cells_are_those_of_major_tom(lon, lat, distance):
    expected = cell_at(lon, lat, distance).name
    assert cell_names(np.array([[lon, lat]]), distance).tolist() == [expected]


def test_covering_counts_dates_of_a_place():
    corners = squares([0, 0, 0, 5000], [0, 0, 0, 0], 1000, "EPSG:3857")
    assert covering(Footprints(corners)).tolist() == [3, 3, 3, 1]


def test_what_a_rule_needs_must_be_there():
    ids = np.array(["a", "b"])
    with pytest.raises(ContractError, match="goes by the chips' corners"):
        assign(ChipTable(ids), BlockSplit(1000), 0)
    corners = np.full((2, 4, 2), np.nan)
    corners[0] = 0.0
    with pytest.raises(ContractError, match="1 of 2 chips have no place"):
        assign(ChipTable(ids, corners=corners), BlockSplit(1000), 0)
    with pytest.raises(ContractError, match="2 chips have the id 'a'"):
        ChipTable(np.array(["a", "a"]))
    with pytest.raises(ContractError, match="leave nothing to train on"):
        Shares(0.5, 0.5)
