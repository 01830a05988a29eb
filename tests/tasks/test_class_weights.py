"""Weights of classes from their counts."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import ContractError
from earthloom.tasks.class_weights import (
    WEIGHTINGS,
    EffectiveNumber,
    Inverse,
    InverseRoot,
    Unweighted,
    weighting_from,
)

ALL = [Unweighted(), InverseRoot(), Inverse(), EffectiveNumber(), EffectiveNumber(0.0)]
every_rule = pytest.mark.parametrize("rule", ALL, ids=lambda rule: json.dumps(rule.config()))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Unweighted(), [1, 1, 0]),
        (InverseRoot(), [1 / 2, 1, 0]),
        (Inverse(), [1 / 4, 1, 0]),
        # (1 - 0.5) / (1 - 0.5^4) and (1 - 0.5) / (1 - 0.5).
        (EffectiveNumber(0.5), [8 / 15, 1, 0]),
    ],
)
def test_by_hand(rule, expected):
    """4 labels of the first class, 1 of the second, none of the third."""
    expected = np.array(expected) / np.mean(expected[:2])
    np.testing.assert_allclose(rule.of((4, 1, 0)), expected)


@every_rule
@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6))
def test_weights_fall_with_counts_and_have_a_mean_of_1(rule, counts):
    weights, counts = rule.of(tuple(counts)), np.array(counts)
    present = counts > 0
    if not present.any():
        assert (weights == 1).all()
        return
    assert weights[present].mean() == pytest.approx(1)
    assert (weights[~present] == 0).all()
    falling = weights[present][np.argsort(counts[present])]
    assert (np.diff(falling) <= 1e-12).all()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_the_effective_number_lies_between_its_ends(counts):
    counts = tuple(counts)
    np.testing.assert_allclose(EffectiveNumber(0.0).of(counts), Unweighted().of(counts))
    np.testing.assert_allclose(EffectiveNumber(1 - 1e-13).of(counts), Inverse().of(counts), 1e-3)


@every_rule
def test_made_again_from_its_config(rule):
    assert weighting_from(json.loads(json.dumps(rule.config()))) == rule


def test_rules_are_known_by_their_names():
    assert {name: each.name for name, each in WEIGHTINGS.items()} == {n: n for n in WEIGHTINGS}


def test_what_is_refused():
    with pytest.raises(ContractError, match="unknown class weights 'some'; known: none, inverse"):
        weighting_from({"name": "some"})
    with pytest.raises(ContractError, match="beta of the effective number is 1; valid are 0 to <1"):
        EffectiveNumber(1)
