"""Location as an encoder: its harmonics against scipy, its middles against PROJ, its fusion."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from earthloom.encoders import Statistics
from earthloom.encoders.compose import build, config_of
from earthloom.encoders.location import Location, located
from earthloom.encoders.location_harmonics import harmonics, middle_of, middles_of
from earthloom.errors import ContractError
from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.batch import collate

FINE = LayerSpec("optical", 10, ("red", "nir"), "1", ("2023-05",), (660.0, 840.0))
STATISTICS = {FINE.key: Statistics((0.5, 0.5), (0.3, 0.3))}
SHAPE = Shape2d(16, 24)


def _place(longitude, latitude):
    half = 1e-4 * SHAPE.cols / 2, 1e-4 * SHAPE.rows / 2
    transform = (1e-4, 0.0, longitude - half[0], 0.0, -1e-4, latitude + half[1])
    return Place("EPSG:4326", transform, SHAPE)


def _batch(places, seen=True):
    chips = []
    for number, place in enumerate(places):
        random = np.random.default_rng(number)
        pixels = random.random((1, 2, *SHAPE)).astype(np.float32)
        valid = np.full((1, *SHAPE), seen)
        layer = Layer(FINE, pixels, valid, np.array([19500], np.int32))
        chips.append(Chip(f"c{number}", SHAPE, {FINE.key: layer}, place=place))
    return collate(chips)


def _encoder(**more):
    torch.manual_seed(0)
    return Location((FINE,), STATISTICS, **more).eval()


@given(st.integers(0, 2**32))
@settings(max_examples=10)
def test_harmonics_are_those_of_scipy(seed):
    from scipy.special import sph_harm_y

    random = np.random.default_rng(seed)
    longitude, latitude = random.uniform(-180, 180, 50), random.uniform(-90, 90, 50)
    latitude[:3] = -90, 0, 90
    found = harmonics(torch.from_numpy(np.stack([longitude, latitude], axis=1)), 12).numpy()
    theta, phi = np.pi / 2 - np.radians(latitude), np.radians(longitude)
    wanted = []
    for degree in range(13):
        for order in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(order), theta, phi) * (-1) ** order
            part = value.imag if order < 0 else value.real
            wanted.append(part if order == 0 else np.sqrt(2) * part)
    np.testing.assert_allclose(found, np.stack(wanted, axis=1), atol=1e-12)


@given(st.floats(-180, 180), st.floats(-90, 90))
@settings(max_examples=20)
def test_the_sphere_has_no_edges(longitude, latitude):
    encoder = _encoder(degrees=20)
    points = [(longitude, latitude), (longitude + 360, latitude), (180, latitude), (-180, latitude)]
    points += [(longitude, 90), (0, 90)]
    with torch.inference_mode():
        found = encoder.at(torch.tensor(points, dtype=torch.float64))
    assert torch.isfinite(found).all()
    for one, other in ((0, 1), (2, 3), (4, 5)):
        torch.testing.assert_close(found[one], found[other], atol=1e-4, rtol=0)


def test_harmonics_are_orthonormal():
    """Sampled evenly in longitude, by Gauss and Legendre in latitude."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    longitude, sine = np.meshgrid(np.arange(48) * 360 / 48, nodes)
    points = np.stack([longitude.ravel(), np.degrees(np.arcsin(sine.ravel()))], axis=1)
    basis = harmonics(torch.from_numpy(points), 20).numpy()
    area = np.repeat(weights, 48) * 2 * np.pi / 48
    np.testing.assert_allclose(basis.T @ (basis * area[:, None]), np.eye(21**2), atol=1e-10)


def test_the_highest_degree_is_finite():
    points = torch.tensor([[0.0, 90.0], [180, -90], [12, 89.999], [-77, 0]], dtype=torch.float64)
    assert harmonics(points, 40).abs().max() < 10


