"""Styles hold what GIS programs look for."""

import xml.etree.ElementTree as ET

import pytest

from earthloom.maps.style import (
    Ramp,
    class_sld,
    class_style,
    polygon_style,
    value_style,
    write_styles,
)
from earthloom.tasks import PixelClasses

TASK = PixelClasses((1, 7), ("Wasser & Eis", 'Wald "dicht"'), ((0, 16, 255), (3, 128, 0)))


def test_classes_have_their_colours_and_names():
    text = class_style(TASK)
    assert text.startswith("<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis ")
    renderer = ET.fromstring(text).find("pipe/rasterrenderer")
    assert renderer.get("type") == "paletted"
    assert renderer.get("band") == "1"
    entries = renderer.findall("colorPalette/paletteEntry")
    found = [(e.get("value"), e.get("color"), e.get("alpha"), e.get("label")) for e in entries]
    assert found == [
        ("1", "#0010ff", "255", "Wasser & Eis"),
        ("7", "#038000", "255", 'Wald "dicht"'),
    ]


def test_pipe_is_in_the_order_of_qgis():
    tags = [each.tag for each in ET.fromstring(class_style(TASK)).find("pipe")]
    assert tags == [
        "provider", "rasterrenderer", "brightnesscontrast", "huesaturation", "rasterresampler",
    ]  # fmt: skip


@pytest.mark.parametrize(("low", "high", "band"), [(0, 1, 1), (-3.5, 410, 2)])
def test_values_have_stops_from_low_to_high(low, high, band):
    ramp = Ramp(band, low, high, ("#000000", "#808080", "#ffffff"), "t/ha")
    renderer = ET.fromstring(value_style(ramp)).find("pipe/rasterrenderer")
    assert renderer.get("type") == "singlebandpseudocolor"
    assert renderer.get("band") == str(band)
    shader = renderer.find("rastershader/colorrampshader")
    items = shader.findall("item")
    values = [float(item.get("value")) for item in items]
    assert values == pytest.approx([low, (low + high) / 2, high])
    assert [item.get("color") for item in items] == ["#000000", "#808080", "#ffffff"]
    assert items[0].get("label") == f"{low:g} t/ha"
    for name, limit in (("Min", low), ("Max", high)):
        assert float(renderer.get(f"classification{name}")) == limit
        assert float(shader.get(f"{name.lower()}imumValue")) == limit
    options = {o.get("name"): o.get("value") for o in shader.findall("colorramp/Option/Option")}
    assert options["stops"] == "0.5;128,128,128,255"
    assert options["color2"] == "255,255,255,255"


def test_polygons_have_a_symbol_a_class():
    renderer = ET.fromstring(polygon_style(TASK)).find("renderer-v2")
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", "code")
    categories = renderer.findall("categories/category")
    assert [c.get("value") for c in categories] == ["1", "7"]
    symbols = {s.get("name"): s for s in renderer.findall("symbols/symbol")}
    for category, rgba in zip(categories, ("0,16,255,255", "3,128,0,255")):
        options = symbols[category.get("symbol")].findall("layer/Option/Option")
        assert {o.get("name"): o.get("value") for o in options}["color"] == rgba


def test_sld_lists_values():
    root = ET.fromstring(class_sld(TASK))
    entries = root.findall(".//{http://www.opengis.net/sld}ColorMapEntry")
    found = [(e.get("quantity"), e.get("color"), e.get("opacity")) for e in entries]
    assert found == [("0", "#000000", "0"), ("1", "#0010ff", "1"), ("7", "#038000", "1")]


def test_styles_lie_beside_what_they_are_of(tmp_path):
    assert write_styles(tmp_path, TASK) == ["map.qml", "map.sld", "probability.qml"]
    for path in tmp_path.iterdir():
        ET.parse(path)
    assert len(list(tmp_path.iterdir())) == 3
