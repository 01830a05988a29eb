"""Class schemes: the tables, their hierarchy, and mappings between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.chips.schemes import (
    Scheme,
    SchemeClass,
    SchemeMapping,
    known_mappings,
    known_schemes,
    load_mapping,
    load_scheme,
    remap,
)
from earthloom.errors import LabelError
from earthloom.sample import UNLABELLED

SIZES = {
    "bigearthnet-19": 19,
    "cci-lc": 37,
    "corine": 64,
    "corine-raster": 44,
    "dynamic-world": 9,
    "fao-lccs": 14,
    "worldcover": 11,
}


def test_the_tables_are_all_there():
    assert {name: len(load_scheme(name).classes) for name in known_schemes()} == SIZES


@pytest.mark.parametrize("name", SIZES)
def test_every_table_is_whole(name):
    scheme = load_scheme(name)
    assert scheme.name == name
    assert scheme.source
    assert all(len(each.colour) == 7 and int(each.colour[1:], 16) >= 0 for each in scheme.classes)
    for each in scheme.classes:
        assert scheme.find(each.code) == each
        found = scheme.find(each.name.upper())
        assert found.name == each.name


def test_levels():
    corine = load_scheme("corine")
    assert [len(corine.at_level(level)) for level in (1, 2, 3)] == [5, 15, 44]
    assert corine.ancestors(312) == (312, 31, 3)
    assert len(load_scheme("cci-lc").at_level(1)) == 22
    # The finest class of a name that two levels share.
    assert corine.find("Water bodies").code == 512


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("level", [1, 2, 3])
def test_rolling_up_is_a_projection(name, level):
    """Twice is once, and rolling up further goes over any finer level."""
    scheme = load_scheme(name)
    codes = np.array([each.code for each in scheme.classes])
    once = remap(codes, scheme.roll_up(level))
    np.testing.assert_array_equal(remap(once, scheme.roll_up(level)), once)
    np.testing.assert_array_equal(remap(once, scheme.roll_up(1)), remap(codes, scheme.roll_up(1)))
    assert all(scheme.level(int(code)) <= level for code in once)


@pytest.mark.parametrize(("of", "into"), known_mappings())
def test_mappings_cover_every_class(of, into):
    mapping = load_mapping(of, into)
    codes = [each.code for each in mapping.of.classes]
    assert sorted({*mapping.pairs, *mapping.dropped}) == sorted(codes)
    found = remap(np.array(codes), mapping)
    targets = {each.code for each in mapping.into.classes} | {UNLABELLED}
    assert set(found.tolist()) <= targets


def test_the_nomenclature_of_bigearthnet():
    """The published conversion: all 19 classes are reached, and twelve of 44 classes are not
    taken."""
    mapping = load_mapping("corine", "bigearthnet-19")
    assert set(mapping.pairs.values()) == set(range(1, 20))
    assert {code for code in mapping.dropped if code > 100} == {
        122, 123, 124, 131, 132, 133, 141, 142, 332, 334, 335, 423,
    }  # fmt: skip
    name = {each.code: each.name for each in mapping.into.classes}
    assert name[mapping.pairs[241]] == "Permanent crops"
    assert name[mapping.pairs[333]] == "Natural grassland and sparsely vegetated areas"
    assert name[mapping.pairs[521]] == "Marine waters"


def test_mappings_compose():
    """Over CORINE's codes, or step by step: the same."""
    raster = np.arange(1, 45)
    direct = remap(raster, load_mapping("corine-raster", "bigearthnet-19"))
    steps = remap(raster, load_mapping("corine-raster", "corine"))
    np.testing.assert_array_equal(direct, remap(steps, load_mapping("corine", "bigearthnet-19")))


def test_a_scheme_into_itself_changes_nothing():
    codes = np.array([[111, 523], [0, 312]])
    np.testing.assert_array_equal(remap(codes, load_mapping("corine", "corine")), codes)


def _scheme(name, count):
    classes = tuple(SchemeClass(code, f"class {code}", "#000000") for code in range(1, count + 1))
    return Scheme(name, name, "a test", "a test", classes)


@st.composite
def _mapping(draw, of, into):
    given_ = draw(st.lists(st.integers(0, len(into.classes)), min_size=len(of.classes),
                           max_size=len(of.classes)))  # fmt: skip
    pairs = {code: to for code, to in enumerate(given_, 1) if to}
    dropped = frozenset(code for code, to in enumerate(given_, 1) if not to)
    return SchemeMapping(of, into, pairs, dropped, "a test")


A, B, C = _scheme("a", 5), _scheme("b", 4), _scheme("c", 3)


@given(_mapping(A, B), _mapping(B, C), st.lists(st.integers(0, 5), max_size=20))
def test_composition_is_doing_one_after_the_other(first, second, codes):
    array = np.array(codes, np.uint8)
    together = remap(array, first.then(second))
    np.testing.assert_array_equal(together, remap(remap(array, first), second))


@given(_mapping(A, B))
def test_a_code_that_is_unknown_is_named(mapping):
    with pytest.raises(LabelError, match="6 is no class of the scheme a; its codes are: 1, 2, 3"):
        remap(np.array([1, 6]), mapping)
    assert remap(np.array([1, 255]), mapping, keep=(255,))[1] == 255


def test_what_cannot_be():
    with pytest.raises(LabelError, match="unknown scheme 'corin'; known are: bigearthnet-19"):
        load_scheme("corin")
    with pytest.raises(LabelError, match="no mapping leads from the scheme corine to worldcover"):
        load_mapping("corine", "worldcover")
    with pytest.raises(LabelError, match="did you mean 'Mixed forest'"):
        load_scheme("corine").find("Mixd forest")
    with pytest.raises(LabelError, match="whole numbers"):
        remap(np.array([1.5]), load_mapping("corine", "corine"))
    with pytest.raises(LabelError, match="must take or drop each class once; wrong is 5"):
        SchemeMapping(A, B, {1: 1, 2: 1, 3: 1, 4: 1}, frozenset(), "")
    with pytest.raises(LabelError, match="more than once"):
        Scheme("x", "", "", "", (A.classes[0], A.classes[0]))
    with pytest.raises(LabelError, match="parent 9"):
        Scheme("x", "", "", "", (SchemeClass(1, "a", "#000000", 9),))
    with pytest.raises(LabelError, match="own ancestor"):
        Scheme("x", "", "", "", (SchemeClass(1, "a", "#000000", 1),))
    with pytest.raises(LabelError, match="cannot be followed"):
        load_mapping("worldcover", "fao-lccs").then(load_mapping("corine", "corine"))