@given(st.integers(1, 60), st.floats(-3.5, 3.5), st.floats(-80, 84))
def test_middles_in_utm_are_those_of_proj(zone, beside, latitude):
    code = f"EPSG:32{7 if latitude < 0 else 6}{zone:02d}"
    to_utm = Transformer.from_crs("EPSG:4326", code, always_xy=True)
    longitude = 6 * zone - 183 + beside
    x, y = to_utm.transform(longitude, latitude)
    place = Place(code, (10, 0, x - 120, 0, -10, y + 80), SHAPE)
    found = middle_of(place)
    apart = abs((found[0] - longitude + 180) % 360 - 180)
    assert max(apart * np.cos(np.radians(latitude)), abs(found[1] - latitude)) < 2e-8


def test_other_crs_go_by_proj_and_unknown_ones_are_refused():
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:3035", always_xy=True).transform(11, 47)
    found = middle_of(Place("EPSG:3035", (10, 0, x - 120, 0, -10, y + 80), SHAPE))
    np.testing.assert_allclose(found, (11, 47), atol=1e-7)
    with pytest.raises(ContractError, match="EPSG:99999"):
        middle_of(Place("EPSG:99999", (10, 0, 0, 0, -10, 0), SHAPE))
    with pytest.raises(ContractError, match="not on the Earth"):
        middles_of([_place(0, 95)])


def test_features_are_of_the_middle_alone_and_of_places_that_are_known():
    encoder = _encoder(stride=4)
    batch = _batch([_place(11, 47), None, _place(-60, -10)])
    found = encoder(batch)
    assert found.pixels.shape == (3, 64, 4, 6)
    assert found.seen.tolist() == [[[known] * 6] * 4 for known in (True, False, True)]
    wanted = encoder.at(torch.tensor([[11.0, 47.0], [-60.0, -10.0]], dtype=torch.float64))
    torch.testing.assert_close(found.scene()[[0, 2]], wanted)
    assert not found.pixels[1].any()
    assert not encoder(_batch([_place(11, 47)], seen=False)).seen.any()
    blind = type(batch)(batch.ids, batch.layers, None)
    with pytest.raises(ContractError, match="place of each of 3 chips"):
        encoder(blind)
    with pytest.raises(ContractError, match="degrees is 41; valid are 0 to 40"):
        _encoder(degrees=41)


def test_a_gradient_reaches_every_parameter():
    encoder = _encoder().train()
    encoder(_batch([_place(11, 47), _place(100, -30)])).pixels.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())


def test_fused_with_another_encoder_the_place_counts_where_it_is_known():
    torch.manual_seed(0)
    config = located({"name": "unet", "width": 4, "levels": 2}, [FINE.key], width=8)
    encoder = build(config, (FINE,), STATISTICS).eval()
    here, there, nowhere = (_batch([place]) for place in (_place(0, 0), _place(90, 50), None))
    with torch.inference_mode():
        one, other, none = (encoder(batch).pixels for batch in (here, there, nowhere))
        image = encoder._encoders[0](nowhere).pixels
        alone = encoder.project[0](encoder.norm[0](image))
    assert (one - other).abs().max() > 1e-3
    torch.testing.assert_close(none, alone)
    again = build(config_of(encoder), (FINE,), STATISTICS).eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(here).pixels, one)


def test_a_located_model_trains_beside_a_chip_that_saw_nothing():
    """Each branch then looks at the other chips alone, which keep their places."""
    torch.manual_seed(0)
    config = located({"name": "unet", "width": 4, "levels": 2}, [FINE.key], width=8)
    encoder = build(config, (FINE,), STATISTICS).train()
    batch = _batch([_place(11, 47), _place(100, -30), _place(-60, -10)])
    batch.layers[FINE.key].valid[1] = False
    found = encoder(batch)
    found.pixels.sum().backward()
    assert found.seen.flatten(1).any(dim=1).tolist() == [True, False, True]
    assert all(p.grad is not None for p in encoder.parameters())
