"""What bands are told by, and the range their values come to."""

import json
import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.encoders.loom.bands import CODE, BandFacts, codes_of, facts_of
from earthloom.encoders.loom.ranges import INDEX, REFLECTANCE, range_of
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec, Measure
from earthloom.sensors import known_sensors, load_sensor


def spec(sensor, bands, unit, wavelengths=None, gsd=10):
    return LayerSpec(sensor, gsd, bands, unit, ("1",), wavelengths or (None,) * len(bands))


@pytest.mark.parametrize("name", known_sensors())
def test_every_band_of_every_sensor_has_a_code_or_is_refused(name):
    """Bands of one unit and distance are asked for together, as those of a layer are."""
    layers = defaultdict(list)
    for band in load_sensor(name).bands:
        if band.kind == "class":
            with pytest.raises(ContractError, match="holds classes"):
                facts_of(spec(name, (band.name,), band.unit, (band.wavelength_nm,), band.gsd))
            continue
        layers[band.unit, band.gsd].append(band)
    for (unit, gsd), bands in layers.items():
        names, wavelengths = zip(*((b.name, b.wavelength_nm) for b in bands), strict=True)
        code = codes_of(facts_of(spec(name, names, unit, wavelengths, gsd)))
        assert code.shape == (len(bands), CODE)
        assert torch.isfinite(code).all()
        assert code.abs().max() < 5


def test_radar_is_told_by_frequency_and_polarisation():
    c_band = facts_of(spec("sentinel-1-rtc", ("vv", "vh"), "linear power"))
    l_band = facts_of(spec("palsar-2", ("HH", "HV"), "linear power"))
    assert [each.polarisation for each in (*c_band, *l_band)] == ["VV", "VH", "HH", "HV"]
    assert c_band[0].wavelength_nm == pytest.approx(5.547e7, rel=1e-3)
    assert l_band[0].wavelength_nm == pytest.approx(24.24e7, rel=1e-3)
    assert facts_of(spec("unknown", ("VV",), "linear power"))[0] == c_band[0]


def test_a_sensor_without_a_table_is_told_by_its_wavelengths():
    (found,) = facts_of(spec("drone", ("x",), "1", (700.0,)))
    assert found == BandFacts("optical", 10, 700.0)
    assert facts_of(spec("drone", ("x",), "1"))[0].kind == "index"
    assert facts_of(spec("drone", ("x",), "furlong"))[0].kind == "quantity"
    assert facts_of(spec("drone", ("x",), "K"))[0].kind == "thermal"


def test_normalised_differences_are_told_from_other_indices():
    facts = facts_of(spec("own", ("NDVI", "evi", "nbr2", "red"), "1", (None, None, None, 660.0)))
    assert [each.difference for each in facts] == [True, False, True, False]
    codes = codes_of(facts)
    assert not torch.equal(codes[0], codes[1])
    assert torch.equal(codes[0], codes[2])


def test_a_sensor_of_ones_own_says_widths_frequencies_and_polarisations():
    own = (Measure(width_nm=70.0), Measure(frequency_ghz=1.27, polarisation="HV"))
    layer = replace(spec("own", ("red", "back"), "1", (700.0, None)), measures=own)
    red, back = facts_of(LayerSpec.from_json(json.loads(json.dumps(layer.to_json()))))
    assert red == BandFacts("optical", 10, 700.0, 0.1)
    assert (back.kind, back.polarisation) == ("radar", "HV")
    assert back.wavelength_nm == pytest.approx(23.6e7, rel=1e-2)
    assert facts_of(layer.with_bands([1])) == (back,)


def test_near_wavelengths_have_near_codes():
    near, same, far = (codes_of([BandFacts("optical", 10, nm)])[0] for nm in (655.0, 665.0, 1610.0))
    assert (near - same).norm() < 0.5 * (near - far).norm()
    assert (near - same).norm() > 0.05


def test_usual_values_come_to_one_range():
    for unit, values in {
        "1": (0.02, 0.1, 0.3, 0.6),
        "linear power": (0.005, 0.02, 0.1, 0.3),
        "m": (0.0, 30.0, 300.0, 2000.0),
        "K": (260.0, 285.0, 310.0),
    }.items():
        facts = (BandFacts("optical", 10, 660.0),)
        ranged = range_of(unit, facts)(torch.tensor(values))
        assert ranged.abs().max() < 2.5, unit
        assert (ranged.diff() > 0).all()
    assert range_of("DN", facts) is None


def test_reflectance_follows_the_inverse_hyperbolic_sine():
    values = torch.linspace(-0.2, 3.0, 1000)
    slow = (np.arcsinh(values.numpy().astype(np.float64) / 0.05) - 1.6) / 0.8
    np.testing.assert_allclose(REFLECTANCE(values).numpy(), slow, atol=1e-5)
    # A ratio of two bright bands is a difference, whatever the light.
    first, second = (REFLECTANCE(torch.tensor([0.4 * e, 0.2 * e])).diff() for e in (1.0, 0.7))
    assert first.item() == pytest.approx(second.item(), rel=0.05)
    assert first.item() == pytest.approx(-math.log(2) / 0.8, rel=0.05)


def test_no_value_is_lost_to_infinity():
    for unit in ("1", "linear power", "m", "K", "dB"):
        for kind in ("optical", "index"):
            rule = range_of(unit, (BandFacts(kind, 10),))
            assert torch.isfinite(rule(torch.tensor([-1e6, -1.0, 0.0, 1e6]))).all(), unit


def test_indices_beside_reflectances_keep_their_own_rule():
    values = torch.tensor([[0.05, 0.4], [0.3, 0.9], [-0.2, 0.5]])
    optical, index = BandFacts("optical", 10, 660.0), BandFacts("index", 10)
    found = range_of("1", (optical, index, optical))(values)
    torch.testing.assert_close(found[[0, 2]], REFLECTANCE(values[[0, 2]]))
    torch.testing.assert_close(found[1], INDEX(values[1]))
    assert range_of("1", (index, index)) is INDEX
